//! The computation of a key.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_traits::{Expiry, KvBackend};
use futures_util::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Handle;
use tracing::Instrument as _;

use super::{
    super::{
        CacheError, ComputeError, Serializer,
        fills::{Fill, Keys},
        key::StoredKey,
        stats::Event,
        timeout::is_over,
        timer::within,
    },
    Inner, LoadState, Loaded,
    flight::{Ended, Flight, FlightValue, Join, Opened, Outcome},
    lease::{Claimed, Prepared, WhenBusy},
};

/// The reason for computing a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A caller found no value.
    Missing,
    /// A caller found a stale value and does not wait for the new value.
    Stale,
    /// A caller requested a refresh.
    Refresh,
}

/// The keys that a loader is computing, and the computation that waits for them.
#[derive(Debug)]
pub(crate) struct Computing {
    loader: usize,
    keys: Vec<String>,
    parent: Option<Arc<Computing>>,
}

impl Computing {
    /// Returns the computation that this task runs, if it runs one.
    pub(crate) fn current() -> Option<Arc<Self>> {
        COMPUTING.try_with(Arc::clone).ok()
    }

    /// Calls `run` as a part of this computation, on a thread that does not run its task.
    #[cfg(feature = "blocking")]
    pub(crate) fn scope<T>(self: Arc<Self>, run: impl FnOnce() -> T) -> T {
        COMPUTING.sync_scope(self, run)
    }

    /// Returns whether another computation waits for this one.
    #[cfg(feature = "blocking")]
    pub(crate) fn is_nested(&self) -> bool {
        self.parent.is_some()
    }

    /// Returns whether this computation, or one that waits for it, is computing the key.
    fn includes(&self, loader: usize, key: &str) -> bool {
        let mut next = Some(self);
        while let Some(computing) = next {
            if computing.loader == loader && computing.keys.iter().any(|other| other == key) {
                return true;
            }
            next = computing.parent.as_deref();
        }
        false
    }
}

tokio::task_local! {
    /// The computation that this task runs.
    static COMPUTING: Arc<Computing>;
}

/// Returns the runtime for the tasks of computations.
pub(super) fn runtime() -> Result<Handle, CacheError> {
    Handle::try_current()
        .map_err(|_| CacheError::invalid("a loader computes in a task of its own: call it on a tokio runtime"))
}

impl<T, E, B, S> Inner<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    /// Computes the key, or waits for the running computation.
    pub(super) async fn wait_for(
        self: &Arc<Self>,
        key: &str,
        stored_key: &StoredKey,
        why: Why,
    ) -> Result<Loaded<T>, ComputeError<E>> {
        self.check_recursion(key)?;
        let mut given_up = None;
        // First the running flight, then its replacement, then a flight for this caller alone.
        for is_last in [false, false, true] {
            let (flight, is_own) = self.join(key, stored_key, why, given_up.as_ref(), is_last)?;
            let ended = if is_own {
                flight.outcome().await
            } else {
                within(self.settings.max_wait, flight.outcome()).await.flatten()
            };
            match ended {
                Some(outcome) => {
                    if !is_own {
                        self.cache.count(Event::Coalesced);
                    }
                    let FlightValue { bytes, state, age } = outcome?;
                    return self.loaded(stored_key, &bytes, state, age);
                }
                None if is_own => return Err(ComputeError::Aborted),
                None => given_up = Some(flight),
            }
        }
        Err(ComputeError::Aborted)
    }

    /// Fails if a computation of this key waits for the caller.
    pub(super) fn check_recursion(&self, key: &str) -> Result<(), CacheError> {
        if Computing::current().is_some_and(|computing| computing.includes(self.id(), key)) {
            return Err(CacheError::invalid(
                "a loader's function requested its own key from that loader, directly or through the functions of other keys",
            ));
        }
        Ok(())
    }

    /// Joins the flight of a key. Returns the flight and whether it was opened for this caller.
    fn join(
        self: &Arc<Self>,
        key: &str,
        stored_key: &StoredKey,
        why: Why,
        given_up: Option<&Arc<Flight<E>>>,
        alone: bool,
    ) -> Result<(Arc<Flight<E>>, bool), CacheError> {
        let runtime = runtime()?;
        let begin = || self.cache.shared.fills.begin(stored_key);
        let joined = self.flights.join(stored_key, given_up, alone, begin);
        Ok(match joined {
            Join::Existing(flight) => (flight, false),
            Join::Opened(opened) => {
                let flight = Arc::clone(&opened.flight);
                let (inner, key, stored_key) = (Arc::clone(self), key.to_owned(), stored_key.to_string());
                // Nobody waits for the refresh of a stale value.
                let parent = if why == Why::Stale { None } else { Computing::current() };
                runtime.spawn(async move {
                    inner.run(&key, &StoredKey::Heap(stored_key), why, opened, parent).await;
                });
                (flight, true)
            }
        })
    }

    /// Refreshes a stale value in the background, unless a refresh is running or has recently
    /// failed.
    pub(super) fn refresh_behind(self: &Arc<Self>, key: &str, stored_key: &StoredKey) {
        if !self.failed.may_try(stored_key) {
            return;
        }
        if let Err(error) = self.join(key, stored_key, Why::Stale, None, false) {
            tracing::warn!(cache = self.cache.name(), loader = self.name, %error, "a stale value is not refreshed");
        }
    }

    /// Marks the running computations of a key as outdated.
    pub(super) async fn outdate(&self, key: &StoredKey) {
        let shared = &self.cache.shared;
        drop(shared.fills.outdate(shared.max_wait, Keys::One(key)).await);
    }

    /// Runs a flight to completion, in a spawned task.
    pub(super) async fn run(
        &self,
        key: &str,
        stored_key: &StoredKey,
        why: Why,
        opened: Opened<E>,
        parent: Option<Arc<Computing>>,
    ) {
        let prepared = self.prepare(stored_key, why, WhenBusy::Wait).await;
        let outcome = match prepared {
            Ok(Prepared::Compute(claimed)) => {
                let computed = self
                    .computed(|| (self.load)(key.to_owned()), vec![key.to_owned()], parent)
                    .await;
                return self.finish(stored_key, why, opened, &claimed, computed).await;
            }
            Ok(Prepared::Done(value)) => Ok(value),
            // Unreachable: `WhenBusy::Wait` never returns `Busy`.
            Ok(Prepared::Busy) => Err(ComputeError::Aborted),
            Err(error) => Err(error.into()),
        };
        if why == Why::Stale && outcome.is_err() {
            self.retry_later(stored_key);
        }
        opened.end(Ended::With(outcome));
    }

    /// Records and logs a failed refresh. The error itself may contain a value, so it is not
    /// logged.
    fn retry_later(&self, key: &StoredKey) {
        let retry_after = self.settings.retry_after;
        self.failed.failed(key, retry_after);
        tracing::warn!(
            cache = self.cache.name(),
            loader = self.name,
            ?retry_after,
            "a refresh failed; the stale value is returned until the next attempt"
        );
    }

    /// Runs the caller's function.
    pub(super) async fn computed<R, Fut: Future<Output = Result<R, E>>>(
        &self,
        compute: impl FnOnce() -> Fut,
        keys: Vec<String>,
        parent: Option<Arc<Computing>>,
    ) -> Result<R, ComputeError<E>> {
        let span = tracing::debug_span!("codex.cache.compute", cache = self.cache.name(), loader = self.name);
        let started = Instant::now();
        // Called inside the future, because the function may panic before it returns a future.
        let computation = async { compute().await };
        let computing = Arc::new(Computing {
            loader: self.id(),
            keys,
            parent,
        });
        let computed = COMPUTING.scope(computing, computation.instrument(span));
        // A panic must not leave a lease behind. The panic hook has already reported it.
        let computed = AssertUnwindSafe(computed).catch_unwind().await;
        self.cache.count(Event::Computed(started.elapsed()));
        match computed {
            Ok(computed) => computed.map_err(|error| ComputeError::Compute(Arc::new(error))),
            Err(_) => Err(ComputeError::Aborted),
        }
    }

    /// Stores the value of a computation and ends its flight.
    pub(super) async fn finish(
        &self,
        key: &StoredKey,
        why: Why,
        opened: Opened<E>,
        claimed: &Claimed,
        value: Result<T, ComputeError<E>>,
    ) {
        let Finished { outcome, keeps_lease } = self.store(key, why, &opened.fill, claimed, value).await;
        if why == Why::Stale && outcome.is_err() {
            self.retry_later(key);
        }
        opened.end(Ended::With(outcome));
        if keeps_lease {
            self.release(key, claimed).await;
        }
    }

    /// Stores the computed value, or releases the lease.
    async fn store(
        &self,
        key: &StoredKey,
        why: Why,
        fill: &Fill,
        claimed: &Claimed,
        value: Result<T, ComputeError<E>>,
    ) -> Finished<E> {
        // A panic of the value's `Serialize` must not leave a lease behind either.
        let encoded = value.and_then(|value| {
            let encode = AssertUnwindSafe(|| self.cache.encode(key, &value));
            Ok(catch_unwind(encode).map_err(|_| ComputeError::Aborted)??)
        });
        let bytes = match encoded {
            Ok(bytes) => bytes,
            Err(error) => {
                self.cache.count(Event::Error);
                self.release(key, claimed).await;
                return Err(error).into();
            }
        };
        let expiry = match self.expiry() {
            Ok(expiry) => expiry,
            Err(error) => {
                self.release(key, claimed).await;
                return Err(error.into()).into();
            }
        };
        if !claimed.is_stored || is_over(expiry) {
            self.release(key, claimed).await;
        } else {
            let write = self.fill(key, &bytes, expiry, claimed);
            match fill.write(write, self.cache.take_back(key, &bytes)).await {
                Some(Ok(true)) => self.cache.saw(key, Some(&bytes)),
                Some(Ok(false)) | None => {
                    self.cache.count(Event::RefusedFill);
                    // The key may have been claimed after the write that outdated the result.
                    self.release(key, claimed).await;
                }
                Some(Err(error)) => {
                    let answer = self.not_stored(key, why, error);
                    return Finished {
                        outcome: answer.map(|()| computed(bytes)).map_err(ComputeError::from),
                        keeps_lease: true,
                    };
                }
            }
        }
        Ok(computed(bytes)).into()
    }

    /// Handles a computed value that could not be stored: returns the error, unless the cache's
    /// `on_outage` setting covers it and there is no lease.
    fn not_stored(&self, key: &StoredKey, why: Why, error: CacheError) -> Result<(), CacheError> {
        let is_forgiven = self.cache.shared.outage.is_some() && self.settings.lease.is_none() && error.is_outage();
        self.cache.count(Event::Error);
        if !is_forgiven {
            return Err(error);
        }
        tracing::warn!(cache = self.cache.name(), loader = self.name, %error, "a computed value could not be stored");
        if why == Why::Stale {
            // The stored value is still stale.
            self.retry_later(key);
        }
        Ok(())
    }

    /// Returns the expiry for a value that is about to be stored.
    fn expiry(&self) -> Result<Expiry, CacheError> {
        let (Some(lifetime), Some(fresh_for)) = (self.settings.lifetime(), self.settings.fresh_for) else {
            return Ok(Expiry::Never);
        };
        if self.settings.jitter == 0.0 {
            return Ok(Expiry::After(lifetime));
        }
        let random = getrandom::u32().map_err(|_| {
            CacheError::invalid("the operating system's random generator failed: no jitter can be drawn")
        })?;
        let fraction = f64::from(random) / f64::from(u32::MAX) * self.settings.jitter;
        Ok(Expiry::After(lifetime.saturating_sub(fresh_for.mul_f64(fraction))))
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// The end of a computation.
struct Finished<E> {
    outcome: Outcome<E>,
    /// Whether the lease is still held because the value could not be stored. It is released after
    /// the flight has ended: the store may be unreachable, and callers need not wait for it twice.
    keeps_lease: bool,
}

impl<E> From<Outcome<E>> for Finished<E> {
    fn from(outcome: Outcome<E>) -> Self {
        Self {
            outcome,
            keeps_lease: false,
        }
    }
}

fn computed(bytes: Bytes) -> FlightValue {
    FlightValue {
        bytes,
        state: LoadState::Computed,
        age: Duration::ZERO,
    }
}
