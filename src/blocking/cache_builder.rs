//! The builder of a cache.

use std::time::Duration;

use super::Cache;
use crate::{AnyBackend, CacheError, Json, KvBackend, Outage, Serializer};

/// The settings of a [`Cache`], the same as those of
/// [`codex_kv::CacheBuilder`](crate::CacheBuilder).
#[derive(Debug)]
#[must_use]
pub struct CacheBuilder<B = AnyBackend, S = Json>(crate::CacheBuilder<B, S>);

macro_rules! settings {
    ($($name:ident($($argument:ident: $type:ty),*), $what:literal;)*) => {$(
        #[doc = concat!("Sets ", $what, "; see [`CacheBuilder::", stringify!($name), "`](crate::CacheBuilder::", stringify!($name), ").")]
        pub fn $name(self, $($argument: $type),*) -> Self {
            Self(self.0.$name($($argument),*))
        }
    )*};
}

impl<B: KvBackend> CacheBuilder<B> {
    pub(super) fn new(builder: crate::CacheBuilder<B>) -> Self {
        Self(builder)
    }
}

impl<B: KvBackend, S: Serializer> CacheBuilder<B, S> {
    settings! {
        key_prefix(key_prefix: impl Into<String>), "the prefix of all stored keys";
        version(version: i64), "the version of the values";
        default_timeout(default_timeout: impl Into<Option<Duration>>), "the duration of `Timeout::Default`";
        name(name: impl Into<String>), "the name of the cache in logs and metrics";
        max_wait(max_wait: Duration), "how long a caller waits for another caller's computation";
        on_outage(outage: Outage), "the result of reads while the backend fails";
        key_function(function: impl Fn(&str, i64, &str) -> String + Send + Sync + 'static), "the function that builds a stored key";
    }

    /// Sets the format of the values; see
    /// [`CacheBuilder::serializer`](crate::CacheBuilder::serializer).
    pub fn serializer<S2: Serializer>(self, serializer: S2) -> CacheBuilder<B, S2> {
        CacheBuilder(self.0.serializer(serializer))
    }

    /// Returns the cache. Sends nothing to the backend.
    ///
    /// # Errors
    ///
    /// The same errors as [`CacheBuilder::build`](crate::CacheBuilder::build).
    pub fn build(self) -> Result<Cache<B, S>, CacheError> {
        self.0.build().map(Cache::from)
    }
}
