//! The suite of caches on a Redis Cluster. Leases and groups need conditions on single keys only.

use std::time::Duration;

use codex_kv::{
    Result,
    redis::RedisBackend,
    testkit::{redis::ClusterHarness, require::Unavailable},
};
use futures_util::future::BoxFuture;

type Connect = fn(String) -> BoxFuture<'static, Result<RedisBackend>>;

fn harness() -> std::result::Result<ClusterHarness<Connect>, Unavailable> {
    let connect: Connect = |url| {
        // Many tests share few cores.
        let settings = RedisBackend::builder().command_timeout(Duration::from_secs(10));
        Box::pin(async move { settings.url(&url).build().await })
    };
    ClusterHarness::new(connect)
}

mod cache {
    codex_kv::cache_conformance_tests!(super::harness(), requires: "redis", skip: {
        cverb_12: "the backend's own suite takes nodes of a cluster out of service",
    });
}
