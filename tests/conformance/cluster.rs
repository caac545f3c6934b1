//! The suite of caches over a Redis Cluster: leases and groups need conditions on single keys only.

use std::{sync::Arc, time::Duration};

use codex_kv::{
    redis::RedisBackend,
    testkit::{
        Harness, Time,
        redis::{ClusterLease, Leased, RedisCluster},
        require::Unavailable,
    },
};

struct Cluster;

impl Cluster {
    fn new() -> Result<Self, Unavailable> {
        RedisCluster::lease()?;
        Ok(Self)
    }
}

impl Harness for Cluster {
    type Backend = Leased<RedisBackend, Arc<ClusterLease>>;

    async fn fresh(&self) -> Self::Backend {
        let cluster = Arc::new(RedisCluster::lease().unwrap());
        // Many tests share few cores.
        let settings = RedisBackend::builder().command_timeout(Duration::from_secs(10));
        let backend = settings.url(&cluster.url()).build().await.unwrap();
        Leased::new(backend, cluster)
    }

    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(25),
        }
    }
}

mod cache {
    codex_kv::cache_conformance_tests!(super::Cluster::new(), requires: "redis", skip: {
        cverb_12: "the backend's own suite takes nodes of a cluster out of service",
    });
}
