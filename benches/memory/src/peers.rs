//! The compared stores, behind a common trait.

use std::{
    hash::BuildHasher,
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cached::{ConcurrentCached, ShardedTtlCache};
use codex_memory::MemoryBackend;
use codex_traits::{Expiry, KvBackend, OnMissing, SetOptions};
use dashmap::DashMap;

/// Long enough that nothing expires during a measurement.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;
    fn get(&self, key: &String) -> Option<Bytes>;
    fn set(&self, key: &str, value: Bytes);
    /// Adds one to the decimal number under the key, atomically if the store supports that.
    fn incr(&self, key: &String);
}

/// Returns the output of a future that never waits. The function is inlined, as `.await` is.
#[inline(always)]
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a memory backend waited"),
    }
}

fn plus_one(value: &[u8]) -> Bytes {
    let number: i64 = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    Bytes::from((number + 1).to_string())
}

pub(crate) struct Ours(pub(crate) MemoryBackend, pub(crate) &'static str);

impl Ours {
    pub(crate) fn new() -> Self {
        Self(MemoryBackend::new(), "codex-memory")
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        self.1
    }
    fn get(&self, key: &String) -> Option<Bytes> {
        now(self.0.get(key)).unwrap()
    }
    fn set(&self, key: &str, value: Bytes) {
        let _ = now(self.0.set(key, value, SetOptions::expires_after(TTL))).unwrap();
    }
    fn incr(&self, key: &String) {
        now(self.0.incr(key, 1, OnMissing::Create(Expiry::Never))).unwrap();
    }
}

/// A map with a deadline beside each value. If `CHECKED`, a get checks the deadline, which a plain
/// map of values would not do.
pub(crate) struct Dash<S, const CHECKED: bool> {
    name: &'static str,
    map: DashMap<String, (Bytes, Instant), S>,
}

impl<S: BuildHasher + Clone + Default, const CHECKED: bool> Dash<S, CHECKED> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            map: DashMap::with_hasher(S::default()),
        }
    }
}

impl<S: BuildHasher + Clone + Send + Sync, const CHECKED: bool> Peer for Dash<S, CHECKED> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn get(&self, key: &String) -> Option<Bytes> {
        let entry = self.map.get(key)?;
        (!CHECKED || entry.1 > Instant::now()).then(|| entry.0.clone())
    }
    fn set(&self, key: &str, value: Bytes) {
        self.map.insert(key.to_owned(), (value, Instant::now() + TTL));
    }
    fn incr(&self, key: &String) {
        if let Some(mut entry) = self.map.get_mut(key) {
            entry.0 = plus_one(&entry.0);
        }
    }
}

pub(crate) struct Moka(pub(crate) moka::sync::Cache<String, Bytes>);

impl Moka {
    pub(crate) fn new() -> Self {
        Self(moka::sync::Cache::builder().time_to_live(TTL).build())
    }
}

impl Peer for Moka {
    fn name(&self) -> &'static str {
        "moka"
    }
    fn get(&self, key: &String) -> Option<Bytes> {
        self.0.get(key)
    }
    fn set(&self, key: &str, value: Bytes) {
        self.0.insert(key.to_owned(), value);
    }
    fn incr(&self, key: &String) {
        self.0
            .entry_by_ref(key)
            .and_upsert_with(|old| old.map_or_else(|| Bytes::from_static(b"1"), |old| plus_one(&old.into_value())));
    }
}

/// quick_cache has no expiry, so the deadline is stored beside the value and checked by each get.
pub(crate) struct Quick(pub(crate) quick_cache::sync::Cache<String, (Bytes, Instant)>);

impl Quick {
    pub(crate) fn new(keys: usize) -> Self {
        Self(quick_cache::sync::Cache::new(keys * 2))
    }
}

impl Peer for Quick {
    fn name(&self) -> &'static str {
        "quick_cache"
    }
    fn get(&self, key: &String) -> Option<Bytes> {
        let (value, deadline) = self.0.get(key)?;
        (deadline > Instant::now()).then_some(value)
    }
    fn set(&self, key: &str, value: Bytes) {
        self.0.insert(key.to_owned(), (value, Instant::now() + TTL));
    }
    fn incr(&self, key: &String) {
        // Not atomic: a get and then an insert.
        if let Some((old, deadline)) = self.0.get(key) {
            self.0.insert(key.to_owned(), (plus_one(&old), deadline));
        }
    }
}

pub(crate) struct Stretto(stretto::Cache<String, Bytes>);

impl Stretto {
    pub(crate) fn new(keys: usize) -> Self {
        Self(stretto::Cache::new(keys * 10, i64::try_from(keys).unwrap() * 10).unwrap())
    }
}

impl Peer for Stretto {
    fn name(&self) -> &'static str {
        "stretto"
    }
    fn get(&self, key: &String) -> Option<Bytes> {
        self.0.get(key).map(|value| value.value().clone())
    }
    fn set(&self, key: &str, value: Bytes) {
        self.0.insert_with_ttl(key.to_owned(), value, 1, TTL);
    }
    fn incr(&self, key: &String) {
        // Not atomic, and stored some time later.
        if let Some(old) = self.get(key) {
            self.set(key, plus_one(&old));
        }
    }
}

pub(crate) struct Cached(ShardedTtlCache<String, Bytes>);

impl Cached {
    pub(crate) fn new() -> Self {
        Self(ShardedTtlCache::builder().ttl(TTL).build().unwrap())
    }
}

impl Peer for Cached {
    fn name(&self) -> &'static str {
        "cached"
    }
    fn get(&self, key: &String) -> Option<Bytes> {
        self.0.cache_get(key).ok().flatten()
    }
    fn set(&self, key: &str, value: Bytes) {
        let _ = self.0.cache_set(key.to_owned(), value);
    }
    fn incr(&self, key: &String) {
        if let Some(old) = self.get(key) {
            self.set(key, plus_one(&old));
        }
    }
}
