//! The contract of `KvBackend`, clause by clause, on a cluster of three masters.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use codex_redis::RedisBackend;
use codex_testkit::{
    Breaker, Foreign, Harness, Outage, OutageKind, Time,
    redis::{ClusterLease, Leased, RedisCluster, Value},
    require::Unavailable,
};

const DEADLINE: Duration = Duration::from_secs(10);

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
    type Backend = Leased<RedisBackend, Arc<ClusterLease>>;

    async fn fresh(&self) -> Self::Backend {
        let cluster = Arc::new(RedisCluster::lease().unwrap());
        *self.last.lock().unwrap() = Some(cluster.clone());
        // Many tests share few cores.
        let settings = RedisBackend::builder().command_timeout(DEADLINE);
        let backend = settings.url(&cluster.url()).build().await.unwrap();
        Leased::new(backend, cluster)
    }

    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(25),
        }
    }

    fn deadline(&self) -> Duration {
        DEADLINE
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

    /// Returns the memory that the nodes keep for their connections, which are all this store's.
    async fn memory_in_use(&self, backend: &Self::Backend) -> Option<u64> {
        let mut sum = 0;
        for master in backend.place().masters() {
            let Value::BulkString(clients) = master.command(&["CLIENT", "LIST"]).ok()? else {
                return None;
            };
            let clients = String::from_utf8(clients).ok()?;
            let memory = |line: &str| {
                line.split(' ')
                    .find_map(|field| field.strip_prefix("tot-mem=")?.parse::<u64>().ok())
            };
            sum += clients.lines().filter_map(memory).sum::<u64>();
        }
        Some(sum)
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

    /// Does nothing: what was on the node is gone; the next store is on another cluster.
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
        life_12: "a node goes down, and no connection",
        life_13: "a node goes down, and no connection",
        life_14: "a node goes down, and no connection",
    });
}
