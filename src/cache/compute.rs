//! Computing a missing value once, however many tasks ask for it.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use codex_traits::{Expiry, KvBackend};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use super::{Cache, ComputeError, Serializer, Timeout, key::StoredKey, timeout::is_over};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// The value of `key`; where there is none, what the closure computes, which is stored.
    ///
    /// However many tasks ask for a missing key at once, the closure of one of them runs, and all get its value or its error. "All"
    /// are those that ask this cache or a clone of it, with the same error type `E`. Another process computes for itself, and the value
    /// that is stored first is the one that everybody gets. With a timeout of zero the value is returned and not stored.
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
    /// # Errors
    ///
    /// [`ComputeError::Compute`] where the closure fails, and [`ComputeError::Cache`] where the cache does. Nothing is stored then, and the next
    /// caller tries again.
    ///
    /// # Cancellation
    ///
    /// The closure runs in the task of the caller that was first, without a task of its own. Where that caller is dropped, so is its
    /// computation, and one of the others runs its own closure. The closure must not ask for its own key.
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
        if let Some(stored) = self.fetch(&key).await? {
            return Ok(self.decode(&key, &stored)?);
        }
        let flights = &self.shared.flights;
        let seat = flights.join::<E>(&key);
        let mut own = None;
        let landed = seat
            .flight
            .get_or_init(|| async {
                let outcome = self.fly(&key, expiry, compute).await;
                // Before the others wake: who asks from now on asks anew, and gets no error from before.
                flights.close(&seat.id, &seat.flight);
                let (stored, value) = outcome?;
                own = value;
                Ok(stored)
            })
            .await;
        match (own, landed) {
            (Some(value), _) => Ok(value),
            (None, Ok(stored)) => Ok(self.decode(&key, stored)?),
            (None, Err(error)) => Err(error.clone()),
        }
    }

    /// What is stored in the end and, where that was computed here, the value itself.
    async fn fly<T, E, F, Fut>(
        &self,
        key: &StoredKey,
        expiry: Expiry,
        compute: F,
    ) -> Result<(Bytes, Option<T>), ComputeError<E>>
    where
        T: Serialize + Send + Sync,
        E: Send + Sync,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        // Another flight can have landed between this caller's miss and its boarding.
        if let Some(stored) = self.fetch(key).await? {
            return Ok((stored, None));
        }
        let value = compute()
            .await
            .map_err(|error| ComputeError::Compute(Arc::new(error)))?;
        let encoded = self.encode(key, &value)?;
        loop {
            if is_over(expiry) || self.add_stored(key, encoded.clone(), expiry).await? {
                return Ok((encoded, Some(value)));
            }
            if let Some(stored) = self.fetch(key).await? {
                return Ok((stored, None));
            }
        }
    }
}

/// One computation that is under way, and how it ended: its bytes, because types do not have to be `Clone`, or its error. `OnceCell` lets
/// the next waiter in where the one that computes is dropped.
type Flight<E> = OnceCell<Result<Bytes, ComputeError<E>>>;

/// The stored key, and the type of the error, so that a flight's error can be given to all who are on it.
type FlightId = (TypeId, String);

/// The computations that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<FlightId, Boarding>>);

struct Boarding {
    /// A `Flight<E>`.
    flight: Arc<dyn Any + Send + Sync>,
    seats: usize,
}

impl Flights {
    fn join<E: Send + Sync + 'static>(&self, key: &str) -> Seat<'_, E> {
        let id = (TypeId::of::<E>(), key.to_owned());
        let mut flights = self.lock();
        let boarding = flights.entry(id.clone()).or_insert_with(|| Boarding {
            flight: Arc::new(Flight::<E>::new()),
            seats: 0,
        });
        boarding.seats += 1;
        // Always one of `E`, by its id. Were it not, a flight for this caller alone would be right too.
        let flight = Arc::clone(&boarding.flight).downcast().unwrap_or_default();
        Seat {
            flights: self,
            id,
            flight,
        }
    }

    /// Nobody boards this flight any more.
    fn close<E: Send + Sync + 'static>(&self, id: &FlightId, flight: &Arc<Flight<E>>) {
        let mut flights = self.lock();
        if flights.get(id).is_some_and(|boarding| boarding.is(flight)) {
            flights.remove(id);
        }
    }

    /// Never held across an await or a caller's code. A panic inside leaves at worst one entry too many, so a poisoned lock is taken.
    fn lock(&self) -> MutexGuard<'_, HashMap<FlightId, Boarding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Boarding {
    fn is<E>(&self, flight: &Arc<Flight<E>>) -> bool {
        // Only the addresses: a trait object's vtable may differ between two pointers to one thing.
        std::ptr::addr_eq(Arc::as_ptr(&self.flight), Arc::as_ptr(flight))
    }
}

/// One caller's place; the last one to leave takes the entry with it.
struct Seat<'a, E: Send + Sync + 'static> {
    flights: &'a Flights,
    id: FlightId,
    flight: Arc<Flight<E>>,
}

impl<E: Send + Sync + 'static> Drop for Seat<'_, E> {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Closed flights are gone, and their key may have a new one by now.
        if let Some(boarding) = flights.get_mut(&self.id)
            && boarding.is(&self.flight)
        {
            boarding.seats -= 1;
            if boarding.seats == 0 {
                flights.remove(&self.id);
            }
        }
    }
}
