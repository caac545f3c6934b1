//! Values that are computed when they are missing and refreshed before they end.

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

use super::{Cache, CacheError, ComputeError, Json, Serializer, key::StoredKey, marker::Stored, stats::Event};
use batch::BatchFn;
use builder::Settings;
use flight::{Failed, LoaderFlights};
use run::Why;

/// A value and what the loader knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded<T> {
    /// The value.
    pub value: T,
    /// The origin of the value.
    pub state: LoadState,
    /// The time since it was computed, from its remaining time to live. It is too long by as much
    /// as [`jitter`](LoaderBuilder::jitter) took away, and zero for a value without a time to live.
    pub age: Duration,
}

/// The origin of a loader's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LoadState {
    /// It was stored, and is fresh.
    Fresh,
    /// It was stored, and is being refreshed.
    Stale,
    /// It was computed for this caller, or for another one that asked at the same time.
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
/// A value is stored for `fresh_for + stale_for`. While it has more than `stale_for` left, it is
/// fresh. After that it is stale: it is returned at once, and one refresh begins in the background.
/// When it has ended, callers wait for a computation. Freshness is read off the remaining time to
/// live, so what is stored is the plain value, and other programs read it. A value without a time
/// to live is always fresh.
///
/// # Computations
///
/// A key is computed once per process, however many tasks ask for it, in a task of its own: a
/// caller that is dropped stops nothing. With [`lease`](LoaderBuilder::lease) it is computed once
/// across processes. Clones share everything. A function that asks its own loader for its own key
/// gets an error.
///
/// If the key is deleted or replaced while it is computed, the result is returned to the callers
/// that asked before and is not stored. Without a lease this holds for this cache and its clones,
/// and for values that are refreshed; with a lease it holds whichever program deletes or replaces
/// it.
///
/// # Leases
///
/// A process claims a lease with a write that succeeds only if nothing has changed, and fills it in
/// the same way, so any backend can hold one. While a missing key is computed, `null` is stored,
/// followed by white space that holds a token; while a value is refreshed, its own text is followed
/// by such white space. JSON readers ignore it, and Django reads the former as `None`, a miss.
/// `incr` of another program fails while it is there. The verbs of [`Cache`] never hand it out; in
/// a process whose cache has no loader with a lease, `has_key`, `add` and `touch` count a key that
/// is being computed as there.
///
/// # Runtime
///
/// The calls need a tokio runtime with its timer.
///
/// # Failure
///
/// If a computation fails, all callers that wait for it get its error. If a refresh fails, the
/// stale value is returned, the failure is logged and counted, and the next attempt waits for
/// [`retry_after`](LoaderBuilder::retry_after).
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
    flights: LoaderFlights<E>,
    failed: Failed,
}

/// The state of a key, by the loader's rules.
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
    /// Returns the value of `key`: the stored one if it is fresh or stale, otherwise a computed
    /// one.
    ///
    /// # Errors
    ///
    /// [`ComputeError::Compute`] if there is no value and the function fails,
    /// [`ComputeError::Aborted`] if it panics, and [`ComputeError::Cache`] if the cache fails or a
    /// setting is wrong.
    ///
    /// # Cancellation
    ///
    /// A call that is dropped stops nothing: its computation goes on, and its value is stored.
    pub async fn get(&self, key: &str) -> Result<Loaded<T>, ComputeError<E>> {
        let inner = &self.inner;
        inner.check()?;
        let stored_key = inner.cache.stored_key(key);
        match inner.look_up(&stored_key).await? {
            Found::Fresh(stored, age) => inner.loaded(&stored_key, &stored, LoadState::Fresh, age),
            Found::Stale(stored, age) => {
                inner.refresh_behind(key, &stored_key);
                inner.loaded(&stored_key, &stored, LoadState::Stale, age)
            }
            // Boxed: a hit should not carry the room of a computation.
            Found::Missing => Box::pin(inner.wait_for(key, &stored_key, Why::Missing)).await,
        }
    }

    /// Computes the value of `key` anew and stores it, whatever is stored. A computation that was
    /// begun before this call is not stored.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), also if a value is stored, which stays.
    pub async fn refresh(&self, key: &str) -> Result<Loaded<T>, ComputeError<E>> {
        let inner = &self.inner;
        inner.check()?;
        let stored_key = inner.cache.stored_key(key);
        inner.outdate(&stored_key).await;
        inner.wait_for(key, &stored_key, Why::Refresh).await
    }

    /// Removes the value of `key` and returns whether it was there. A computation that was begun
    /// before is not stored.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails.
    pub async fn invalidate(&self, key: &str) -> Result<bool, CacheError> {
        self.inner.cache.delete(key).await
    }

    /// Returns the name that the loader was given.
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
        let value = self.cache.counted(self.cache.decode(key, stored))?;
        Ok(Loaded { value, state, age })
    }

    /// Looks a key up and counts the outcome.
    #[inline]
    async fn look_up(&self, key: &StoredKey) -> Result<Found, CacheError> {
        let cache = &self.cache;
        let found = match cache.shared.backend.get_with_ttl(key).await {
            Ok(found) => self.found(found),
            Err(error) => match cache.instead_of(key, error.into())? {
                Some(last) => Found::Stale(last, self.settings.lifetime().unwrap_or_default()),
                None => Found::Missing,
            },
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

    #[inline]
    fn found(&self, found: Option<(Bytes, Ttl)>) -> Found {
        let Some((stored, ttl)) = found else {
            return Found::Missing;
        };
        let Some(value) = Stored::read(stored).into_value() else {
            return Found::Missing;
        };
        let remaining = match ttl {
            Ttl::Remaining(remaining) => remaining,
            // `Missing` is not answered beside a value.
            Ttl::Persistent | Ttl::Missing => return Found::Fresh(value, Duration::ZERO),
        };
        let lifetime = self.settings.lifetime().unwrap_or(remaining);
        let age = lifetime.saturating_sub(remaining);
        if remaining > self.settings.stale_for {
            Found::Fresh(value, age)
        } else {
            Found::Stale(value, age)
        }
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
