//! Loads of many keys.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::Arc,
};

use codex_traits::KvBackend;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    super::{ComputeError, Serializer, key::StoredKey},
    Found, Inner, LoadState, Loaded, Loader,
    flight::{Ended, Join, Opened},
    lease::{Claimed, Prepared, WhenBusy},
    run::{Computing, Why, runtime},
};

/// The maximum number of keys that are read, claimed, stored or computed separately, concurrently.
const AT_A_TIME: usize = 256;

/// The function of [`Loader::batch`].
pub(super) type BatchFn<T, E> = dyn Fn(Vec<String>) -> BoxFuture<'static, Result<HashMap<String, T>, E>> + Send + Sync;

impl<T, E, B, S> Loader<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    /// Sets the function that [`get_many`](Self::get_many) calls once for all missing keys. If the
    /// function returns no value for a key, the key is absent from the result.
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// use codex_kv::{Cache, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// let lengths = cache
    ///     .loader("length")
    ///     .load(|key| async move { Ok::<_, Infallible>(key.len()) })
    ///     .batch(|keys| async move { Ok(keys.into_iter().map(|key| (key.clone(), key.len()))) });
    /// let found = lengths.get_many(["a", "bb"]).await?;
    /// assert_eq!((found["a"].value, found["bb"].value), (1, 2));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn batch<F, Fut, I>(mut self, load: F) -> Self
    where
        F: Fn(Vec<String>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<I, E>> + Send + 'static,
        I: IntoIterator<Item = (String, T)>,
    {
        self.batch = Some(Arc::new(move |keys| {
            load(keys).map(|values| Ok(values?.into_iter().collect())).boxed()
        }));
        self
    }

    /// Returns the values of `keys`. Stored values are read concurrently, and one call of the
    /// [`batch`](Self::batch) function computes the missing values. Without a batch function, each
    /// missing key is computed separately.
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get). There is no partial result.
    ///
    /// # Cancellation
    ///
    /// As for [`get`](Self::get), dropping the call does not stop its computations.
    pub fn get_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> impl Future<Output = Result<HashMap<String, Loaded<T>>, ComputeError<E>>> + Send {
        // Collected before the first await, so that neither the iterator nor its items need to be
        // `Send`. The set removes duplicates.
        let keys: BTreeSet<String> = keys.into_iter().map(|key| key.as_ref().to_owned()).collect();
        let cache = &self.inner.cache;
        let keys: Vec<(String, StoredKey)> = keys
            .into_iter()
            .map(|key| (key.clone(), cache.stored_key(&key)))
            .collect();
        async move {
            let inner = &self.inner;
            inner.check()?;
            let found: Vec<Found> = stream::iter(0..keys.len())
                .map(|at| inner.look_up(&keys[at].1))
                .buffered(AT_A_TIME)
                .try_collect()
                .await?;
            let mut loaded = HashMap::with_capacity(keys.len());
            let mut missing = Vec::new();
            for ((key, stored_key), found) in keys.into_iter().zip(found) {
                let value = match found {
                    Found::Fresh(stored, age) => inner.loaded(&stored_key, &stored, LoadState::Fresh, age)?,
                    Found::Stale(stored, age) => {
                        inner.refresh_behind(&key, &stored_key);
                        inner.loaded(&stored_key, &stored, LoadState::Stale, age)?
                    }
                    Found::Missing => {
                        missing.push((key, stored_key));
                        continue;
                    }
                };
                loaded.insert(key, value);
            }
            if !missing.is_empty() {
                loaded.extend(self.compute_many(missing).await?);
            }
            Ok(loaded)
        }
    }

    async fn compute_many(
        &self,
        missing: Vec<(String, StoredKey)>,
    ) -> Result<Vec<(String, Loaded<T>)>, ComputeError<E>> {
        let inner = &self.inner;
        let Some(batch) = &self.batch else {
            let computed = stream::iter(missing).map(|(key, stored_key)| async move {
                let loaded = inner.wait_for(&key, &stored_key, Why::Missing).await?;
                Ok((key, loaded))
            });
            return computed.buffer_unordered(AT_A_TIME).try_collect().await;
        };
        // Checked before a flight is opened, which would otherwise never be run.
        let runtime = runtime()?;
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for (key, _) in &missing {
            inner.check_recursion(key)?;
        }
        for (key, stored_key) in missing {
            let begin = || inner.cache.shared.fills.begin(&stored_key);
            match inner.flights.join(&stored_key, None, false, begin) {
                Join::Existing(_) => others.push((key, stored_key)),
                Join::Opened(opened) => own.push((key, stored_key, opened)),
            }
        }
        let flights: Vec<_> = own
            .iter()
            .map(|(key, stored_key, opened)| (key.clone(), stored_key.clone(), Arc::clone(&opened.flight)))
            .collect();
        if !own.is_empty() {
            let (inner, batch, parent) = (Arc::clone(inner), Arc::clone(batch), Computing::current());
            runtime.spawn(async move { inner.run_batch(own, &*batch, parent).await });
        }
        let mut loaded = Vec::new();
        // The stored key is kept, because `Group::invalidate` changes the stored keys of a group.
        for (key, stored_key, flight) in flights {
            match flight.ended().await {
                Some(Ended::With(outcome)) => {
                    let value = outcome?;
                    let value = inner.loaded(&stored_key, &value.bytes, value.state, value.age)?;
                    loaded.push((key, value));
                }
                Some(Ended::WithoutValue) => {}
                None => return Err(ComputeError::Aborted),
            }
        }
        let waited = stream::iter(others).map(|(key, stored_key)| async move {
            let loaded = inner.wait_for(&key, &stored_key, Why::Missing).await?;
            Ok::<_, ComputeError<E>>((key, loaded))
        });
        loaded.extend(waited.buffer_unordered(AT_A_TIME).try_collect::<Vec<_>>().await?);
        Ok(loaded)
    }
}

/// A key to compute, and its flight.
type Entry<E> = (String, StoredKey, Opened<E>);

impl<T, E, B, S> Inner<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    /// Runs the flights of many keys with one computation.
    async fn run_batch(&self, entries: Vec<Entry<E>>, batch: &BatchFn<T, E>, parent: Option<Arc<Computing>>) {
        // The futures are boxed, here and below, because the compiler cannot prove that a stream of
        // unnamed futures that borrow is `Send`.
        let prepared: Vec<_> = entries
            .iter()
            .map(|(_, stored_key, _)| self.prepare(stored_key, Why::Missing, WhenBusy::Tell).boxed())
            .collect();
        let prepared: Vec<_> = stream::iter(prepared).buffered(AT_A_TIME).collect().await;
        let (mut claimed, mut busy) = (Vec::new(), Vec::new());
        for (entry, prepared) in entries.into_iter().zip(prepared) {
            let (key, stored_key, opened) = entry;
            match prepared {
                Ok(Prepared::Compute(claim)) => claimed.push((key, stored_key, opened, claim)),
                Ok(Prepared::Done(value)) => opened.end(Ended::With(Ok(value))),
                Ok(Prepared::Busy) => busy.push((key, stored_key, opened)),
                Err(error) => opened.end(Ended::With(Err(error.into()))),
            }
        }
        let waiting: Vec<BoxFuture<'_, ()>> = busy
            .into_iter()
            .map(|(key, stored_key, opened)| {
                let parent = parent.clone();
                async move { self.run(&key, &stored_key, Why::Missing, opened, parent).await }.boxed()
            })
            .collect();
        let waiting = all(waiting);
        tokio::join!(waiting, self.compute_batch(claimed, batch, parent));
    }

    async fn compute_batch(
        &self,
        claimed: Vec<(String, StoredKey, Opened<E>, Claimed)>,
        batch: &BatchFn<T, E>,
        parent: Option<Arc<Computing>>,
    ) {
        if claimed.is_empty() {
            return;
        }
        let keys: Vec<String> = claimed.iter().map(|(key, ..)| key.clone()).collect();
        let requested = keys.clone();
        let (mut values, failed) = match self.computed(|| batch(requested), keys, parent).await {
            Ok(values) => (values, None),
            Err(error) => (HashMap::new(), Some(error)),
        };
        let finishes = claimed.into_iter().map(|(key, stored_key, opened, claim)| {
            let computed = match &failed {
                Some(error) => Some(Err(error.clone())),
                None => values.remove(&key).map(Ok),
            };
            async move {
                if let Some(computed) = computed {
                    self.finish(&stored_key, Why::Missing, opened, &claim, computed).await;
                } else {
                    self.release(&stored_key, &claim).await;
                    opened.end(Ended::WithoutValue);
                }
            }
            .boxed()
        });
        // Collected first because the closure mutably borrows the values.
        let finishes: Vec<BoxFuture<'_, ()>> = finishes.collect();
        all(finishes).await;
    }
}

/// Runs all futures, a limited number of them concurrently.
async fn all(futures: Vec<BoxFuture<'_, ()>>) {
    stream::iter(futures)
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<()>>()
        .await;
}
