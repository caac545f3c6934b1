//! A backend together with the place that it is on.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
};

use super::Database;
use crate::secret_audit::call;

/// A backend, and what holds the place that its keys are in, which ends with its last handle: a [`Database`], a cluster, a server.
#[derive(Debug)]
pub struct Leased<B, P = Database> {
    backend: B,
    place: Arc<P>,
}

// By hand: the place need not be `Clone`.
impl<B: Clone, P> Clone for Leased<B, P> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            place: self.place.clone(),
        }
    }
}

impl<B, P> Leased<B, P> {
    /// `backend`, which must be on `place`.
    pub fn new(backend: B, place: P) -> Self {
        Self {
            backend,
            place: Arc::new(place),
        }
    }

    /// The place, to be looked at past the backend.
    pub fn place(&self) -> &P {
        &self.place
    }
}

#[deny(clippy::missing_trait_methods, reason = "what is tested is the backend's own verbs")]
impl<B: KvBackend, P: fmt::Debug + Send + Sync + 'static> KvBackend for Leased<B, P> {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        call([key.as_bytes()], self.backend.get(key).await)
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let kept = value.clone();
        call([key.as_bytes(), &kept], self.backend.set(key, value, options).await)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        call(bytes(keys), self.backend.del(keys).await)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        call(
            [key.as_bytes(), expected],
            self.backend.del_if_equals(key, expected).await,
        )
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        call([key.as_bytes()], self.backend.expire(key, expiry).await)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        call([key.as_bytes()], self.backend.ttl(key).await)
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        call([request.pattern.as_bytes()], self.backend.scan(request.clone()).await)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        call(bytes(keys), self.backend.get_many(keys).await)
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let secrets = entries.iter().flat_map(|(key, value)| [key.as_bytes(), value]);
        call(secrets, self.backend.set_many(entries, expiry).await)
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        call([key.as_bytes()], self.backend.incr(key, delta, on_missing).await)
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        call([pattern.as_bytes()], self.backend.del_matching(pattern).await)
    }
}

fn bytes<'a>(keys: &'a [&str]) -> impl Iterator<Item = &'a [u8]> {
    keys.iter().map(|key| key.as_bytes())
}
