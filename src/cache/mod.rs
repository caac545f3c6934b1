//! Typed values on any backend.

mod builder;
mod bytes;
mod clear;
mod compute;
mod counter;
mod error;
mod fills;
mod flights;
mod group;
mod json;
mod key;
mod loader;
mod many;
mod marker;
#[cfg(feature = "metrics")]
mod metrics;
mod outage;
mod serializer;
mod stats;
mod stored;
mod strict;
mod timeout;
mod timer;
mod version;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use codex_traits::{AnyBackend, Expiry, KvBackend, KvBackendExt};
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "encryption")]
pub use crate::formats::Encrypted;
pub use builder::CacheBuilder;
pub use error::{CacheError, ComputeError};
pub use group::Group;
pub use loader::{LoadState, Loaded, Loader, LoaderBuilder};
pub use outage::Outage;
pub use serializer::{Json, Serializer};
pub use stats::CacheStats;
pub use timeout::Timeout;

use fills::Fills;
use flights::Flights;
use group::Scope;
use key::{KeyFunction, StoredKey};
use outage::OutagePolicy;
use stats::Stats;
use timeout::is_over;

#[cfg(feature = "messagepack")]
pub(crate) use json::data_category;
pub(crate) use json::{Depth, MAX_DEPTH, TOO_DEEP};
#[cfg(feature = "blocking")]
pub(crate) use loader::Computing;
pub(crate) use strict::Strict;

/// Typed values on a [`KvBackend`].
///
/// ```
/// use std::time::Duration;
///
/// use codex_kv::{Cache, Timeout, memory::MemoryBackend};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), codex_kv::CacheError> {
/// let cache = Cache::builder(MemoryBackend::new())
///     .key_prefix("shop")
///     .default_timeout(Duration::from_secs(300))
///     .build()?;
///
/// let user = User { name: "Ada".into() };
/// cache.set("user:42", &user, Timeout::Default).await?;
/// assert_eq!(cache.get::<User>("user:42").await?, Some(user));
/// assert_eq!(cache.get::<User>("user:43").await?, None);
/// # Ok(())
/// # }
/// ```
///
/// # Keys
///
/// A value is stored under `{key_prefix}:{version}:{key}`, or under the result of a
/// [`key_function`](CacheBuilder::key_function). Caches with a different prefix or version never
/// see it. A stored key of more than 250 characters, or with control characters or spaces, is used
/// unchanged. Each cache logs one warning about such keys through `tracing`, without the key.
///
/// # Values
///
/// A value is any type that serde can write in the format `S`: strict [`Json`] unless another
/// [`Serializer`] is set. A stored `null` is a hit. A stored value that cannot be read as the
/// requested type is a [`CacheError::Codec`], not a miss, and stays in the store.
///
/// # Errors
///
/// Every verb fails with [`CacheError::Backend`] if the backend fails: an outage is never a miss. A
/// verb that takes a value fails with [`CacheError::Codec`] if the format cannot represent the
/// value. A verb that takes a timeout fails with `Backend` of kind
/// [`InvalidArgument`](codex_traits::ErrorKind::InvalidArgument) if the timeout is longer than the
/// backend supports. In both cases nothing is written.
///
/// # Cancellation
///
/// If the future of a call is dropped, the call may or may not take effect; see the documentation
/// of the backend. Verbs that take several steps document the states that they can leave behind.
///
/// Clones and views ([`with_version`](Self::with_version)) are cheap and share everything with the
/// original.
pub struct Cache<B = AnyBackend, S = Json> {
    shared: Arc<Shared<B, S>>,
    version: i64,
    /// `{key_prefix}:{version}:`, precomputed, so that building a key only joins two strings.
    lead: Arc<str>,
    /// The part of a group's keys between `lead` and the key.
    scope: Option<Scope>,
}

struct Shared<B, S> {
    backend: B,
    serializer: S,
    name: String,
    key_prefix: String,
    default_timeout: Option<Duration>,
    key_function: Option<KeyFunction>,
    /// Whether the key prefix has control characters or spaces.
    odd_prefix: bool,
    /// Whether this cache has already logged its warning about unusual keys.
    warned: AtomicBool,
    /// Whether a loader of this cache uses leases, so that reads can find a placeholder.
    leases: AtomicBool,
    max_wait: Duration,
    outage: Option<OutagePolicy>,
    flights: Flights,
    fills: Arc<Fills>,
    stats: Stats,
}

impl<B: KvBackend> Cache<B> {
    /// Returns the builder of a cache on `backend`.
    pub fn builder(backend: B) -> CacheBuilder<B> {
        CacheBuilder::new(backend)
    }
}

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the value of `key`, or `None` if there is none.
    ///
    /// `T` must own its data, as `String` and `Cow<str>` do: the stored bytes are dropped before
    /// this method returns, so `T` cannot borrow from them (`&str`).
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the stored value is not a `T`. The error names the category
    /// (missing field, wrong type, end of input) and the position.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CacheError> {
        let key = self.stored_key(key);
        let answer = self.shared.backend.get(&key).await;
        if let Some(stored) = self.found_in_place(&answer) {
            return Ok(Some(self.decode(&key, stored)?));
        }
        match self.found(&key, answer)? {
            Some(stored) => Ok(Some(self.decode(&key, &stored)?)),
            None => Ok(None),
        }
    }

    /// Returns the value of `key`, or `default` if there is none. Nothing is stored.
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get).
    pub async fn get_or<T: DeserializeOwned + Send>(&self, key: &str, default: T) -> Result<T, CacheError> {
        Ok(self.get(key).await?.unwrap_or(default))
    }

    /// Stores `value` with the given timeout and replaces any previous value. A timeout of zero
    /// removes the key.
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the cache's format cannot represent the value. The previous value
    /// stays.
    pub async fn set<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<(), CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        let value = self.counted(self.encode(&key, value))?;
        self.counted(self.put(&key, value, expiry).await)
    }

    /// Stores `value` if the key is missing, in one atomic step (SET NX EX), and returns whether it
    /// did. An existing value keeps its content and its time to live.
    ///
    /// With a timeout of zero, it stores and removes nothing and returns `false`.
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the cache's format cannot represent the value.
    pub async fn add<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<bool, CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        let value = self.counted(self.encode(&key, value))?;
        self.counted(self.add_bytes_of(&key, value, expiry).await)
    }

    /// Removes `key` and returns whether it existed.
    ///
    /// # Errors
    ///
    /// Fails if the backend fails.
    pub async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        let key = self.stored_key(key);
        self.counted(self.remove_stored(&key).await)
    }

    /// Returns whether `key` exists. A stored `null` counts. The value is not transferred, unless a
    /// loader of this cache uses a lease.
    ///
    /// # Errors
    ///
    /// Fails if the backend fails.
    pub async fn has_key(&self, key: &str) -> Result<bool, CacheError> {
        let key = self.stored_key(key);
        let there = match self.shared.backend.exists(&key).await {
            // With leases in use, the key can hold a placeholder.
            Ok(true) if self.uses_leases() => self.fetch(&key).await.map(|value| value.is_some()),
            answer => answer.map_err(CacheError::from),
        };
        match there {
            Ok(there) => Ok(there),
            Err(error) => Ok(self.instead_of(&key, error)?.is_some()),
        }
    }

    /// Gives `key` a new timeout and returns whether the key existed. [`Timeout::Never`] removes
    /// the time to live; a timeout of zero removes the key.
    ///
    /// # Errors
    ///
    /// Fails if the backend fails.
    pub async fn touch(&self, key: &str, timeout: impl Into<Timeout> + Send) -> Result<bool, CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        if is_over(expiry) {
            return self.counted(self.remove_by_expiry(&key).await);
        }
        self.counted(self.touch_stored(&key, expiry).await)
    }

    /// Returns the value of `key`. If the key is missing, stores `default` and returns it. If
    /// another writer stores a value first, returns that value.
    ///
    /// With a timeout of zero, `default` is returned and not stored.
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get) and [`add`](Self::add).
    pub async fn get_or_set<T: Serialize + DeserializeOwned + Send + Sync>(
        &self,
        key: &str,
        default: T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<T, CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        if let Some(stored) = self.look_up(&key).await? {
            return self.decode(&key, &stored);
        }
        let value = self.counted(self.encode(&key, &default))?;
        if is_over(expiry) {
            return Ok(default);
        }
        match self.counted(self.add_or_see(&key, value, expiry).await)? {
            Some(stored) => self.decode(&key, &stored),
            None => Ok(default),
        }
    }

    /// Returns the stored key of `key`.
    pub fn make_key(&self, key: &str) -> String {
        match &self.shared.key_function {
            Some(function) => match &self.scope {
                Some(scope) => function(&self.shared.key_prefix, self.version, &scope.join("", key)),
                None => function(&self.shared.key_prefix, self.version, key),
            },
            None => self.stored_key(key).to_string(),
        }
    }

    /// Returns a view of the same cache at another version. A view is cheap and shares everything
    /// except the keys.
    #[must_use]
    pub fn with_version(&self, version: i64) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            version,
            lead: key::lead(&self.shared.key_prefix, version),
            scope: self.scope.clone(),
        }
    }

    /// Returns the counts of this cache and its clones, views, groups and loaders.
    ///
    /// ```
    /// use codex_kv::{Cache, Timeout, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), codex_kv::CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// cache.set("a", &1, Timeout::Default).await?;
    /// cache.get::<i64>("a").await?;
    /// cache.get::<i64>("b").await?;
    /// assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stats(&self) -> CacheStats {
        self.shared.stats.read()
    }

    /// Returns the name of the cache in metrics and logs. The default is the key prefix.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the version that this cache reads and writes. The default is 1.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Returns the prefix of all stored keys.
    pub fn key_prefix(&self) -> &str {
        &self.shared.key_prefix
    }

    /// Returns the duration of [`Timeout::Default`]. `None` means forever.
    pub fn default_timeout(&self) -> Option<Duration> {
        self.shared.default_timeout
    }

    /// Returns the backend, for operations that a cache does not offer.
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    fn expiry(&self, timeout: impl Into<Timeout>) -> Expiry {
        timeout.into().resolve(self.shared.default_timeout)
    }

    #[inline]
    fn stored_key(&self, key: &str) -> StoredKey {
        if self.shared.key_function.is_none() && self.scope.is_none() {
            let stored = StoredKey::join(&self.lead, key);
            self.warn_once(&stored, || self.shared.odd_prefix || key::has_odd_characters(key));
            return stored;
        }
        self.other_stored_key(key)
    }

    /// Returns the stored key in a group, or from a key function.
    fn other_stored_key(&self, key: &str) -> StoredKey {
        let stored = match &self.scope {
            Some(scope) if self.shared.key_function.is_none() => scope.join(&self.lead, key),
            _ => self.make_key(key),
        };
        self.warn_once(&stored, || key::has_odd_characters(&stored));
        StoredKey::Heap(stored)
    }

    /// Warns about the first key that is too long or `is_odd`.
    ///
    /// The caller checks the parts of a key that it joined: reading bytes that were just written
    /// delays a hit in memory.
    #[inline]
    fn warn_once(&self, stored: &str, is_odd: impl FnOnce() -> bool) {
        // The load comes first because an unconditional swap would write to a shared cache line on
        // every call.
        if !self.shared.warned.load(Ordering::Relaxed) && (is_odd() || key::is_too_long(stored)) {
            self.warn(stored);
        }
    }

    #[cold]
    fn warn(&self, stored: &str) {
        if !self.shared.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                key_prefix = self.shared.key_prefix,
                characters = stored.chars().count(),
                "a stored key is longer than 250 characters, or has control characters or spaces; it is used unchanged, but some \
                 cache servers would refuse it (further keys are not reported)"
            );
        }
    }
}

// Implemented by hand because `derive` would require `B: Clone` and `S: Clone`.
impl<B, S> Clone for Cache<B, S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            version: self.version,
            lead: Arc::clone(&self.lead),
            scope: self.scope.clone(),
        }
    }
}

impl<B: fmt::Debug, S: fmt::Debug> fmt::Debug for Cache<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("key_prefix", &self.shared.key_prefix)
            .field("version", &self.version)
            .field("default_timeout", &self.shared.default_timeout)
            .field("serializer", &self.shared.serializer)
            .field("backend", &self.shared.backend)
            .finish_non_exhaustive()
    }
}
