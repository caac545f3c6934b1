//! The settings of a loader.

use std::{
    fmt,
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use codex_traits::{Expiry, KvBackend};
use futures_util::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};

use super::{Inner, Loader, flight::Failed};
use crate::{Json, Serializer, cache::Cache};

/// The default delay before a failed refresh is retried.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The settings of a [`Loader`], each with its default.
#[must_use]
pub struct LoaderBuilder<B = codex_traits::AnyBackend, S = Json> {
    cache: Cache<B, S>,
    name: String,
    settings: Settings,
}

/// The settings, checked when a loader is built. Its calls report an invalid setting.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `None` means forever.
    pub(super) fresh_for: Option<Duration>,
    pub(super) stale_for: Duration,
    pub(super) lease: Option<Duration>,
    pub(super) jitter: f64,
    pub(super) max_wait: Duration,
    pub(super) retry_after: Duration,
}

impl Settings {
    /// Returns the time from a fill to the expiry of the value, without jitter.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.fresh_for.map(|fresh_for| fresh_for.saturating_add(self.stale_for))
    }

    fn check(&self) -> Result<(), &'static str> {
        let holds = |duration: Duration| duration.is_zero() || Expiry::After(duration).to_millis("loader").is_ok();
        if !self.lifetime().is_none_or(holds) {
            return Err("`fresh_for` plus `stale_for` is longer than a store can hold");
        }
        if self.lease.is_some_and(|lease| lease.is_zero() || !holds(lease)) {
            return Err("expected a lease of at least one millisecond and at most what a store can hold");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Err("expected a jitter from 0.0 to 1.0");
        }
        Ok(())
    }
}

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the builder of a loader: a function that computes missing values, with freshness
    /// rules.
    ///
    /// `name` is used in logs and spans. It is not part of any key: a loader reads and writes the
    /// keys of this cache, so [`get`](Self::get) and [`delete`](Self::delete) work on its values.
    /// Loaders of one cache must use distinct keys.
    ///
    /// See [`Loader`].
    pub fn loader(&self, name: impl Into<String>) -> LoaderBuilder<B, S> {
        LoaderBuilder {
            cache: self.clone(),
            name: name.into(),
            settings: Settings {
                fresh_for: self.default_timeout(),
                stale_for: Duration::ZERO,
                lease: None,
                jitter: 0.0,
                max_wait: self.shared.max_wait,
                retry_after: RETRY_AFTER,
            },
        }
    }
}

impl<B: KvBackend, S: Serializer> LoaderBuilder<B, S> {
    /// Sets how long a computed value is fresh. The default is the cache's default timeout. `None`
    /// means forever.
    pub fn fresh_for(mut self, fresh_for: impl Into<Option<Duration>>) -> Self {
        self.settings.fresh_for = fresh_for.into();
        self
    }

    /// Sets how long a value is still returned after it is no longer fresh, while it is refreshed
    /// in the background. The default is zero.
    pub fn stale_for(mut self, stale_for: Duration) -> Self {
        self.settings.stale_for = stale_for;
        self
    }

    /// Allows only one process at a time to compute a key, for at most `lease`. There is no lease
    /// by default.
    ///
    /// Use a lease if a computation is expensive and several processes request the same keys. It
    /// costs one more round trip per computation and two more per refresh. Choose a lease longer
    /// than any computation takes: a process that dies delays the others by at most `lease`, but
    /// the result of a computation that takes longer than `lease` is not stored.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = Some(lease);
        self
    }

    /// Shortens the freshness of each value by a random amount up to this fraction, so that values
    /// stored together are not refreshed together. The default is 0.0, and the maximum is 1.0.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.settings.jitter = jitter;
        self
    }

    /// Sets how long a caller waits for another caller's computation before it begins a new
    /// computation. If another caller has begun that computation first, it waits for it for as long
    /// again. The default is the cache's [`max_wait`](crate::CacheBuilder::max_wait).
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.settings.max_wait = max_wait;
        self
    }

    /// Sets how long stale values are returned after a failed refresh before the next attempt. The
    /// default is 5 s.
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.settings.retry_after = retry_after;
        self
    }

    /// Returns the loader, which calls `load` with a key to compute the key's value.
    ///
    /// If a setting is invalid, every `get`, `get_many` and `refresh` of the loader fails.
    pub fn load<T, E, F, Fut>(self, load: F) -> Loader<T, E, B, S>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        if self.settings.lease.is_some() {
            self.cache.shared.leases.store(true, Ordering::Relaxed);
        }
        Loader {
            inner: Arc::new(Inner {
                checked: self.settings.check(),
                cache: self.cache,
                name: self.name,
                settings: self.settings,
                load: Box::new(move |key| load(key).boxed()),
                flights: Arc::default(),
                failed: Failed::default(),
            }),
            batch: None,
        }
    }
}

impl<B: fmt::Debug, S: fmt::Debug> fmt::Debug for LoaderBuilder<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoaderBuilder")
            .field("cache", &self.cache)
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish()
    }
}
