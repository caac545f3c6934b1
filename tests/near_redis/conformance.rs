//! The contract of `KvBackend` on a near cache of one server and of a cluster: near-01.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use codex_kv::{NearBackend, redis::RedisBackend};
use codex_testkit::{
    Breaker, Foreign, Harness, Outage, OutageKind, Time,
    redis::{ClusterLease, Leased, RedisCluster, ServerHarness, Value},
    require::Unavailable,
};

use crate::support::Near;

/// A near cache with patience: many tests share few cores.
async fn connect(url: String) -> codex_kv::Result<Near> {
    let redis = RedisBackend::builder()
        .url(&url)
        .command_timeout(Duration::from_secs(2));
    NearBackend::builder(redis.build().await?).build().await
}

mod server {
    codex_testkit::conformance_tests!(super::ServerHarness::shared(super::connect), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}

/// A cluster has no databases: each store is a cluster of its own, out of a few that are emptied
/// and used again.
struct ClusterHarness {
    /// The cluster of the last store; the one that an outage is about.
    last: Arc<Mutex<Option<Arc<ClusterLease>>>>,
}

impl ClusterHarness {
    fn new() -> Result<Self, Unavailable> {
        RedisCluster::lease()?;
        Ok(Self { last: Arc::default() })
    }
}

impl Harness for ClusterHarness {
    type Backend = Leased<Near, Arc<ClusterLease>>;

    async fn fresh(&self) -> Self::Backend {
        let cluster = Arc::new(RedisCluster::lease().unwrap());
        *self.last.lock().unwrap() = Some(cluster.clone());
        let near = connect(cluster.url()).await.unwrap();
        Leased::new(near, cluster)
    }

    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(25),
        }
    }

    async fn outage(&self) -> Option<Outage> {
        Some(Outage::new(OneNode(self.last.clone())))
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let cluster = backend.place();
        let planted = match foreign {
            Foreign::List { key } => cluster.master_of(key.as_bytes()).command(&["RPUSH", key, "one", "two"]),
            Foreign::NonUtf8Key { key } => cluster.master_of(key).command(&[b"SET", key.as_slice(), b"value"]),
            _ => return false,
        };
        planted.is_ok()
    }

    async fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let key = match foreign {
            Foreign::List { key } => key.as_bytes(),
            Foreign::NonUtf8Key { key } => key,
            _ => return false,
        };
        let cluster = backend.place();
        cluster.master_of(key).command(&[b"EXISTS", key]).unwrap() == Value::Int(1)
    }
}

struct OneNode(Arc<Mutex<Option<Arc<ClusterLease>>>>);

impl Breaker for OneNode {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![OutageKind::NodeDown]
    }

    fn begin(&self, _: OutageKind) -> futures_util::future::BoxFuture<'_, ()> {
        Box::pin(async {
            self.0.lock().unwrap().as_ref().unwrap().kill_one();
        })
    }

    /// What was on the node is gone; the next store is on another cluster.
    fn end(&self) -> futures_util::future::BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

mod cluster {
    codex_testkit::conformance_tests!(super::ClusterHarness::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the servers' clock is the machine's",
        life_01: "a node goes down, never the whole",
        life_02: "a node goes down, never the whole",
        life_03: "a node goes down, never the whole",
        life_05: "a node goes down, never the whole",
    });
}
