//! The running computations of a loader, and its recent failures.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::{super::fills::Fill, ComputeError, LoadState, run::Opened};

/// The value of a computation, kept as bytes because its type need not be `Clone`.
#[derive(Debug, Clone)]
pub(super) struct FlightValue {
    pub(super) bytes: Bytes,
    pub(super) state: LoadState,
    pub(super) age: Duration,
}

pub(super) type Outcome<E> = Result<FlightValue, ComputeError<E>>;

/// A computation, which runs in its own task.
pub(super) struct Flight<E> {
    /// Closed without an outcome if the task panics or its runtime shuts down.
    outcome: watch::Receiver<Option<Outcome<E>>>,
    fill: Arc<Fill>,
}

impl<E: Send + Sync> Flight<E> {
    /// Returns the outcome, or `None` if the task ended without one.
    pub(super) async fn outcome(&self) -> Option<Outcome<E>> {
        let mut outcome = self.outcome.clone();
        let ended = outcome.wait_for(Option::is_some).await;
        ended.ok().and_then(|outcome| outcome.clone())
    }
}

pub(super) struct LoaderFlights<E>(Mutex<HashMap<String, Arc<Flight<E>>>>);

impl<E> Default for LoaderFlights<E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The flight that a caller joins.
pub(super) enum Join<E> {
    /// A flight that is already running.
    Existing(Arc<Flight<E>>),
    /// A new flight, which the caller must start.
    Opened(Opened<E>),
}

impl<E> LoaderFlights<E> {
    /// Joins the running flight of `key`, or opens a new flight. A flight is not joined if its
    /// result is outdated, its task has ended, the caller has `given_up` on it, or the caller
    /// computes `alone`.
    pub(super) fn join(
        &self,
        key: &str,
        given_up: Option<&Arc<Flight<E>>>,
        alone: bool,
        begin: impl FnOnce() -> Fill,
    ) -> Join<E> {
        let mut flights = self.lock();
        if !alone
            && let Some(flight) = flights.get(key)
            && !flight.fill.is_outdated()
            && !given_up.is_some_and(|other| Arc::ptr_eq(other, flight))
            && flight.outcome.has_changed().is_ok()
        {
            return Join::Existing(Arc::clone(flight));
        }
        let (sender, outcome) = watch::channel(None);
        let fill = Arc::new(begin());
        let flight = Arc::new(Flight {
            outcome,
            fill: Arc::clone(&fill),
        });
        flights.insert(key.to_owned(), Arc::clone(&flight));
        Join::Opened(Opened { flight, sender, fill })
    }

    /// Prevents later callers from joining this flight.
    pub(super) fn close(&self, key: &str, flight: &Arc<Flight<E>>) {
        let mut flights = self.lock();
        if flights.get(key).is_some_and(|other| Arc::ptr_eq(other, flight)) {
            flights.remove(key);
        }
    }

    /// Locks the map. The lock is never held across an await or a caller's code, and a panic leaves
    /// the map consistent.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Flight<E>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The maximum number of failed refreshes to remember. Other failed refreshes are retried without a
/// delay.
const MAX_FAILED: usize = 10_000;

/// Long enough to mean "never", and short enough to be added to any `Instant`.
const LONGEST_RETRY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The times at which the failed refreshes of keys may be retried.
#[derive(Default)]
pub(super) struct Failed(Mutex<HashMap<String, Instant>>);

impl Failed {
    pub(super) fn may_try(&self, key: &str) -> bool {
        let mut failed = self.lock();
        match failed.get(key) {
            Some(again_at) if *again_at > Instant::now() => false,
            Some(_) => {
                failed.remove(key);
                true
            }
            None => true,
        }
    }

    pub(super) fn failed(&self, key: &str, retry_after: Duration) {
        let now = Instant::now();
        let again_at = now + retry_after.min(LONGEST_RETRY);
        let mut failed = self.lock();
        if failed.len() >= MAX_FAILED {
            failed.retain(|_, again_at| *again_at > now);
        }
        if failed.len() < MAX_FAILED {
            failed.insert(key.to_owned(), again_at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
