//! The settings of a cache.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use codex_traits::{Expiry, KvBackend};

use super::{
    Cache, CacheError, Json, Serializer, Shared,
    compute::Flights,
    key::{self, KeyFunction},
};

/// The settings of a [`Cache`], each with its default.
#[must_use]
pub struct CacheBuilder<B, S = Json> {
    backend: B,
    serializer: S,
    key_prefix: String,
    version: i64,
    default_timeout: Option<Duration>,
    key_function: Option<KeyFunction>,
}

impl<B: KvBackend> CacheBuilder<B> {
    pub(super) fn new(backend: B) -> Self {
        Self {
            backend,
            serializer: Json,
            key_prefix: String::new(),
            version: 1,
            default_timeout: Some(Duration::from_secs(300)),
            key_function: None,
        }
    }
}

impl<B: KvBackend, S: Serializer> CacheBuilder<B, S> {
    /// What all stored keys begin with; nothing in it is special. The default is the empty text, with which
    /// [`clear`](Cache::clear) refuses to work.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// The version of the values, a part of every stored key; 1 unless set. To raise it is to start afresh.
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// What [`Timeout::Default`](crate::Timeout::Default) stands for: 300 s unless set. `None` is for ever; zero stores nothing.
    pub fn default_timeout(mut self, default_timeout: impl Into<Option<Duration>>) -> Self {
        self.default_timeout = default_timeout.into();
        self
    }

    /// How a stored key is made of the key prefix, the version and the key, instead of `{key_prefix}:{version}:{key}`.
    ///
    /// Two keys for which it gives the same text are one. [`clear`](Cache::clear) works where its keys still begin with
    /// `{key_prefix}:{version}:`, and refuses otherwise.
    ///
    /// ```
    /// use codex_kv::{Cache, memory::MemoryBackend};
    ///
    /// # fn main() -> Result<(), codex_kv::CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new())
    ///     .key_prefix("shop")
    ///     .key_function(|prefix, version, key| format!("{prefix}:{version}:{}", key.to_lowercase()))
    ///     .build()?;
    /// assert_eq!(cache.make_key("User"), "shop:1:user");
    /// # Ok(())
    /// # }
    /// ```
    pub fn key_function(mut self, function: impl Fn(&str, i64, &str) -> String + Send + Sync + 'static) -> Self {
        self.key_function = Some(Arc::new(function));
        self
    }

    /// The format of the values, instead of [`Json`].
    pub fn serializer<S2: Serializer>(self, serializer: S2) -> CacheBuilder<B, S2> {
        CacheBuilder {
            backend: self.backend,
            serializer,
            key_prefix: self.key_prefix,
            version: self.version,
            default_timeout: self.default_timeout,
            key_function: self.key_function,
        }
    }

    /// The cache. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] for a default timeout that no backend can hold.
    pub fn build(self) -> Result<Cache<B, S>, CacheError> {
        // Zero is a setting (nothing is stored), so only the other end is looked at.
        if let Some(timeout) = self.default_timeout.filter(|timeout| !timeout.is_zero())
            && Expiry::After(timeout).to_millis("build").is_err()
        {
            return Err(CacheError::invalid(
                "the default timeout is too long: its milliseconds must fit a signed 64-bit integer; `None` is for ever",
            ));
        }
        Ok(Cache {
            version: self.version,
            lead: key::lead(&self.key_prefix, self.version),
            shared: Arc::new(Shared {
                backend: self.backend,
                serializer: self.serializer,
                key_prefix: self.key_prefix,
                default_timeout: self.default_timeout,
                key_function: self.key_function,
                warned: AtomicBool::new(false),
                flights: Flights::default(),
            }),
        })
    }
}

impl<B: fmt::Debug, S: fmt::Debug> fmt::Debug for CacheBuilder<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("backend", &self.backend)
            .field("serializer", &self.serializer)
            .field("key_prefix", &self.key_prefix)
            .field("version", &self.version)
            .field("default_timeout", &self.default_timeout)
            .field("key_function", &self.key_function.as_ref().map(|_| "custom"))
            .finish()
    }
}
