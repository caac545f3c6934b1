//! A backend with an erased type.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Capabilities, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
};

/// A backend whose type is erased, for a service that chooses its backend at run time.
///
/// A call costs one allocation and one indirect call more than a call on the backend itself. A
/// clone is another handle to the same store.
///
/// ```
/// # use codex_traits::*;
/// fn choose<B: KvBackend>(backend: B) -> AnyBackend {
///     AnyBackend::new(backend)
/// }
/// ```
///
/// The backends of codex-kv convert with [`From`]. Any other backend converts from an [`Arc`]. A
/// blanket `From<B>` would conflict with the standard library's `From<T> for T`, because
/// `AnyBackend` is itself a backend.
#[derive(Clone)]
pub struct AnyBackend(Arc<dyn Erased>);

impl AnyBackend {
    /// Erases the type of `backend`.
    pub fn new(backend: impl KvBackend) -> Self {
        Self(Arc::new(backend))
    }
}

impl<B: KvBackend> From<Arc<B>> for AnyBackend {
    fn from(backend: Arc<B>) -> Self {
        Self(backend)
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnyBackend").field(&self.0).finish()
    }
}

/// The dyn-compatible form of [`KvBackend`]. Its methods have different names, so that a call on a
/// type that implements both traits is never ambiguous.
#[async_trait]
trait Erased: fmt::Debug + Send + Sync {
    fn erased_capabilities(&self) -> Capabilities;
    async fn erased_get(&self, key: &str) -> Result<Option<Bytes>>;
    async fn erased_set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome>;
    async fn erased_del(&self, keys: &[&str]) -> Result<u64>;
    async fn erased_del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool>;
    async fn erased_expire(&self, key: &str, expiry: Expiry) -> Result<bool>;
    async fn erased_ttl(&self, key: &str) -> Result<Ttl>;
    async fn erased_scan(&self, request: ScanRequest<'_>) -> Result<ScanPage>;
    async fn erased_get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>>;
    async fn erased_set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()>;
    async fn erased_incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>>;
    async fn erased_del_matching(&self, pattern: &Pattern) -> Result<u64>;
    async fn erased_get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>>;
    async fn erased_health(&self) -> Result<()>;
}

#[async_trait]
impl<B: KvBackend> Erased for B {
    fn erased_capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    async fn erased_get(&self, key: &str) -> Result<Option<Bytes>> {
        self.get(key).await
    }

    async fn erased_set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.set(key, value, options).await
    }

    async fn erased_del(&self, keys: &[&str]) -> Result<u64> {
        self.del(keys).await
    }

    async fn erased_del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.del_if_equals(key, expected).await
    }

    async fn erased_expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.expire(key, expiry).await
    }

    async fn erased_ttl(&self, key: &str) -> Result<Ttl> {
        self.ttl(key).await
    }

    async fn erased_scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.scan(request).await
    }

    async fn erased_get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.get_many(keys).await
    }

    async fn erased_set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        self.set_many(entries, expiry).await
    }

    async fn erased_incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.incr(key, delta, on_missing).await
    }

    async fn erased_del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.del_matching(pattern).await
    }

    async fn erased_get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        self.get_with_ttl(key).await
    }

    async fn erased_health(&self) -> Result<()> {
        self.health().await
    }
}

#[deny(clippy::missing_trait_methods)]
impl KvBackend for AnyBackend {
    fn capabilities(&self) -> Capabilities {
        self.0.erased_capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.erased_get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.0.erased_set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.0.erased_del(keys).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.0.erased_del_if_equals(key, expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.0.erased_expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.0.erased_ttl(key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.0.erased_scan(request).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.0.erased_get_many(keys).await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        self.0.erased_set_many(entries, expiry).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.0.erased_incr(key, delta, on_missing).await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.0.erased_del_matching(pattern).await
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        self.0.erased_get_with_ttl(key).await
    }

    async fn health(&self) -> Result<()> {
        self.0.erased_health().await
    }
}
