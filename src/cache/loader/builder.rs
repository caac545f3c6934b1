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

use super::{
    Inner, Loader,
    flight::{Failed, LoaderFlights},
};
use crate::{Json, Serializer, cache::Cache};

/// The wait before a failed refresh is tried again, unless set.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The settings of a [`Loader`], each with its default.
#[must_use]
pub struct LoaderBuilder<B = codex_traits::AnyBackend, S = Json> {
    cache: Cache<B, S>,
    name: String,
    settings: Settings,
}

/// Checked when a loader is built, and told by its first call.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `None`: for ever.
    pub(super) fresh_for: Option<Duration>,
    pub(super) stale_for: Duration,
    pub(super) lease: Option<Duration>,
    pub(super) jitter: f64,
    pub(super) max_wait: Duration,
    pub(super) retry_after: Duration,
}

impl Settings {
    /// Returns the time from a fill to the end of the value, without jitter.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.fresh_for.map(|fresh_for| fresh_for.saturating_add(self.stale_for))
    }

    fn check(&self) -> Result<(), &'static str> {
        let holds = |duration: Duration| duration.is_zero() || Expiry::After(duration).to_millis("loader").is_ok();
        if !self.lifetime().is_none_or(holds) {
            return Err("`fresh_for` and `stale_for` are together longer than a store can hold");
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
    /// Begins a loader: a function that computes missing values, with rules for when they are
    /// fresh.
    ///
    /// `name` is used in logs and spans. It is not part of a key: a loader reads and writes the
    /// keys of this cache, so that [`get`](Self::get) and [`delete`](Self::delete) work on its
    /// values. Loaders of one cache need distinct keys.
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
    /// Sets how long a computed value is fresh; the cache's default timeout unless set. `None` is
    /// for ever.
    pub fn fresh_for(mut self, fresh_for: impl Into<Option<Duration>>) -> Self {
        self.settings.fresh_for = fresh_for.into();
        self
    }

    /// Sets how long a value is answered after it was fresh, while it is refreshed in the
    /// background; zero unless set.
    pub fn stale_for(mut self, stale_for: Duration) -> Self {
        self.settings.stale_for = stale_for;
        self
    }

    /// Lets one process at a time compute a key, for at most `lease`; off unless set.
    ///
    /// Turn it on if a computation is expensive and several processes ask for the same keys. It
    /// costs one more round trip per computation, two for a refresh. Set it longer than a
    /// computation takes: a process that dies delays the others by at most `lease`, and a
    /// computation that takes longer is not stored.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = Some(lease);
        self
    }

    /// Shortens the freshness of each value by a random part of up to this fraction, so that values
    /// that are stored together are not refreshed together; 0.0 unless set, at most 1.0.
    pub fn jitter(mut self, jitter: f64) -> Self {
        self.settings.jitter = jitter;
        self
    }

    /// Sets how long a caller waits for a computation that was begun for another caller before a
    /// new one is begun; the cache's [`max_wait`](crate::CacheBuilder::max_wait) unless set.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.settings.max_wait = max_wait;
        self
    }

    /// Sets how long stale values are answered after a failed refresh before the next attempt; 5 s
    /// unless set.
    pub fn retry_after(mut self, retry_after: Duration) -> Self {
        self.settings.retry_after = retry_after;
        self
    }

    /// Returns the loader. `load` is called with a key and computes its value.
    ///
    /// A setting that cannot work is reported by the first call of the loader.
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
                flights: LoaderFlights::default(),
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
