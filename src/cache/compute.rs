//! Single-flight computation of missing values.

use std::{future::Future, sync::Arc, time::Instant};

use bytes::Bytes;
use codex_traits::{Expiry, KvBackend};
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, ComputeError, Serializer, Timeout, fills::Fill, key::StoredKey, stats::Event, timeout::is_over};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the value of `key`. If the key is missing, runs the closure and stores its value.
    ///
    /// If several tasks request a missing key at the same time, one of them runs its closure, and
    /// all of them get the resulting value or error. Tasks share a computation if they use this
    /// cache or a clone of it with the same error type `E`. Other processes run their own
    /// computations, and every process gets the value that is stored first. A
    /// [`loader`](Self::loader) with a lease limits the computation to one process.
    ///
    /// With a timeout of zero, the value is returned and not stored.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// use codex_kv::{Cache, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// let report: String = cache
    ///     .get_or_try_set_with("report", Duration::from_secs(60), || async {
    ///         Ok::<_, Infallible>("slow to compute".to_owned())
    ///     })
    ///     .await?;
    /// assert_eq!(cache.get("report").await?, Some(report));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Outdated results
    ///
    /// If the key is deleted or replaced through this cache or a clone of it while its value is
    /// being computed, the value is returned to the callers that are already waiting, and is not
    /// stored. A later caller computes the value again.
    ///
    /// A write whose outcome is unknown is an exception. If the first caller is dropped, or its
    /// write times out, while the store has not executed the write yet, a `delete` that follows can
    /// overtake it. The outdated value is then stored until its timeout.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Compute`] if the closure fails; nothing is stored then.
    /// [`ComputeError::Cache`] if the cache fails. In both cases the next caller tries again.
    ///
    /// # Cancellation
    ///
    /// The closure runs in the task of the first caller. If that caller is dropped, its computation
    /// is dropped too, and another caller runs its own closure. If that caller is no longer polled,
    /// or its closure requests the same key, the other callers wait for at most
    /// [`max_wait`](crate::CacheBuilder::max_wait) and then run their own closures.
    pub async fn get_or_try_set_with<T, E, F, Fut>(
        &self,
        key: &str,
        timeout: impl Into<Timeout> + Send,
        compute: F,
    ) -> Result<T, ComputeError<E>>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        if let Some(stored) = self.look_up(&key).await? {
            return Ok(self.decode(&key, &stored)?);
        }
        let joined = self.shared.flights.join::<E>(&self.shared.fills, &key);
        // Taken by the branch that runs it: the flight, or the fallback below.
        let mut compute = Some(compute);
        let mut own = None;
        let outcome = {
            let flight = async {
                let outcome = match compute.take() {
                    // Boxed, so that the future of a hit does not include the size of a
                    // computation.
                    Some(compute) => Box::pin(self.compute_and_store(&key, expiry, joined.fill(), compute)).await,
                    // Unreachable: a flight polls this future once to completion.
                    None => Err(ComputeError::Aborted),
                };
                // Closed before the waiting callers wake, so that a later caller starts a new
                // computation instead of getting an old error.
                joined.close();
                let (stored, value) = outcome?;
                own = value;
                Ok(stored)
            };
            joined.outcome(self.shared.max_wait, flight).await
        };
        match (own, outcome) {
            (Some(value), _) => Ok(value),
            (None, Some(Ok(stored))) => {
                self.count(Event::Coalesced);
                Ok(self.decode(&key, stored)?)
            }
            (None, Some(Err(error))) => Err(error.clone()),
            (None, None) => {
                // The computing task makes no progress, so later callers must not wait for it.
                joined.close();
                let Some(compute) = compute else {
                    return Err(ComputeError::Aborted);
                };
                let fill = self.shared.fills.begin(&key);
                match Box::pin(self.compute_and_store(&key, expiry, &fill, compute)).await? {
                    (_, Some(value)) => Ok(value),
                    (stored, None) => Ok(self.decode(&key, &stored)?),
                }
            }
        }
    }

    /// Returns the bytes of the value that callers get and, if this call computed it, the value
    /// itself.
    async fn compute_and_store<T, E, F, Fut>(
        &self,
        key: &StoredKey,
        expiry: Expiry,
        fill: &Fill,
        compute: F,
    ) -> Result<(Bytes, Option<T>), ComputeError<E>>
    where
        T: Serialize + Send + Sync,
        E: Send + Sync,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        // Another flight may have ended between this caller's miss and its joining of a flight.
        match self.fetch(key).await {
            Ok(Some(stored)) => return Ok((stored, None)),
            Ok(None) => {}
            Err(error) => {
                if let Some(stored) = self.instead_of_again(key, error)? {
                    return Ok((stored, None));
                }
            }
        }
        let started = Instant::now();
        let computed = compute().await;
        self.count(Event::Computed(started.elapsed()));
        let value = computed.map_err(|error| {
            self.count(Event::Error);
            ComputeError::Compute(Arc::new(error))
        })?;
        let encoded = self.counted(self.encode(key, &value))?;
        if is_over(expiry) {
            return Ok((encoded, Some(value)));
        }
        let written = fill.write(
            self.add_or_fetch(key, encoded.clone(), expiry),
            self.take_back(key, &encoded),
        );
        match written.await {
            Some(Ok(None)) => {
                self.saw(key, Some(&encoded));
                Ok((encoded, Some(value)))
            }
            Some(Ok(Some(there))) => {
                self.saw(key, Some(&there));
                self.count(Event::RefusedFill);
                Ok((there, None))
            }
            None => {
                self.count(Event::RefusedFill);
                Ok((encoded, Some(value)))
            }
            // The value was computed, and the cache has an `on_outage` setting, so the outage is
            // not an error.
            Some(Err(error)) if self.shared.outage.is_some() && error.is_outage() => {
                self.count(Event::Error);
                tracing::warn!(cache = self.shared.name, %error, "a computed value could not be stored");
                Ok((encoded, Some(value)))
            }
            Some(Err(error)) => Ok(self.counted(Err(error))?),
        }
    }
}
