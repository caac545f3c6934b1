//! The public handle of the store, and its `KvBackend` implementation.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use codex_traits::{
    AnyBackend, Capabilities, Capability, Error, ErrorKind, Expiry, KvBackend, OnMissing, Result, ScanPage,
    ScanRequest, SetOptions, SetOutcome, Ttl,
};

use crate::{
    builder::MemoryBuilder,
    snapshot_file::SnapshotFile,
    store::Store,
    time::{
        clock::{Clock, TimeSource},
        system_clock::SystemClock,
    },
};

/// An in-process key-value store.
///
/// A clone is another handle to the same store. Stores that were created separately share nothing.
///
/// Calls never yield, so they need no async runtime. A call completes when it is first polled.
///
/// # Expiry
///
/// An expired entry is never returned: each call checks the deadline itself, and expiry is exact.
/// On the system's clock, a background thread of this crate frees the memory of expired entries
/// within a fraction of a second. On the caller's clock, writes free it.
///
/// The default clock is the operating system's monotonic clock, so setting the wall clock expires
/// nothing. On Linux the monotonic clock stops while the machine is suspended, so entries live
/// longer by the time of the suspension. Redis counts that time.
///
/// # Processes
///
/// The store ends with its process, unless it is [dumped](Self::dump) or has a [snapshot
/// file](MemoryBuilder::snapshot_file). After a `fork` without `exec`, the child has a copy of the
/// store but not its threads. Reads and writes work, and expired entries are never returned. Only
/// [`reclaim_expired`](Self::reclaim_expired) frees their memory, also in stores that the child
/// creates, and no periodic snapshots are written. As with any lock, a shard that another thread
/// has locked at the time of the `fork` stays locked in the child. The background threads also lock
/// shards.
#[derive(Clone)]
pub struct MemoryBackend {
    pub(crate) store: Arc<Store>,
    snapshot_file: Option<Arc<SnapshotFile>>,
}

impl MemoryBackend {
    /// Creates an empty store on the operating system's monotonic clock.
    pub fn new() -> Self {
        Self::of(Store::new(TimeSource::System(SystemClock::start()), None))
    }

    /// Creates an empty store on the caller's clock, for example a
    /// [`ManualClock`](crate::ManualClock).
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::of(Store::new(TimeSource::Given(Box::new(clock)), None))
    }

    /// Returns a builder for a store with limits or a snapshot file.
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder::new()
    }

    pub(crate) fn of(store: Arc<Store>) -> Self {
        Self {
            store,
            snapshot_file: None,
        }
    }

    pub(crate) fn with_snapshot_file(self, file: SnapshotFile) -> Self {
        Self {
            snapshot_file: Some(Arc::new(file)),
            ..self
        }
    }

    /// Returns the number of entries in the store. An expired entry counts until its memory is
    /// freed.
    pub fn len(&self) -> usize {
        self.store.entries()
    }

    /// Returns whether the store is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of bytes that the store has requested from the allocator for keys, values
    /// and the index. The allocator's own overhead is not included (with glibc, 8 bytes per block
    /// and rounding).
    ///
    /// A value over 4 KiB is kept in the caller's buffer, as is a value that replaced another if it
    /// has more than 512 bytes or its buffer was shared. Its size includes the 24 bytes that make
    /// the buffer shareable, which are allocated by the first read at the latest. It counts in full
    /// even if the caller also holds the buffer. Unused parts of the buffer do not count.
    pub fn used_bytes(&self) -> usize {
        self.store.footprint()
    }

    /// Returns the number of entries evicted to make room since the store was created. Expiry and
    /// removal are not evictions.
    pub fn evictions(&self) -> u64 {
        self.store.evictions()
    }

    /// Returns the value of `key` from the offset that `start` returns, or `None` if the key is
    /// missing, `start` returns `None`, or the offset is beyond the end of the value.
    ///
    /// Meant for values that begin with a header: a value that `start` rejects costs no reference
    /// count. `start` runs under the read lock of a shard. It must be brief and must not use the
    /// store.
    #[doc(hidden)]
    #[inline]
    pub fn get_from(&self, key: &str, start: impl FnOnce(&[u8]) -> Option<usize>) -> Option<Bytes> {
        self.store.get_from(key, start)
    }

    /// Removes all expired entries now, and returns their number. Other calls are served meanwhile.
    ///
    /// Applications rarely need this. On the system's clock, a background thread does the same ten
    /// times a second. On the caller's clock, each write removes at most a few dozen expired
    /// entries of its shard, so tests that count entries or bytes on a
    /// [`ManualClock`](crate::ManualClock) need this method.
    pub fn reclaim_expired(&self) -> usize {
        self.store.reap_all()
    }

    /// Writes the [snapshot file](MemoryBuilder::snapshot_file) now, and returns the number of
    /// entries in it. Blocks until the file is synced: after `Ok`, the entries survive a crash of
    /// the process or the machine.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`](std::io::ErrorKind::Unsupported) if the store has no snapshot
    /// file, and the errors of the file system. An error leaves the previous snapshot in place.
    pub fn save(&self) -> std::io::Result<u64> {
        match &self.snapshot_file {
            Some(file) => file.save(),
            None => Err(std::io::ErrorKind::Unsupported.into()),
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

// The output must not contain keys or values.
#[expect(clippy::missing_fields_in_debug, reason = "the store holds keys and values")]
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
        self.store.set(key, value, &options)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        Ok(keys.iter().filter(|key| self.store.del(key)).count() as u64)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        Ok(self.store.del_if_equals(key, expected))
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.store.expire(key, expiry)
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

    /// Fails if the last snapshot could not be written.
    async fn health(&self) -> Result<()> {
        match self.snapshot_file.as_ref().and_then(|file| file.failure()) {
            None => Ok(()),
            Some(kind) => Err(Error::new(
                ErrorKind::Server,
                "health",
                format!(
                    "the snapshot file could not be written ({kind}); writes since the last snapshot are in memory only"
                ),
            )),
        }
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.store.incr(key, delta, on_missing)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        accounting::limits::{Limits, WhenFull},
        time::clock::ManualClock,
    };

    #[test]
    fn room_is_made_in_another_shard_if_the_own_one_has_none() {
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
            assert_eq!(store.shards().len(), 2);
            let mut keys = (0..).map(|number: u32| number.to_string());
            let mut in_shard = |shard: usize| keys.find(|key| store.locate(key).shard == shard).unwrap();
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
            let evictions = store.limits().map(Limits::evictions);
            assert_eq!(evictions, Some(u64::from(when_full == WhenFull::Evict && !ends)));
        }
    }

    #[tokio::test]
    async fn debug_prints_no_entries() {
        let store = MemoryBackend::new();
        assert!(store.is_empty() && store.capabilities().contains(Capability::LargeValues));
        let outcome = store.set("k", "v".into(), SetOptions::new()).await.unwrap();
        assert!(outcome.is_written() && !store.is_empty());
        assert_eq!(format!("{store:?}"), "MemoryBackend { entries: 1 }");
    }
}
