//! The contract of `KvBackend`, clause by clause, on a cluster of three masters.
use std::time::Duration;

use codex_redis::RedisBackend;
use codex_testkit::{redis::ClusterHarness, require::Unavailable};
use futures_util::future::BoxFuture;

/// Long, because many tests share few cores.
const DEADLINE: Duration = Duration::from_secs(10);

type Connect = fn(String) -> BoxFuture<'static, codex_traits::Result<RedisBackend>>;

fn harness() -> Result<ClusterHarness<Connect>, Unavailable> {
    let connect: Connect = |url| {
        let settings = RedisBackend::builder().command_timeout(DEADLINE).url(&url);
        Box::pin(async move { settings.build().await })
    };
    Ok(ClusterHarness::new(connect)?.with_deadline(DEADLINE))
}

mod cluster {
    codex_testkit::conformance_tests!(super::harness(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the servers' clock is the machine's",
        life_01: "a node goes down, never the whole cluster",
        life_02: "a node goes down, never the whole cluster",
        life_03: "a node goes down, never the whole cluster",
        life_05: "a node goes down, never the whole cluster",
        life_12: "a node goes down, not a connection",
        life_13: "a node goes down, not a connection",
        life_14: "a node goes down, not a connection",
    });
}
