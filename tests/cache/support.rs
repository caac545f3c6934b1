//! Where a clause runs, and backends that count or fail.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_kv::{
    Cache, CacheBuilder, Capabilities, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage,
    ScanRequest, SetOptions, SetOutcome, Ttl,
    memory::{ManualClock, MemoryBackend},
    redis::RedisBackend,
};
use codex_testkit::redis::Database;

/// A store for one clause, empty and nobody else's.
pub(crate) struct Cx<B> {
    pub(crate) backend: B,
    clock: Option<ManualClock>,
}

impl Cx<MemoryBackend> {
    pub(crate) fn memory() -> Self {
        let clock = ManualClock::new();
        Self {
            backend: MemoryBackend::with_clock(clock.clone()),
            clock: Some(clock),
        }
    }
}

impl Cx<RedisBackend> {
    pub(crate) async fn redis(database: &Database) -> Self {
        Self {
            backend: RedisBackend::connect(&database.url()).await.unwrap(),
            clock: None,
        }
    }
}

impl<B: KvBackend + Clone> Cx<B> {
    pub(crate) fn builder(&self) -> CacheBuilder<B> {
        Cache::builder(self.backend.clone())
    }

    /// A cache with the prefix `shop`.
    pub(crate) fn cache(&self) -> Cache<B> {
        self.builder().key_prefix("shop").build().unwrap()
    }

    /// The same, and the calls that it makes.
    pub(crate) fn counted(&self) -> (Cache<Recording<B>>, Calls) {
        let calls = Calls::default();
        let backend = Recording {
            inner: self.backend.clone(),
            calls: calls.clone(),
        };
        (Cache::builder(backend).key_prefix("shop").build().unwrap(), calls)
    }

    /// What is stored under a stored key.
    pub(crate) async fn stored(&self, key: &str) -> Option<Bytes> {
        self.backend.get(key).await.unwrap()
    }

    pub(crate) async fn put(&self, key: &str, value: impl Into<Bytes>) {
        assert!(
            self.backend
                .set(key, value.into(), SetOptions::new())
                .await
                .unwrap()
                .is_written()
        );
    }

    /// Moves the clock, or waits for the real one.
    pub(crate) async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    /// Whether the time to live is `expected`, within what a test on a real server can take.
    pub(crate) async fn assert_ttl(&self, key: &str, expected: impl Into<Option<Duration>>) {
        let ttl = self.backend.ttl(key).await.unwrap();
        match expected.into() {
            None => assert_eq!(ttl, Ttl::Persistent, "{key}"),
            Some(expected) => {
                let Ttl::Remaining(remaining) = ttl else {
                    panic!("{key}: {ttl:?}")
                };
                let slack = if self.clock.is_some() {
                    Duration::ZERO
                } else {
                    Duration::from_secs(20)
                };
                assert!(
                    remaining <= expected && remaining >= expected.saturating_sub(slack),
                    "{key}: {remaining:?}"
                );
            }
        }
    }
}

/// Emits every clause twice: on memory, and on a real Redis.
macro_rules! clauses {
    ($($name:ident)*) => {
        mod memory {
            use crate::support::Cx;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(&Cx::memory()).await;
            })*
        }

        mod redis {
            use crate::support::Cx;
            use codex_testkit::{redis::Database, require};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let database = require!("redis", Database::lease());
                super::$name(&Cx::redis(&database).await).await;
            })*
        }
    };
}

/// The verbs that were called, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<&'static str>>>);

impl Calls {
    pub(crate) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Returns when so many calls have been made.
    pub(crate) async fn reach(&self, calls: usize) {
        while self.0.lock().unwrap().len() < calls {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A backend that writes down what is asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Recording<B> {
    inner: B,
    calls: Calls,
}

/// A backend whose key `shop:1:k` is written to by somebody else, once, just before it is compared and removed.
#[derive(Debug, Clone)]
pub(crate) struct Meddling<B> {
    pub(crate) inner: B,
    pub(crate) meddled: Arc<AtomicBool>,
}

/// A backend that answers nothing but errors.
#[derive(Debug, Clone)]
pub(crate) struct Down;

/// Implements every verb of [`KvBackend`] through one macro per wrapper, so that none is missed.
macro_rules! every_verb {
    ([$($generics:tt)*] $type:ty, $capabilities:expr, $each:ident) => {
        #[deny(clippy::missing_trait_methods)]
        impl $($generics)* KvBackend for $type {
            fn capabilities(&self) -> Capabilities {
                $capabilities(self)
            }
            async fn get(&self, key: &str) -> Result<Option<Bytes>> {
                $each!(self, get(key))
            }
            async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
                $each!(self, set(key, value, options))
            }
            async fn del(&self, keys: &[&str]) -> Result<u64> {
                $each!(self, del(keys))
            }
            async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
                $each!(self, del_if_equals(key, expected))
            }
            async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
                $each!(self, expire(key, expiry))
            }
            async fn ttl(&self, key: &str) -> Result<Ttl> {
                $each!(self, ttl(key))
            }
            async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
                $each!(self, scan(request))
            }
            async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
                $each!(self, get_many(keys))
            }
            async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
                $each!(self, set_many(entries, expiry))
            }
            async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
                $each!(self, incr(key, delta, on_missing))
            }
            async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
                $each!(self, del_matching(pattern))
            }
        }
    };
}

macro_rules! recorded {
    ($self:ident, $verb:ident($($argument:ident),*)) => {{
        $self.calls.0.lock().unwrap().push(stringify!($verb));
        $self.inner.$verb($($argument),*).await
    }};
}

macro_rules! meddled {
    ($self:ident, $verb:ident($($argument:ident),*)) => {{
        if stringify!($verb) == "del_if_equals" && !$self.meddled.swap(true, Ordering::Relaxed) {
            let newer = $self.inner.set("shop:1:k", Bytes::from_static(b"2"), SetOptions::new()).await?;
            assert!(newer.is_written());
        }
        $self.inner.$verb($($argument),*).await
    }};
}

macro_rules! refused {
    ($self:ident, $verb:ident($($argument:ident),*)) => {{
        let _ = ($(&$argument,)*);
        Err(Error::new(ErrorKind::Connection, stringify!($verb), "the store is down"))
    }};
}

every_verb!([<B: KvBackend>] Recording<B>, |this: &Self| this.inner.capabilities(), recorded);
every_verb!([<B: KvBackend>] Meddling<B>, |this: &Self| this.inner.capabilities(), meddled);
every_verb!([] Down, |_: &Self| Capabilities::new(), refused);
