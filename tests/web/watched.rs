//! A memory backend that writes down what it is asked, and can be out of service.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use codex_kv::{
    Capabilities, Error, ErrorKind, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
    memory::MemoryBackend,
};

#[derive(Clone, Default)]
pub(crate) struct Watched {
    inner: MemoryBackend,
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
    down: Arc<AtomicBool>,
    /// The number of calls that still succeed before it goes down by itself; not counted at zero.
    down_after: Arc<AtomicUsize>,
}

// It has seen keys.
impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Watched {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Goes down once this many calls have succeeded.
    pub(crate) fn set_down_after(&self, calls: usize) {
        self.down_after.store(calls, Ordering::SeqCst);
    }

    /// Returns the verbs and keys since the last time.
    pub(crate) fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Returns the verbs since the last time.
    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        self.take().into_iter().map(|(verb, _)| verb).collect()
    }

    fn ask(&self, verb: &'static str, key: &str) -> Result<()> {
        self.calls.lock().unwrap().push((verb, key.to_owned()));
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Connection, verb, "the store cannot be reached"));
        }
        if self.down_after.load(Ordering::SeqCst) > 0 && self.down_after.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.set_down(true);
        }
        Ok(())
    }
}

impl KvBackend for Watched {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.ask("get", key)?;
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.ask("set", key)?;
        self.inner.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        for key in keys {
            self.ask("del", key)?;
        }
        self.inner.del(keys).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.ask("del_if_equals", key)?;
        self.inner.del_if_equals(key, expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.ask("expire", key)?;
        self.inner.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.ask("ttl", key)?;
        self.inner.ttl(key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.ask("scan", "")?;
        self.inner.scan(request).await
    }
}
