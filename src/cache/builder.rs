//! The settings of a cache.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use codex_traits::{Expiry, KvBackend};

use super::{
    Cache, CacheError, Json, Outage, Serializer, Shared,
    fills::Fills,
    flights::Flights,
    key::{self, KeyFunction},
    outage::OutagePolicy,
    stats::Stats,
};

/// The default maximum wait for another caller's computation.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(10);

/// The settings of a [`Cache`], each with its default.
#[must_use]
pub struct CacheBuilder<B, S = Json> {
    backend: B,
    serializer: S,
    name: Option<String>,
    key_prefix: String,
    version: i64,
    default_timeout: Option<Duration>,
    key_function: Option<KeyFunction>,
    max_wait: Duration,
    outage: Option<Outage>,
}

impl<B: KvBackend> CacheBuilder<B> {
    pub(super) fn new(backend: B) -> Self {
        Self {
            backend,
            serializer: Json,
            name: None,
            key_prefix: String::new(),
            version: 1,
            default_timeout: Some(Duration::from_secs(300)),
            key_function: None,
            max_wait: MAX_WAIT,
            outage: None,
        }
    }
}

impl<B: KvBackend, S: Serializer> CacheBuilder<B, S> {
    /// Sets the prefix of all stored keys. It may contain any characters. The default is the empty
    /// string, with which [`clear`](Cache::clear) fails.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// Sets the version of the values, which is part of every stored key. The default is 1. A
    /// higher version starts with an empty cache.
    pub fn version(mut self, version: i64) -> Self {
        self.version = version;
        self
    }

    /// Sets the duration of [`Timeout::Default`](crate::Timeout::Default). The default is 300 s.
    /// `None` means forever; zero stores nothing.
    pub fn default_timeout(mut self, default_timeout: impl Into<Option<Duration>>) -> Self {
        self.default_timeout = default_timeout.into();
        self
    }

    /// Sets the function that builds a stored key from the key prefix, the version and the key. The
    /// default is `{key_prefix}:{version}:{key}`.
    ///
    /// Two keys with the same result are the same key. [`clear`](Cache::clear) fails unless the
    /// results begin with `{key_prefix}:{version}:`.
    ///
    /// ```
    /// use codex_kv::{Cache, memory::MemoryBackend};
    ///
    /// # fn main() -> Result<(), codex_kv::CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new())
    ///     .key_prefix("shop")
    ///     .key_function(|prefix, version, key| {
    ///         format!("{prefix}:{version}:{}", key.to_lowercase())
    ///     })
    ///     .build()?;
    /// assert_eq!(cache.make_key("User"), "shop:1:user");
    /// # Ok(())
    /// # }
    /// ```
    pub fn key_function(mut self, function: impl Fn(&str, i64, &str) -> String + Send + Sync + 'static) -> Self {
        self.key_function = Some(Arc::new(function));
        self
    }

    /// Sets the name of the cache in metrics and logs. The default is the key prefix.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets how long a caller waits for another caller's computation of the same value before it
    /// computes the value itself. The default is 10 s.
    ///
    /// The other caller may be alive but no longer polled, for example in a stream that waits for
    /// this caller. The same limit applies to a verb that deletes or replaces a value while a
    /// computed value is being stored.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Sets the result of reads while the backend fails or cannot be reached, instead of its error.
    ///
    /// By default, such reads return the error. The setting applies to `get`, `get_or`, `get_many`,
    /// `get_bytes`, `has_key`, and the reads of loaders and of `get_or_try_set_with`, which then
    /// returns a computed value even if it cannot be stored. Each such result is logged through
    /// `tracing` and counted in [`CacheStats::outage_reads`](crate::CacheStats::outage_reads).
    ///
    /// Writes always need the backend: `set`, `add`, `delete`, `incr`, leases and sessions fail
    /// with its error, and so does `get_or_set` unless [`Outage::Stale`] has a value for the key.
    ///
    /// ```
    /// use codex_kv::{Cache, Outage, memory::MemoryBackend};
    ///
    /// # fn main() -> Result<(), codex_kv::CacheError> {
    /// let builder = Cache::builder(MemoryBackend::new()).key_prefix("shop");
    /// let cache = builder.on_outage(Outage::Miss).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_outage(mut self, outage: Outage) -> Self {
        self.outage = Some(outage);
        self
    }

    /// Sets the format of the values, instead of [`Json`].
    pub fn serializer<S2: Serializer>(self, serializer: S2) -> CacheBuilder<B, S2> {
        CacheBuilder {
            backend: self.backend,
            serializer,
            name: self.name,
            key_prefix: self.key_prefix,
            version: self.version,
            default_timeout: self.default_timeout,
            key_function: self.key_function,
            max_wait: self.max_wait,
            outage: self.outage,
        }
    }

    /// Returns the cache. Sends nothing to the backend.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] for a default timeout that no backend can hold.
    pub fn build(self) -> Result<Cache<B, S>, CacheError> {
        // Zero is valid and stores nothing, so only the upper bound is checked.
        if let Some(timeout) = self.default_timeout.filter(|timeout| !timeout.is_zero())
            && Expiry::After(timeout).to_millis("build").is_err()
        {
            return Err(CacheError::invalid(
                "the default timeout is too long: its milliseconds must fit a signed 64-bit integer; `None` means forever",
            ));
        }
        let name = self.name.unwrap_or_else(|| self.key_prefix.clone());
        Ok(Cache {
            version: self.version,
            lead: key::lead(&self.key_prefix, self.version),
            scope: None,
            shared: Arc::new(Shared {
                backend: self.backend,
                serializer: self.serializer,
                stats: Stats::new(&name),
                name,
                odd_prefix: key::has_odd_characters(&self.key_prefix),
                key_prefix: self.key_prefix,
                default_timeout: self.default_timeout,
                key_function: self.key_function,
                warned: AtomicBool::new(false),
                leases: AtomicBool::new(false),
                max_wait: self.max_wait,
                outage: self.outage.map(OutagePolicy::new),
                flights: Flights::default(),
                fills: Arc::new(Fills::default()),
            }),
        })
    }
}

impl<B: fmt::Debug, S: fmt::Debug> fmt::Debug for CacheBuilder<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("backend", &self.backend)
            .field("serializer", &self.serializer)
            .field("name", &self.name)
            .field("key_prefix", &self.key_prefix)
            .field("version", &self.version)
            .field("default_timeout", &self.default_timeout)
            .field("key_function", &self.key_function.as_ref().map(|_| "custom"))
            .field("max_wait", &self.max_wait)
            .field("outage", &self.outage)
            .finish()
    }
}
