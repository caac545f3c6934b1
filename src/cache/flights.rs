//! Single flight: one computation of a key for all tasks that request it at the same time.

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

/// The outcome of a computation: bytes, because types need not be `Clone`, or with its error.
pub(super) type FlightResult<E> = Result<Bytes, ComputeError<E>>;

/// A running computation.
///
/// `OnceCell` lets the next waiter compute if the computing task is dropped.
#[derive(Debug)]
struct Flight<E>(OnceCell<FlightResult<E>>);

/// The stored key and the type of the error, so that all callers of a flight can get its error.
type FlightId = (TypeId, String);

/// The running computations.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<FlightId, Entry>>);

struct Entry {
    /// A `Flight<E>`.
    flight: Arc<dyn Any + Send + Sync>,
    fill: Arc<Fill>,
    callers: usize,
}

impl Flights {
    /// Joins the flight of `key`, or opens one. A flight whose result is outdated is not joined.
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
        // Always one of `E`, by its id. If it were not, a flight for this caller alone would do.
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

    /// Locks the map. The lock is never held across an await or a caller's code. A panic inside
    /// leaves at worst one entry too many, so a poisoned lock is taken.
    fn lock(&self) -> MutexGuard<'_, HashMap<FlightId, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's share of a flight. The last to be dropped removes the entry.
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

    /// Keeps later callers from joining.
    pub(super) fn close(&self) {
        let mut flights = self.flights.lock();
        if flights.get(&self.id).is_some_and(|entry| self.is_of(entry)) {
            flights.remove(&self.id);
        }
    }

    /// Runs `compute` if nobody does so already, and returns what the flight came to. `None` after
    /// `max_wait` of waiting for another caller's computation; `compute` has not run then.
    pub(super) async fn outcome(
        &self,
        max_wait: Duration,
        compute: impl Future<Output = FlightResult<E>>,
    ) -> Option<&FlightResult<E>> {
        // The two futures below are polled by one task, so there is nothing to order.
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
        // Only the addresses: a trait object's vtable may differ between two pointers to one thing.
        std::ptr::addr_eq(Arc::as_ptr(&entry.flight), Arc::as_ptr(&self.flight))
    }
}

impl<E: Send + Sync + 'static> Drop for JoinedFlight<'_, E> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // A closed flight is gone, and its key may have a new one by now.
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
