//! The public face of the store.

use std::{fmt, sync::Arc, time::Instant};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Capability, Expiry, KvBackend, OnMissing, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
};

use crate::{
    clock::{Clock, TimeSource},
    store::Store,
};

/// A key-value store in this process.
///
/// A clone is another handle on the same store; two that were made apart share nothing. Expiry is decided on reading, exactly at the
/// deadline; memory of what expired unread is reclaimed by later writes. No verb waits, so none needs a runtime, and a call that is
/// made is done: dropping its future before the first poll is the only way not to make it. Nothing is evicted, and nothing outlives
/// the process.
#[derive(Clone)]
pub struct MemoryBackend {
    store: Arc<Store>,
}

impl MemoryBackend {
    /// An empty store on the operating system's monotonic clock. Setting the wall clock changes nothing.
    pub fn new() -> Self {
        Self::on(TimeSource::System(Instant::now()))
    }

    /// An empty store on a clock of the caller's, a [`ManualClock`](crate::ManualClock) for example.
    pub fn with_clock(clock: impl Clock) -> Self {
        Self::on(TimeSource::Given(Box::new(clock)))
    }

    fn on(time: TimeSource) -> Self {
        Self {
            store: Arc::new(Store::new(time)),
        }
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
        Capabilities::new().with(Capability::LargeValues)
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

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.store.incr(key, delta, on_missing)
    }
}
