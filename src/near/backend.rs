//! The public interface of the near cache.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use codex_traits::{
    AnyBackend, Capabilities, Capability, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Tracking, Ttl,
};

use super::{
    builder::NearBuilder,
    state::{NotKept, State},
    stats::NearStats,
};

/// A backend that caches reads in process memory while the store reports changes to the cached
/// keys.
///
/// A clone is another handle to the same cache. A cached answer needs no round trip. Everything
/// else goes to the store. `docs/contract/near.md` in the repository states the guarantees, and
/// `docs/near-cache.md` explains which data benefits.
///
/// ```no_run
/// use std::time::Duration;
///
/// use codex_kv::{KvBackend, near::NearBackend, redis::RedisBackend};
///
/// # async fn example() -> codex_kv::Result<()> {
/// let redis = RedisBackend::connect("redis://localhost/0").await?;
/// let near = NearBackend::builder(redis)
///     .max_bytes(64 << 20)
///     .max_staleness(Duration::from_secs(1))
///     .build()
///     .await?;
/// near.get("greeting").await?; // asks Redis
/// near.get("greeting").await?; // does not
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
///
/// The same as for the inner backend. After a write whose future was dropped, no answer for its
/// keys is kept for `max_staleness`.
pub struct NearBackend<R: Tracking>(Arc<Inner<R>>);

pub(super) struct Inner<R: Tracking> {
    pub(super) backend: R,
    pub(super) feed: R::Feed,
    pub(super) state: Arc<State>,
    #[cfg(feature = "metrics")]
    pub(super) metrics: super::metrics::Metrics,
}

impl<R: Tracking> NearBackend<R> {
    /// Returns a builder of a near cache on `backend`.
    pub fn builder(backend: R) -> NearBuilder<R> {
        NearBuilder::new(backend)
    }

    pub(super) fn of(inner: Inner<R>) -> Self {
        Self(Arc::new(inner))
    }

    /// Returns the inner backend. The near cache learns of writes through the inner backend from
    /// the store's reports, as it does for writes of other processes.
    pub fn inner(&self) -> &R {
        &self.0.backend
    }

    /// Returns the counts of this near cache since it was built.
    pub fn stats(&self) -> NearStats {
        self.0.state.stats()
    }
}

impl<R: Tracking> Clone for NearBackend<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Tracking> fmt::Debug for NearBackend<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NearBackend")
            .field("backend", &self.0.backend)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<R: Tracking> From<NearBackend<R>> for AnyBackend {
    fn from(backend: NearBackend<R>) -> Self {
        Self::new(backend)
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a provided verb would not drop what it touches in one step"
)]
impl<R: Tracking> KvBackend for NearBackend<R> {
    /// Returns the capabilities of the inner backend except `AtomicMany`: some values of a
    /// `get_many` may come from memory, so the result is not a snapshot.
    fn capabilities(&self) -> Capabilities {
        self.0.backend.capabilities().without(Capability::AtomicMany)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.0.state.find(key) {
            Ok(hit) => {
                if let Some(node) = hit.renew {
                    self.0.renew(node, key);
                }
                Ok(hit.value)
            }
            // Boxed, because it would enlarge the future of a hit.
            Err(NotKept::Nothing) => Box::pin(self.0.fetch(key)).await,
            Err(NotKept::Large) => {
                let read = self.0.backend.get(key);
                let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
                Box::pin(self.0.fetch_large(key, read, length)).await
            }
        }
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        match self.0.state.find(key) {
            Ok(hit) => {
                if let Some(node) = hit.renew {
                    self.0.renew(node, key);
                }
                Ok(hit.value.map(|value| (value, self.0.left(hit.deadline))))
            }
            Err(NotKept::Nothing) => Box::pin(self.0.fetch_with_ttl(key)).await,
            Err(NotKept::Large) => {
                let read = self.0.backend.get_with_ttl(key);
                let length = |found: &Option<(Bytes, Ttl)>| found.as_ref().map_or(0, |(value, _)| value.len());
                Box::pin(self.0.fetch_large(key, read, length)).await
            }
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        Box::pin(self.0.get_many(keys)).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.0.state.bypass(key, Box::pin(self.0.backend.ttl(key))).await
    }

    // The backend's futures are boxed, here and below, because moving them through two wrappers
    // would take several times their size on the stack.
    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let write = Box::pin(self.0.backend.set(key, value, options));
        self.0.state.write(&[key], write).await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let write = Box::pin(self.0.backend.set_many(entries, expiry));
        self.0.state.write(&keys, write).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.0.state.write(keys, Box::pin(self.0.backend.del(keys))).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let write = Box::pin(self.0.backend.del_if_equals(key, expected));
        self.0.state.write(&[key], write).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let write = Box::pin(self.0.backend.expire(key, expiry));
        self.0.state.write(&[key], write).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let write = Box::pin(self.0.backend.incr(key, delta, on_missing));
        self.0.state.write(&[key], write).await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.0.state.sweep(Box::pin(self.0.backend.del_matching(pattern))).await
    }

    /// Drops the keys of the page from memory, because a read after the scan must not report one of
    /// them as missing.
    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let page = Box::pin(self.0.backend.scan(request)).await?;
        for key in &page.keys {
            self.0.state.drop_key(key);
        }
        Ok(page)
    }

    async fn health(&self) -> Result<()> {
        self.0.backend.health().await
    }
}
