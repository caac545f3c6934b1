//! The contract of `KvBackend` on a near cache over a single server and over a cluster (near-01).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use codex_kv::{NearBackend, redis::RedisBackend};
use codex_testkit::{
    Breaker, Foreign, Harness, Outage, OutageKind, Time,
    redis::{ClusterHarness, Leased, ServerHarness},
    require::Unavailable,
};
use futures_util::future::BoxFuture;

use crate::support::Near;

const STALENESS: Duration = Duration::from_millis(300);

/// A small limit, which an endless reply exceeds soon. Backends that go through an outage use it.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// Connects a near cache with a long command timeout, because many tests share few cores.
async fn connect(url: String, is_disturbed: bool) -> codex_kv::Result<Near> {
    let mut redis = RedisBackend::builder()
        .url(&url)
        .command_timeout(Duration::from_secs(2));
    if is_disturbed {
        redis = redis.max_reply_bytes(MAX_REPLY_BYTES);
    }
    let builder = NearBackend::builder(redis.build().await?);
    builder.max_staleness(STALENESS).build().await
}

type Connect = Box<dyn Fn(String) -> BoxFuture<'static, codex_kv::Result<Near>> + Send + Sync>;

fn cluster() -> Result<ClusterHarness<Connect>, Unavailable> {
    ClusterHarness::new(Box::new(|url| Box::pin(connect(url, false))))
}

/// A single server. An outage begins for a near cache when its lease ends: until then, near-05 lets
/// it return cached values.
struct OneServer {
    server: ServerHarness<Connect>,
    is_disturbed: Arc<AtomicBool>,
}

impl OneServer {
    fn new() -> Result<Self, Unavailable> {
        let is_disturbed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_disturbed);
        let connect: Connect = Box::new(move |url| Box::pin(connect(url, flag.load(Ordering::SeqCst))));
        Ok(Self {
            server: ServerHarness::shared(connect)?,
            is_disturbed,
        })
    }
}

impl Harness for OneServer {
    type Backend = Leased<Near>;

    async fn fresh(&self) -> Self::Backend {
        self.server.fresh().await
    }

    fn time(&self) -> Time {
        self.server.time()
    }

    /// Returns a limit that suffices for a hundred thousand calls while several servers share few
    /// cores.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn max_reply_bytes(&self) -> u64 {
        MAX_REPLY_BYTES as u64
    }

    async fn outage(&self) -> Option<Outage> {
        let outage = self.server.outage().await?;
        self.is_disturbed.store(true, Ordering::SeqCst);
        Some(Outage::new(PastTheLease(outage)))
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        self.server.reopen(backend)
    }

    async fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        self.server.plant(backend, foreign).await
    }

    async fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        self.server.is_planted(backend, foreign).await
    }

    async fn memory_in_use(&self, backend: &Self::Backend) -> Option<u64> {
        self.server.memory_in_use(backend).await
    }

    async fn avoids_many_stars(&self, backend: &Self::Backend) -> Option<&'static str> {
        self.server.avoids_many_stars(backend).await
    }

    async fn clean_up(&self) -> Result<(), String> {
        self.server.clean_up().await
    }
}

struct PastTheLease(Outage);

impl Breaker for PastTheLease {
    fn kinds(&self) -> Vec<OutageKind> {
        self.0.kinds()
    }

    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.begin(kind).await;
            // Sleeps without a runtime's timer, because a clause may run on its own runtime.
            std::thread::sleep(STALENESS);
        })
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.end())
    }
}

mod near_01_on_one_server {
    codex_testkit::conformance_tests!(super::OneServer::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}

mod near_01_on_a_cluster {
    codex_testkit::conformance_tests!(super::cluster(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the servers' clock is the machine's",
        life_01: "a node goes down, never the whole",
        life_02: "a node goes down, never the whole",
        life_03: "a node goes down, never the whole",
        life_05: "a node goes down, never the whole",
        life_12: "a node goes down, and no connection",
        life_13: "a node goes down, and no connection",
        life_14: "a node goes down, and no connection",
    });
}
