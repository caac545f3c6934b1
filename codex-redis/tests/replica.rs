//! A read-only replica refuses calls that would write.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use codex_redis::RedisBackend;
use codex_testkit::{redis::RedisServer, require};
use codex_traits::{Condition, ErrorKind, KvBackend, OnMissing, SetOptions};

#[tokio::test]
async fn a_read_only_replica_refuses_every_conditional_write() {
    let primary = require!("redis", RedisServer::start());
    let port = primary.port().to_string();
    let replica = require!("redis", RedisServer::start_with(["--replicaof", "127.0.0.1", &port]));
    let written = RedisBackend::connect(&primary.url()).await.unwrap();
    support::put(&written, "held", "v").await;
    let backend = RedisBackend::connect(&replica.url()).await.unwrap();
    support::until("the replica has the key", async || {
        matches!(backend.get("held").await, Ok(Some(_)))
    })
    .await;
    let equals = |value: &'static str| SetOptions::new().with_condition(Condition::IfEquals(value.into()));
    for (what, result) in [
        (
            "set on a missing key",
            backend.set("missing", "w".into(), equals("v")).await.map(drop),
        ),
        (
            "set on another value",
            backend.set("held", "w".into(), equals("x")).await.map(drop),
        ),
        (
            "set on the value",
            backend.set("held", "w".into(), equals("v")).await.map(drop),
        ),
        (
            "del of a missing key",
            backend.del_if_equals("missing", b"v").await.map(drop),
        ),
        (
            "del of another value",
            backend.del_if_equals("held", b"x").await.map(drop),
        ),
        ("del of the value", backend.del_if_equals("held", b"v").await.map(drop)),
        (
            "incr of a missing key",
            backend.incr("missing", 1, OnMissing::Refuse).await.map(drop),
        ),
    ] {
        let error = support::assert_kind(what, result, ErrorKind::Server);
        assert!(error.to_string().contains("READONLY"), "{what}: {error}");
        assert!(!error.may_have_executed(), "{what}: {error:?}");
    }
}
