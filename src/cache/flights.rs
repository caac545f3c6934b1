//! Single-flight: one computation of a key for all tasks that request it at the same time.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::{
    ComputeError,
    fills::{Fill, Fills},
    timer::Timer,
};

/// The outcome of a computation. The value is kept as bytes, because its type need not be `Clone`.
pub(super) type FlightResult<E> = Result<Bytes, ComputeError<E>>;

/// A running computation.
///
/// If the computing task is dropped, `OnceCell` lets the next waiter compute.
#[derive(Debug)]
struct Flight<E>(OnceCell<FlightResult<E>>);

/// The type of the error and the stored key. Callers share a flight only if they can share its
/// error.
type FlightId = (TypeId, String);

/// The running computations.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<FlightId, Entry>>);

struct Entry {
    /// A `Flight<E>` whose error type is part of the [`FlightId`].
    flight: Arc<dyn Any + Send + Sync>,
    fill: Arc<Fill>,
    callers: usize,
}

impl Flights {
    /// Joins the flight of `key`, or opens a new flight if there is none or its result is outdated.
    pub(super) fn join<E: Send + Sync + 'static>(&self, fills: &Arc<Fills>, key: &str) -> JoinedFlight<'_, E> {
        let open = || Entry {
            flight: Arc::new(Flight::<E>(OnceCell::new())),
            fill: Arc::new(fills.begin(key)),
            callers: 0,
        };
        let id = (TypeId::of::<E>(), key.to_owned());
        let mut flights = self.lock();
        let entry = flights.entry(id.clone()).or_insert_with(open);
        if entry.fill.is_outdated() {
            *entry = open();
        }
        entry.callers += 1;
        // The id contains the type `E`, so the downcast succeeds. If it ever failed, a separate
        // flight would still give a correct result.
        let flight = Arc::clone(&entry.flight)
            .downcast()
            .unwrap_or_else(|_| Arc::new(Flight(OnceCell::new())));
        JoinedFlight {
            flights: self,
            id,
            flight,
            fill: Arc::clone(&entry.fill),
        }
    }

    /// Locks the map. The lock is never held across an await or a caller's code. A panic while it
    /// is held leaves at most one stale entry, so poisoning is ignored.
    fn lock(&self) -> MutexGuard<'_, HashMap<FlightId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's membership in a flight. Dropping the last one removes the entry.
pub(super) struct JoinedFlight<'a, E: Send + Sync + 'static> {
    flights: &'a Flights,
    id: FlightId,
    flight: Arc<Flight<E>>,
    fill: Arc<Fill>,
}

impl<E: Send + Sync + 'static> JoinedFlight<'_, E> {
    pub(super) fn fill(&self) -> &Fill {
        &self.fill
    }

    /// Prevents later callers from joining.
    pub(super) fn close(&self) {
        let mut flights = self.flights.lock();
        if flights.get(&self.id).is_some_and(|entry| self.is_of(entry)) {
            flights.remove(&self.id);
        }
    }

    /// Runs `compute` unless another caller is computing, and returns the outcome of the flight.
    /// Returns `None`, without running `compute`, if another caller's computation takes longer than
    /// `max_wait`.
    pub(super) async fn outcome(
        &self,
        max_wait: Duration,
        compute: impl Future<Output = FlightResult<E>>,
    ) -> Option<&FlightResult<E>> {
        // `Relaxed` suffices, because one task polls both futures below.
        let leads = AtomicBool::new(false);
        let mut outcome = pin!(self.flight.0.get_or_init(|| {
            leads.store(true, Ordering::Relaxed);
            compute
        }));
        let mut timer = None;
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = outcome.as_mut().poll(cx) {
                return Poll::Ready(Some(outcome));
            }
            if leads.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            let timer = timer.get_or_insert_with(|| Timer::after(max_wait));
            timer.poll(cx).map(|()| None)
        })
        .await
    }

    fn is_of(&self, entry: &Entry) -> bool {
        // Compares only the addresses: two pointers to one trait object may have different vtables.
        std::ptr::addr_eq(Arc::as_ptr(&entry.flight), Arc::as_ptr(&self.flight))
    }
}

impl<E: Send + Sync + 'static> Drop for JoinedFlight<'_, E> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // If the flight was closed, its entry is gone, and the key may already have a new flight.
        if let Some(entry) = flights.get_mut(&self.id)
            && self.is_of(entry)
        {
            entry.callers -= 1;
            if entry.callers == 0 {
                flights.remove(&self.id);
            }
        }
    }
}
