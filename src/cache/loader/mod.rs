//! Values that are computed when they are missing and refreshed before they expire.

mod batch;
mod builder;
mod flight;
mod lease;
mod run;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use codex_traits::{AnyBackend, KvBackend, Ttl};
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

pub use builder::LoaderBuilder;

use super::{
    Cache, CacheError, ComputeError, Json, Serializer,
    key::StoredKey,
    marker::{self, Stored},
    stats::Event,
};
use batch::BatchFn;
use builder::Settings;
use flight::{Failed, LoaderFlights};
#[cfg(feature = "blocking")]
pub(crate) use run::Computing;
use run::Why;

/// A value from a loader, with its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// The origin of the value.
    pub state: LoadState,
    /// The time since the value was computed, derived from its remaining time to live. It includes
    /// the time by which [`jitter`](LoaderBuilder::jitter) shortened the freshness. A value without
    /// a time to live has an age of zero.
    pub age: Duration,
}

/// The origin of a loader's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadState {
    /// The value was stored and is fresh.
    Fresh,
    /// The value was stored, is stale and is being refreshed.
    Stale,
    /// The value was computed for this caller, or for another caller that requested it at the same
    /// time.
    Computed,
}

/// A cache together with the function that computes its missing values.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
///
/// use codex_kv::{Cache, LoadState, memory::MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
/// let reports = cache
///     .loader("report")
///     .fresh_for(Duration::from_secs(60))
///     .stale_for(Duration::from_secs(600))
///     .load(|key| async move { Ok::<_, Infallible>(format!("slow to compute: {key}")) });
///
/// let report = reports.get("report:2026").await?;
/// assert_eq!(report.value, "slow to compute: report:2026");
/// assert_eq!(report.state, LoadState::Computed);
/// assert_eq!(reports.get("report:2026").await?.state, LoadState::Fresh);
/// # Ok(())
/// # }
/// ```
///
/// # Freshness
///
/// A value is stored for `fresh_for + stale_for`. It is fresh while its remaining time to live is
/// more than `stale_for`. After that it is stale: it is returned at once, and one refresh begins in
/// the background. After it has expired, callers wait for a computation. Freshness follows from the
/// remaining time to live, so the store holds the plain value, and other programs can read it. A
/// value without a time to live is always fresh.
///
/// # Computations
///
/// A key is computed once per process, for any number of tasks that request it. The computation
/// runs in its own task, so dropping a caller does not stop it. With a
/// [`lease`](LoaderBuilder::lease), a key is computed once across processes. Clones share
/// everything. A `load` function that requests its own key from its own loader gets an error, also
/// if it does so through the functions of other keys. A request from a task that the function
/// spawned is not recognised.
///
/// If the key is deleted or replaced while it is being computed, the result is returned to the
/// callers that are already waiting, and is not stored. Without a lease, this applies to changes
/// through this cache and its clones, and to values that are being refreshed. With a lease, it
/// applies to changes by any program.
///
/// # Leases
///
/// A process claims a lease and stores the result with writes that succeed only if nothing has
/// changed, so leases work on any backend. While a missing key is being computed, the store holds a
/// placeholder: `null` followed by a marker, which is white space that encodes a token. While a
/// value is being refreshed, a marker follows the value. JSON readers ignore the white space, and
/// Django reads a placeholder as `None`, a miss. While a marker is present, `incr` by another
/// program fails. The verbs of [`Cache`] never return a marker. In a process whose cache has no
/// loader with a lease, `has_key`, `add` and `touch` treat a key that is being computed as
/// existing. In every process, the results of `delete`, `delete_many`, `invalidate` and a `touch`
/// with a timeout of zero count such a key as existing.
///
/// # Runtime
///
/// A loader must be called on a tokio runtime with its timer enabled.
///
/// # Failure
///
/// If a computation fails, all callers that wait for it get its error. If a background refresh
/// fails, callers get the stale value, the failure is logged and counted, and the next attempt
/// begins after [`retry_after`](LoaderBuilder::retry_after). A refresh also fails if its result
/// cannot be encoded or stored.
pub struct Loader<T, E, B = AnyBackend, S = Json> {
    inner: Arc<Inner<T, E, B, S>>,
    batch: Option<Arc<BatchFn<T, E>>>,
}

struct Inner<T, E, B, S> {
    cache: Cache<B, S>,
    name: String,
    settings: Settings,
    checked: Result<(), &'static str>,
    load: Box<dyn Fn(String) -> BoxFuture<'static, Result<T, E>> + Send + Sync>,
    flights: Arc<LoaderFlights<E>>,
    failed: Failed,
}

/// The state of a key under the loader's rules.
enum Found {
    Fresh(Bytes, Duration),
    Stale(Bytes, Duration),
    Missing,
}

impl<T, E, B, S> Loader<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    /// Returns the value of `key`: the stored value if it is fresh or stale, otherwise a computed
    /// value.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Compute`] if there is no value and the function fails,
    /// [`ComputeError::Aborted`] if it panics, and [`ComputeError::Cache`] if the cache fails or a
    /// setting is invalid.
    ///
    /// # Cancellation
    ///
    /// Dropping the call does not stop its computation, whose value is still stored.
    pub async fn get(&self, key: &str) -> Result<Loaded<T>, ComputeError<E>> {
        let inner = &self.inner;
        inner.check()?;
        let stored_key = inner.cache.stored_key(key);
        let found = inner.cache.shared.backend.get_with_ttl(&stored_key).await;
        // Most calls end here. The value is borrowed from the backend's answer, because moving it
        // would cost time.
        if let Ok(Some((stored, ttl))) = &found
            && marker::is_plain(stored)
            && let Some(age) = inner.fresh_age(*ttl)
        {
            inner.cache.saw(&stored_key, Some(stored));
            inner.cache.count(Event::Hit);
            return inner.loaded(&stored_key, stored, LoadState::Fresh, age);
        }
        match inner.classify(&stored_key, found)? {
            Found::Fresh(stored, age) => inner.loaded(&stored_key, &stored, LoadState::Fresh, age),
            Found::Stale(stored, age) => {
                inner.refresh_behind(key, &stored_key);
                inner.loaded(&stored_key, &stored, LoadState::Stale, age)
            }
            // Boxed, so that the future of a hit does not include the size of a computation.
            Found::Missing => Box::pin(inner.wait_for(key, &stored_key, Why::Missing)).await,
        }
    }

    /// Computes the value of `key` again and stores it, regardless of the stored value. The result
    /// of a computation that began before this call is not stored.
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get), even if a value is stored. The stored value stays.
    pub async fn refresh(&self, key: &str) -> Result<Loaded<T>, ComputeError<E>> {
        let inner = &self.inner;
        inner.check()?;
        let stored_key = inner.cache.stored_key(key);
        inner.outdate(&stored_key).await;
        inner.wait_for(key, &stored_key, Why::Refresh).await
    }

    /// Removes the value of `key` and returns whether it existed. The result of a computation that
    /// began before this call is not stored.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails.
    pub async fn invalidate(&self, key: &str) -> Result<bool, CacheError> {
        self.inner.cache.delete(key).await
    }

    /// Returns the name of the loader.
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

impl<T, E, B, S> Inner<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    fn check(&self) -> Result<(), CacheError> {
        self.checked.map_err(CacheError::invalid)
    }

    #[inline]
    fn loaded(
        &self,
        key: &StoredKey,
        stored: &[u8],
        state: LoadState,
        age: Duration,
    ) -> Result<Loaded<T>, ComputeError<E>> {
        let value = self.cache.decode(key, stored)?;
        Ok(Loaded { value, state, age })
    }

    /// Looks a key up and counts the outcome.
    async fn look_up(&self, key: &StoredKey) -> Result<Found, CacheError> {
        let found = self.cache.shared.backend.get_with_ttl(key).await;
        self.classify(key, found)
    }

    /// Applies the loader's rules to the answer of the backend, and counts the outcome.
    fn classify(
        &self,
        key: &StoredKey,
        found: Result<Option<(Bytes, Ttl)>, codex_traits::Error>,
    ) -> Result<Found, CacheError> {
        let cache = &self.cache;
        let found = match found {
            Ok(found) => self.found(found),
            // Counted as an outage read, and neither as a hit nor as a miss.
            Err(error) => {
                return Ok(match cache.instead_of(key, error.into())? {
                    Some(last) => Found::Stale(last, self.settings.lifetime().unwrap_or_default()),
                    None => Found::Missing,
                });
            }
        };
        match &found {
            Found::Fresh(stored, _) => {
                cache.saw(key, Some(stored));
                cache.count(Event::Hit);
            }
            Found::Stale(stored, _) => {
                cache.saw(key, Some(stored));
                cache.count(Event::StaleHit);
            }
            Found::Missing => cache.count(Event::Miss),
        }
        Ok(found)
    }

    fn found(&self, found: Option<(Bytes, Ttl)>) -> Found {
        let Some((stored, ttl)) = found else {
            return Found::Missing;
        };
        let Some(value) = Stored::read(stored).into_value() else {
            return Found::Missing;
        };
        match (self.fresh_age(ttl), ttl) {
            (None, Ttl::Remaining(remaining)) => Found::Stale(value, self.age(remaining)),
            (age, _) => Found::Fresh(value, age.unwrap_or_default()),
        }
    }

    /// Returns the age of a value with this time to live, if the value is fresh.
    #[inline]
    fn fresh_age(&self, ttl: Ttl) -> Option<Duration> {
        match ttl {
            Ttl::Remaining(remaining) => (remaining > self.settings.stale_for).then(|| self.age(remaining)),
            // A backend never returns `Missing` together with a value.
            Ttl::Persistent | Ttl::Missing => Some(Duration::ZERO),
        }
    }

    #[inline]
    fn age(&self, remaining: Duration) -> Duration {
        let lifetime = self.settings.lifetime().unwrap_or(remaining);
        lifetime.saturating_sub(remaining)
    }
}

impl<T, E, B, S> Clone for Loader<T, E, B, S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            batch: self.batch.clone(),
        }
    }
}

impl<T, E, B: fmt::Debug, S: fmt::Debug> fmt::Debug for Loader<T, E, B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("name", &self.inner.name)
            .field("cache", &self.inner.cache)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
