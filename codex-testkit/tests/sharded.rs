//! An in-process store with several nodes, one of which can go down. It runs the cluster clause
//! without a cluster.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{Breaker, Harness, Outage, OutageKind, Time, VirtualTime, WallShift};
use codex_traits::{
    Capabilities, Capability, Cursor, Error, ErrorKind, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};
use futures_util::future::BoxFuture;

const NODES: usize = 3;
const FRAGILE: usize = 1;

/// A store that distributes keys over nodes by hash. One of the nodes can go down.
#[derive(Debug, Clone)]
struct Sharded {
    nodes: [MemoryBackend; NODES],
    fragile_is_down: Arc<AtomicBool>,
}

impl Sharded {
    fn node(&self, number: usize, operation: &'static str) -> Result<&MemoryBackend> {
        if number == FRAGILE && self.fragile_is_down.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Connection, operation, "a node is down").not_executed());
        }
        self.nodes.get(number).ok_or_else(Error::unreadable_cursor)
    }

    fn node_of(&self, key: &str, operation: &'static str) -> Result<&MemoryBackend> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let number = hasher.finish() % NODES as u64;
        self.node(usize::try_from(number).unwrap_or_default(), operation)
    }
}

impl KvBackend for Sharded {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new().with(Capability::Cluster)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.node_of(key, "get")?.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.node_of(key, "set")?.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let mut removed = 0;
        for key in keys {
            removed += self.node_of(key, "del")?.del(&[key]).await?;
        }
        Ok(removed)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.node_of(key, "del_if_equals")?.del_if_equals(key, expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.node_of(key, "expire")?.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.node_of(key, "ttl")?.ttl(key).await
    }

    async fn health(&self) -> Result<()> {
        for number in 0..NODES {
            self.node(number, "health")?.health().await?;
        }
        Ok(())
    }

    /// Scans the nodes in sequence. The cursor holds the node's number and the node's own cursor. A
    /// node without remaining keys gets no page of its own.
    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let (mut number, mut cursor) = match request.cursor.as_str().split_once('/') {
            None if request.cursor.is_start() => (0, Cursor::start()),
            None => return Err(Error::unreadable_cursor()),
            Some((number, cursor)) => (number.parse().map_err(|_| Error::unreadable_cursor())?, cursor.parse()?),
        };
        loop {
            let request = request.clone().with_cursor(cursor);
            let mut page = self.node(number, "scan")?.scan(request).await?;
            let next = match page.next.take() {
                Some(next) => Some(format!("{number}/{next}")),
                None if number + 1 < NODES => Some(format!("{}/", number + 1)),
                None => None,
            };
            if page.keys.is_empty() && next.as_ref().is_some_and(|next| next.ends_with('/')) {
                (number, cursor) = (number + 1, Cursor::start());
                continue;
            }
            page.next = next.map(Cursor::new).transpose()?;
            return Ok(page);
        }
    }
}

#[derive(Default)]
struct ShardedHarness {
    clock: ManualClock,
    fragile_is_down: Arc<AtomicBool>,
}

impl Harness for ShardedHarness {
    type Backend = Sharded;

    async fn fresh(&self) -> Sharded {
        Sharded {
            nodes: std::array::from_fn(|_| MemoryBackend::with_clock(self.clock.clone())),
            fragile_is_down: Arc::clone(&self.fragile_is_down),
        }
    }

    fn time(&self) -> Time {
        let (clock, wall) = (self.clock.clone(), self.clock.clone());
        Time::Virtual(VirtualTime::from_fns(
            move |by| clock.advance(by),
            move |shift| {
                let now = wall.system_time();
                wall.set_system_time(match shift {
                    WallShift::Forward(by) => now + by,
                    WallShift::Back(by) => now - by,
                });
            },
        ))
    }

    fn reopen(&self, backend: &Sharded) -> Option<Sharded> {
        Some(backend.clone())
    }

    async fn outage(&self) -> Option<Outage> {
        Some(Outage::new(Switch(Arc::clone(&self.fragile_is_down))))
    }
}

struct Switch(Arc<AtomicBool>);

impl Breaker for Switch {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![OutageKind::NodeDown]
    }

    fn begin(&self, _: OutageKind) -> BoxFuture<'_, ()> {
        Box::pin(async { self.0.store(true, Ordering::SeqCst) })
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.0.store(false, Ordering::SeqCst) })
    }
}

codex_testkit::conformance_tests!(ShardedHarness::default(), skip: {
    dur_01: "the store ends with its process",
    dur_02: "the store ends with its process",
    get_06: "the store holds nothing but plain values",
    many_06: "the store holds nothing but plain values",
    scan_09: "keys are text",
    ttl_01: "value and TTL are read in two steps",
    life_01: "one node goes down, and never all",
    life_02: "one node goes down, and never all",
    life_03: "one node goes down, and never all",
    life_05: "nothing is sent, so no answer is lost",
    life_12: "in process, there are no connections",
    life_13: "in process, there are no connections",
    life_14: "in process, there are no connections",
});
