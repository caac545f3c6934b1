//! The contract of `KvBackend` on a near cache of a single server and of a cluster: near-01.

use std::time::Duration;

use codex_kv::{NearBackend, redis::RedisBackend};
use codex_testkit::{
    Breaker, Foreign, Harness, Outage, OutageKind, Time,
    redis::{ClusterHarness, Leased, ServerHarness},
    require::Unavailable,
};
use futures_util::future::BoxFuture;

use crate::support::Near;

const STALENESS: Duration = Duration::from_millis(300);

/// Less than the default of codex-redis, so that an endless reply ends soon. The clauses read 4 MiB
/// at most.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// Connects a near cache with a long command timeout, because many tests share few cores.
async fn connect(url: String) -> codex_kv::Result<Near> {
    let redis = RedisBackend::builder()
        .url(&url)
        .command_timeout(Duration::from_secs(2))
        .max_reply_bytes(MAX_REPLY_BYTES);
    let builder = NearBackend::builder(redis.build().await?);
    builder.max_staleness(STALENESS).build().await
}

type Connect = fn(String) -> BoxFuture<'static, codex_kv::Result<Near>>;

const CONNECT: Connect = |url| Box::pin(connect(url));

fn cluster() -> Result<ClusterHarness<Connect>, Unavailable> {
    ClusterHarness::new(CONNECT)
}

/// A single server. An outage begins for a near cache when its lease ends: until then, near-05 lets
/// it return cached values.
struct OneServer(ServerHarness<Connect>);

impl OneServer {
    fn new() -> Result<Self, Unavailable> {
        ServerHarness::shared(CONNECT).map(Self)
    }
}

impl Harness for OneServer {
    type Backend = Leased<Near>;

    async fn fresh(&self) -> Self::Backend {
        self.0.fresh().await
    }

    fn time(&self) -> Time {
        self.0.time()
    }

    fn max_reply_bytes(&self) -> u64 {
        MAX_REPLY_BYTES as u64
    }

    async fn outage(&self) -> Option<Outage> {
        Some(Outage::new(PastTheLease(self.0.outage().await?)))
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        self.0.reopen(backend)
    }

    async fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        self.0.plant(backend, foreign).await
    }

    async fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        self.0.is_planted(backend, foreign).await
    }

    async fn memory_in_use(&self, backend: &Self::Backend) -> Option<u64> {
        self.0.memory_in_use(backend).await
    }

    async fn avoids_many_stars(&self, backend: &Self::Backend) -> Option<&'static str> {
        self.0.avoids_many_stars(backend).await
    }

    async fn clean_up(&self) -> Result<(), String> {
        self.0.clean_up().await
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
            // Does not use a runtime's timer, because a clause may run on its own runtime.
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
