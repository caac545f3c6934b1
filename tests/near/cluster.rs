//! Tests of near caches on a Redis Cluster.

use std::time::Duration;

use codex_kv::{Result, near::NearBackend, redis::RedisBackend};
use codex_testkit::{
    near::{Disturbance, NearHarness},
    redis::{RedisCluster, RedisServer, Value},
    require::Unavailable,
};

use crate::server::reads_of;

pub(crate) struct OnCluster {
    cluster: RedisCluster,
    bare: RedisBackend,
}

impl OnCluster {
    pub(crate) async fn start() -> Result<Self, Unavailable> {
        let cluster = RedisCluster::start()?;
        let bare = RedisBackend::connect(&cluster.url()).await;
        let bare = bare.map_err(|error| Unavailable::new(error.to_string()))?;
        Ok(Self { cluster, bare })
    }

    /// Moves the slot of a key to the next master, as an operator does.
    fn move_slot(&self, key: &str) -> bool {
        let masters = self.cluster.masters();
        let from = self.cluster.master_of(key.as_bytes());
        let at = masters
            .iter()
            .position(|master| master.port() == from.port())
            .unwrap_or_default();
        let to = &masters[(at + 1) % masters.len()];
        let Ok(Value::Int(slot)) = from.command(&["CLUSTER", "KEYSLOT", key]) else {
            return false;
        };
        let slot = slot.to_string();
        let id = |server: &RedisServer| match server.command(&["CLUSTER", "MYID"]) {
            Ok(Value::BulkString(id)) => String::from_utf8_lossy(&id).into_owned(),
            _ => String::new(),
        };
        let (source, target) = (id(from), id(to));
        let port = to.port().to_string();
        let steps = [
            to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]),
            from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target]),
            from.command(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]),
            to.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]),
            from.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]),
        ];
        steps.iter().all(Result::is_ok)
    }
}

impl NearHarness for OnCluster {
    type Near = NearBackend<RedisBackend>;
    type Bare = RedisBackend;

    async fn near(&self) -> Result<Self::Near> {
        let redis = RedisBackend::connect(&self.cluster.url()).await?;
        NearBackend::builder(redis)
            .max_staleness(self.max_staleness())
            .build()
            .await
    }

    fn bare(&self) -> RedisBackend {
        self.bare.clone()
    }

    fn below(&self, near: &Self::Near) -> Option<RedisBackend> {
        Some(near.inner().clone())
    }

    fn max_staleness(&self) -> Duration {
        Duration::from_millis(600)
    }

    fn push_time(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(50)
    }

    async fn disturb(&self, disturbance: Disturbance<'_>) -> bool {
        match disturbance {
            Disturbance::Cut => self.cluster.masters().iter().all(|master| {
                master
                    .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
                    .is_ok()
            }),
            Disturbance::FlushAll => self
                .cluster
                .masters()
                .iter()
                .all(|master| master.command(&["FLUSHALL"]).is_ok()),
            Disturbance::MoveKey(key) => self.move_slot(key),
            _ => false,
        }
    }

    fn reads(&self) -> Option<u64> {
        self.cluster.masters().iter().map(reads_of).sum()
    }
}
