//! The public face of the store.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use codex_traits::{
    AnyBackend, Capabilities, Capability, Expiry, KvBackend, OnMissing, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};

use crate::{
    builder::MemoryBuilder,
    clock::{Clock, TimeSource},
    limits::Limits,
    reclaim,
    store::Store,
    system::SystemClock,
};

/// A key-value store in this process.
///
/// A clone is another handle on the same store; two that were made apart share nothing. Expiry is
/// decided on reading, exactly at the deadline; on the system's clock, what was to live for half an
/// hour or longer may live a tenth of a second longer, and `ttl` say a few milliseconds less, for a
/// coarse clock is cheaper. The memory of what expired unread is given back within a fraction of a
/// second, by a thread of this crate. No verb waits, so none needs a runtime, and a call that is
/// made is done: dropping its future before the first poll is the only way not to make it. Nothing
/// is evicted unless [`builder`](Self::builder) is told to, and nothing outlives the process but a
/// [`dump`](Self::dump).
#[derive(Clone)]
pub struct MemoryBackend {
    pub(crate) store: Arc<Store>,
}

impl MemoryBackend {
    /// An empty store on the operating system's monotonic clock. Setting the wall clock changes
    /// nothing.
    pub fn new() -> Self {
        Self::of(Store::new(TimeSource::System(SystemClock::start()), None))
    }

    /// An empty store on a clock of the caller's, a [`ManualClock`](crate::ManualClock) for
    /// example.
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::of(Store::new(TimeSource::Given(Box::new(clock)), None))
    }

    /// A store with limits.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::new()
    }

    pub(crate) fn of(store: Store) -> Self {
        Self { store: Arc::new(store) }
    }

    /// How many entries the store holds. One that has expired counts until it is reclaimed, a
    /// fraction of a second later.
    pub fn len(&self) -> usize {
        self.store.entries()
    }

    /// Whether the store holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the store has asked of the allocator: keys, values, and all that it takes to
    /// find them. What the allocator adds on top (glibc: 8 bytes for each block, and rounding) is
    /// not in it. A value that is shared with others, because it is over 4 KiB or because it
    /// replaced another while whoever handed it in kept it too, is counted as if it were not.
    pub fn used_bytes(&self) -> usize {
        self.store.footprint()
    }

    /// How many entries were evicted to make room, since the store was made. Expiry and removal are
    /// no evictions.
    pub fn evictions(&self) -> u64 {
        self.store.limits.as_ref().map_or(0, Limits::evictions)
    }

    /// Removes all that has expired, now, and says how many entries that were.
    ///
    /// There is seldom a reason to call it: on the system's clock a thread of this crate does so
    /// ten times a second, and on a clock of the caller's each write looks at some dozens of
    /// entries. A test that counts bytes on a [`ManualClock`](crate::ManualClock) is one. Other
    /// calls are served in between.
    pub fn reclaim_expired(&self) -> usize {
        let shards = 0..self.store.shards.len();
        shards.map(|shard| self.store.reclaim_shard(shard, || {})).sum()
    }

    /// To be called after a write that may have given an entry an end.
    fn watch(&self, expiry: Expiry) {
        if matches!(expiry, Expiry::After(_)) {
            reclaim::watch(&self.store);
        }
    }
}

impl From<MemoryBackend> for AnyBackend {
    fn from(backend: MemoryBackend) -> Self {
        Self::new(backend)
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

// By hand: neither keys nor values are to be printed.
impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("entries", &self.store.entries())
            .finish()
    }
}

impl KvBackend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .with(Capability::LargeValues)
            .with(Capability::AtomicGetWithTtl)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.store.get(key))
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let outcome = self.store.set(key, value, &options)?;
        self.watch(options.expiry);
        Ok(outcome)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        Ok(keys.iter().filter(|key| self.store.del(key)).count() as u64)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        Ok(self.store.del_if_equals(key, expected))
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let found = self.store.expire(key, expiry)?;
        self.watch(expiry);
        Ok(found)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        Ok(self.store.ttl(key))
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.store.scan(&request)
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        Ok(self.store.get_with_ttl(key))
    }

    async fn health(&self) -> Result<()> {
        Ok(())
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let sum = self.store.incr(key, delta, on_missing)?;
        if let OnMissing::Create(expiry) = on_missing {
            self.watch(expiry);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{clock::ManualClock, limits::WhenFull};

    #[test]
    fn room_is_made_in_another_shard_where_there_is_none_in_ones_own() {
        for (when_full, full, ends) in [
            (WhenFull::Evict, 0, false),
            (WhenFull::Evict, 1, false),
            (WhenFull::Evict, 0, true),
            (WhenFull::Refuse, 1, true),
            (WhenFull::Refuse, 0, false),
        ] {
            let clock = ManualClock::new();
            let limits = Limits::new(1024, usize::MAX, when_full, None);
            let store = Store::new(TimeSource::Given(Box::new(clock.clone())), Some(limits));
            assert_eq!(store.shards.len(), 2);
            let mut keys = (0..).map(|number: u32| number.to_string());
            let mut in_shard = |shard: usize| keys.find(|key| store.place(key).shard == shard).unwrap();
            let second = Duration::from_secs(1);
            let options = if ends {
                SetOptions::expires_after(second)
            } else {
                SetOptions::new()
            };
            for _ in 0..1024 {
                let outcome = store.set(&in_shard(full), "v".into(), &options);
                assert!(outcome.unwrap().is_written());
            }
            clock.advance(second);
            let written = store.set(&in_shard(1 - full), "v".into(), &SetOptions::new());
            assert_eq!(written.is_ok(), ends || when_full == WhenFull::Evict);
            let evictions = store.limits.as_ref().map(Limits::evictions);
            assert_eq!(evictions, Some(u64::from(when_full == WhenFull::Evict && !ends)));
        }
    }

    #[tokio::test]
    async fn a_store_says_what_it_is() {
        let store = MemoryBackend::new();
        assert!(store.is_empty() && store.capabilities().contains(Capability::LargeValues));
        let outcome = store.set("k", "v".into(), SetOptions::new()).await.unwrap();
        assert!(outcome.is_written() && !store.is_empty());
        assert_eq!(format!("{store:?}"), "MemoryBackend { entries: 1 }");
    }
}
