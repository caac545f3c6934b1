//! The running computations of a loader, and its recent failures.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::watch, time::Instant};

use super::{super::fills::Fill, ComputeError, LoadState};

/// The value of a computation, kept as bytes because its type need not be `Clone`.
#[derive(Debug, Clone)]
pub(super) struct FlightValue {
    pub(super) bytes: Bytes,
    pub(super) state: LoadState,
    pub(super) age: Duration,
}

pub(super) type Outcome<E> = Result<FlightValue, ComputeError<E>>;

/// The end of a computation.
#[derive(Debug)]
pub(super) enum Ended<E> {
    With(Outcome<E>),
    /// The batch function returned no value for the key.
    WithoutValue,
}

// Implemented by hand because `derive` would require `E: Clone`.
impl<E> Clone for Ended<E> {
    fn clone(&self) -> Self {
        match self {
            Self::With(outcome) => Self::With(outcome.clone()),
            Self::WithoutValue => Self::WithoutValue,
        }
    }
}

/// A computation, which runs in its own task.
pub(super) struct Flight<E> {
    /// Closed without an end if the task panics or its runtime shuts down.
    ended: watch::Receiver<Option<Ended<E>>>,
    fill: Arc<Fill>,
}

impl<E: Send + Sync> Flight<E> {
    /// Returns the outcome, or `None` if the task died or there is no value.
    pub(super) async fn outcome(&self) -> Option<Outcome<E>> {
        match self.ended().await? {
            Ended::With(outcome) => Some(outcome),
            Ended::WithoutValue => None,
        }
    }

    /// Returns the end of the computation, or `None` if the task died.
    pub(super) async fn ended(&self) -> Option<Ended<E>> {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(Option::is_some).await;
        ended.ok().and_then(|ended| ended.clone())
    }
}

/// An opened flight, which its task must end. Dropping it closes the flight.
pub(super) struct Opened<E> {
    pub(super) flight: Arc<Flight<E>>,
    pub(super) fill: Arc<Fill>,
    sender: watch::Sender<Option<Ended<E>>>,
    key: String,
    flights: Arc<LoaderFlights<E>>,
}

impl<E> Opened<E> {
    /// Ends the flight.
    pub(super) fn end(self, ended: Ended<E>) {
        // Closed before the waiting callers wake, so that a later caller starts a new computation
        // instead of getting an old error.
        self.flights.close(&self.key, &self.flight);
        self.sender.send_replace(Some(ended));
    }
}

impl<E> Drop for Opened<E> {
    fn drop(&mut self) {
        self.flights.close(&self.key, &self.flight);
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
        self: &Arc<Self>,
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
            && flight.ended.has_changed().is_ok()
        {
            return Join::Existing(Arc::clone(flight));
        }
        let (sender, ended) = watch::channel(None);
        let fill = Arc::new(begin());
        let flight = Arc::new(Flight {
            ended,
            fill: Arc::clone(&fill),
        });
        flights.insert(key.to_owned(), Arc::clone(&flight));
        Join::Opened(Opened {
            flight,
            fill,
            sender,
            key: key.to_owned(),
            flights: Arc::clone(self),
        })
    }

    /// Prevents later callers from joining this flight.
    fn close(&self, key: &str, flight: &Arc<Flight<E>>) {
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

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use super::{super::super::fills::Fills, Join, LoaderFlights};

    #[test]
    fn a_flight_that_is_never_run_is_closed() {
        let (flights, fills) = (Arc::<LoaderFlights<Infallible>>::default(), Arc::<Fills>::default());
        let join = || flights.join("k", None, false, || fills.begin("k"));
        let Join::Opened(opened) = join() else {
            panic!("there was no flight to join");
        };
        assert!(matches!(join(), Join::Existing(_)));
        drop(opened);
        assert!(flights.lock().is_empty());
    }
}
