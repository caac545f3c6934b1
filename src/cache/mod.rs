//! Typed values on any backend.

mod builder;
mod clear;
mod compute;
mod counter;
mod error;
mod json;
mod key;
mod many;
mod serializer;
mod strict;
mod timeout;
mod version;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{AnyBackend, Expiry, KvBackend, KvBackendExt, SetOptions};
use serde::{Serialize, de::DeserializeOwned};

#[cfg(feature = "encryption")]
pub use crate::formats::Encrypted;
pub use builder::CacheBuilder;
pub use error::{CacheError, ComputeError};
pub use serializer::{Json, Serializer};
pub use timeout::Timeout;

use compute::Flights;
use key::{KeyFunction, StoredKey};
use timeout::is_over;

#[cfg(feature = "messagepack")]
pub(crate) use json::data_category;
pub(crate) use json::{Depth, TOO_DEEP};
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
/// A value is stored under `{key_prefix}:{version}:{key}`, or what a
/// [`key_function`](CacheBuilder::key_function) makes of the three. Caches with other prefixes or versions never see it. A stored key of
/// more than 250 characters, or with control characters or spaces, is used as it is; the first one of a cache is warned about through
/// `tracing`, without the key.
///
/// # Values
///
/// Whatever serde can write, in the format `S`: strict [`Json`] unless another [`Serializer`] is given. A stored `null` is a hit. A stored
/// value that cannot be read as the type asked for is a [`CacheError::Codec`]; it is no miss, and it stays.
///
/// # Errors
///
/// Every verb fails with [`CacheError::Backend`] where the backend does: an outage is never a miss. Every verb that takes a value fails with
/// [`CacheError::Codec`] where the value has no form in the format, and every one that takes a timeout with `Backend` of
/// kind [`InvalidArgument`](codex_traits::ErrorKind::InvalidArgument) where it is too long to be held; nothing is written then.
///
/// # Cancellation
///
/// A call whose future is dropped has been applied or not, as the backend says of its own calls. The verbs of more than one step say
/// what can be left half done.
///
/// A clone, and a view [`with_version`](Self::with_version), is cheap and shares everything with the original.
pub struct Cache<B = AnyBackend, S = Json> {
    shared: Arc<Shared<B, S>>,
    version: i64,
    /// `{key_prefix}:{version}:`, so that a key is put together from two pieces only.
    lead: Arc<str>,
}

struct Shared<B, S> {
    backend: B,
    serializer: S,
    key_prefix: String,
    default_timeout: Option<Duration>,
    key_function: Option<KeyFunction>,
    /// Whether an odd key was warned about.
    warned: AtomicBool,
    flights: Flights,
}

impl<B: KvBackend> Cache<B> {
    /// A cache on `backend`: see the builder for its settings.
    pub fn builder(backend: B) -> CacheBuilder<B> {
        CacheBuilder::new(backend)
    }
}

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the value of `key`, or `None` if there is none.
    ///
    /// `T` is an owned type, or one that serde can own, such as `Cow<str>`: the stored bytes are dropped
    /// before this returns, so `T` cannot borrow from them (`&str`).
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the stored value is not a `T`. It names the category (missing field,
    /// wrong type, end of input) and the place.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CacheError> {
        let key = self.stored_key(key);
        match self.fetch(&key).await? {
            Some(stored) => Ok(Some(self.decode(&key, &stored)?)),
            None => Ok(None),
        }
    }

    /// The value of `key`, or `default` where there is none. Nothing is stored.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn get_or<T: DeserializeOwned + Send>(&self, key: &str, default: T) -> Result<T, CacheError> {
        Ok(self.get(key).await?.unwrap_or(default))
    }

    /// Stores `value`, whatever was there, and gives it the timeout. With a timeout of zero, removes what is there.
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] where the value has no form in the cache's format; what was there stays.
    pub async fn set<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<(), CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        let value = self.encode(&key, value)?;
        if is_over(expiry) {
            self.shared.backend.del(&[&key]).await?;
        } else {
            // Unconditional, so there is no refusal to look at.
            let _ = self
                .shared
                .backend
                .set(&key, value, SetOptions::new().with_expiry(expiry))
                .await?;
        }
        Ok(())
    }

    /// Stores `value` where nothing is stored, in one atomic step (SET NX EX), and tells whether it did. What is there keeps its value
    /// and its time to live.
    ///
    /// With a timeout of zero nothing is stored or removed; the answer is still whether the key was free.
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] where the value has no form in the cache's format.
    pub async fn add<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<bool, CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        let value = self.encode(&key, value)?;
        self.add_stored(&key, value, expiry).await
    }

    /// Removes `key` and tells whether it was there.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    pub async fn delete(&self, key: &str) -> Result<bool, CacheError> {
        Ok(self.shared.backend.del(&[&self.stored_key(key)]).await? > 0)
    }

    /// Whether `key` is there, a stored `null` included. The value is neither sent nor read.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    pub async fn has_key(&self, key: &str) -> Result<bool, CacheError> {
        Ok(self.shared.backend.exists(&self.stored_key(key)).await?)
    }

    /// Gives `key` a new timeout and tells whether it is there. [`Timeout::Never`] takes its time to live away; zero removes it, and
    /// the answer is whether it was there.
    ///
    /// # Errors
    ///
    /// Where the backend fails.
    pub async fn touch(&self, key: &str, timeout: impl Into<Timeout> + Send) -> Result<bool, CacheError> {
        let expiry = self.expiry(timeout);
        Ok(self.shared.backend.expire(&self.stored_key(key), expiry).await?)
    }

    /// The value of `key`; where there is none, stores `default` and returns it. Where another writer is faster, the value that it
    /// stored is returned.
    ///
    /// With a timeout of zero `default` is returned and not stored.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`add`](Self::add).
    pub async fn get_or_set<T: Serialize + DeserializeOwned + Send + Sync>(
        &self,
        key: &str,
        default: T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<T, CacheError> {
        let expiry = self.expiry(timeout);
        let key = self.stored_key(key);
        loop {
            if let Some(stored) = self.fetch(&key).await? {
                return self.decode(&key, &stored);
            }
            let value = self.encode(&key, &default)?;
            if is_over(expiry) || self.add_stored(&key, value, expiry).await? {
                return Ok(default);
            }
        }
    }

    /// The stored key of `key`.
    pub fn make_key(&self, key: &str) -> String {
        match &self.shared.key_function {
            Some(function) => function(&self.shared.key_prefix, self.version, key),
            None => [&self.lead, key].concat(),
        }
    }

    /// The same cache at another version: a cheap view that shares everything but the keys.
    #[must_use]
    pub fn with_version(&self, version: i64) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            version,
            lead: key::lead(&self.shared.key_prefix, version),
        }
    }

    /// The version that this cache reads and writes; 1 unless set.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// What all stored keys begin with.
    pub fn key_prefix(&self) -> &str {
        &self.shared.key_prefix
    }

    /// What [`Timeout::Default`] stands for; `None` is for ever.
    pub fn default_timeout(&self) -> Option<Duration> {
        self.shared.default_timeout
    }

    /// The backend, for what a cache has no verb for.
    pub fn backend(&self) -> &B {
        &self.shared.backend
    }

    fn expiry(&self, timeout: impl Into<Timeout>) -> Expiry {
        timeout.into().resolve(self.shared.default_timeout)
    }

    #[inline]
    fn encode<T: Serialize + ?Sized>(&self, key: &StoredKey, value: &T) -> Result<Bytes, CacheError> {
        Ok(self.shared.serializer.serialize_for(key, value)?)
    }

    #[inline]
    fn decode<T: DeserializeOwned>(&self, key: &StoredKey, stored: &[u8]) -> Result<T, CacheError> {
        Ok(self.shared.serializer.deserialize_for(key, stored)?)
    }

    async fn fetch(&self, key: &StoredKey) -> Result<Option<Bytes>, CacheError> {
        Ok(self.shared.backend.get(key).await?)
    }

    async fn add_stored(&self, key: &StoredKey, value: Bytes, expiry: Expiry) -> Result<bool, CacheError> {
        if is_over(expiry) {
            return Ok(!self.shared.backend.exists(key).await?);
        }
        let options = SetOptions::if_absent().with_expiry(expiry);
        Ok(self.shared.backend.set(key, value, options).await?.is_written())
    }

    fn stored_key(&self, key: &str) -> StoredKey {
        let key = match &self.shared.key_function {
            Some(_) => StoredKey::Heap(self.make_key(key)),
            None => StoredKey::join(&self.lead, key),
        };
        self.warn_once(&key);
        key
    }

    fn warn_once(&self, key: &str) {
        let warned = &self.shared.warned;
        // Loaded first: a swap alone would have every call write to one shared cache line.
        if !warned.load(Ordering::Relaxed) && key::is_odd(key) && !warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                key_prefix = self.shared.key_prefix,
                characters = key.chars().count(),
                "a stored key is longer than 250 characters, or has control characters or spaces; it is used as it is, but some \
                 cache servers would refuse it (further ones are not reported)"
            );
        }
    }
}

// By hand: a derived one would ask for `B: Clone` and `S: Clone`.
impl<B, S> Clone for Cache<B, S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            version: self.version,
            lead: Arc::clone(&self.lead),
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
