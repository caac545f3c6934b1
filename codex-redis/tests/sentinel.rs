//! The primary that Sentinels name: the handle finds it and follows it through fail-overs, and no
//! write is applied twice.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::time::{Duration, Instant};

use codex_redis::RedisBackend;
use codex_testkit::{
    redis::{RedisSentinel, RedisServer},
    require,
};
use codex_traits::{ErrorKind, KvBackend, SetOptions};
use support::{SECRET, assert_kind, every_verb, load::Load, put, until};

/// Waits until the same handle writes again, and returns how long that took.
async fn writes_again(backend: &RedisBackend) -> Duration {
    let start = Instant::now();
    until("the handle writes again", async || {
        let written = backend.set("again", "1".into(), SetOptions::new()).await;
        written.is_ok()
    })
    .await;
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fail_over_by_command_is_followed() {
    let fixture = require!("redis", RedisSentinel::start());
    let backend = RedisBackend::connect(&fixture.url()).await.unwrap();
    put(&backend, "k", "v").await;
    let old = fixture.primary().unwrap().port();
    until("the replica has it", async || {
        fixture
            .servers()
            .iter()
            .all(|server| server.command(&["EXISTS", "k"]).unwrap() == codex_testkit::redis::Value::Int(1))
    })
    .await;
    fixture.sentinels()[0]
        .command(&["SENTINEL", "FAILOVER", RedisSentinel::NAME])
        .unwrap();
    until("another is the primary", async || {
        fixture.primary().is_some_and(|primary| primary.port() != old)
    })
    .await;
    // The old primary accepts writes until it is demoted, and loses them. The write is repeated
    // until it arrives at the new primary.
    let primary = fixture.primary().unwrap();
    let start = Instant::now();
    until("a write arrives at the new primary", async || {
        let written = backend.set("again", "1".into(), SetOptions::new()).await;
        // The fixture's own connection was cut by the fail-over.
        let found = primary.command(&["EXISTS", "again"]);
        written.is_ok() && found.is_ok_and(|found| found == codex_testkit::redis::Value::Int(1))
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(backend.get("k").await.unwrap().unwrap(), "v");
    for (verb, result) in every_verb(&backend).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_primary_under_load_is_followed_and_nothing_runs_twice() {
    let fixture = require!("redis", RedisSentinel::start());
    let backend = RedisBackend::connect(&fixture.url()).await.unwrap();
    let load = Load::start(&backend);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let old = fixture.primary().unwrap();
    let start = Instant::now();
    old.kill();
    until("the Sentinels have elected another", async || {
        fixture.primary().is_some_and(|primary| primary.port() != old.port())
    })
    .await;
    let detected = start.elapsed();
    let taken = writes_again(&backend).await;
    assert!(
        taken < Duration::from_secs(1),
        "{taken:?} after an election of {detected:?}"
    );
    let account = load.end(&backend).await;
    account.assert_true();
    assert!(
        account.not_executed > 0,
        "no call was refused while there was no primary"
    );
}

#[tokio::test]
async fn what_is_wrong_with_sentinels_is_told_at_connect() {
    let fixture = require!("redis", RedisSentinel::start());
    let unknown = fixture.url().replace("/main/", "/other/");
    let error = assert_kind("connect", RedisBackend::connect(&unknown).await, ErrorKind::Config);
    assert!(error.to_string().contains("know no primary of this name"), "{error}");

    // One Sentinel of three is enough.
    let [first, second, third] = fixture.sentinels() else {
        panic!()
    };
    first.kill();
    second.pause();
    let start = Instant::now();
    let backend = RedisBackend::connect(&fixture.url()).await.unwrap();
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    put(&backend, "k", "v").await;
    third.kill();
    assert_eq!(backend.get("k").await.unwrap().unwrap(), "v");
    let error = assert_kind(
        "connect",
        RedisBackend::connect(&fixture.url()).await,
        ErrorKind::Connection,
    );
    assert!(error.to_string().contains("no Sentinel"), "{error}");

    // A plain server is no Sentinel.
    let plain = require!("redis", RedisServer::start());
    let url = format!("redis-sentinel://:{SECRET}@127.0.0.1:{}/main", plain.port());
    assert!(RedisBackend::connect(&url).await.is_err());
}

#[tokio::test]
async fn passwords_of_servers_and_of_sentinels_are_two() {
    let fixture = require!("redis", RedisSentinel::start());
    for sentinel in fixture.sentinels() {
        sentinel.command(&["CONFIG", "SET", "requirepass", SECRET]).ok();
        sentinel
            .command(&["ACL", "SETUSER", "default", "on", &format!(">{SECRET}")])
            .unwrap();
    }
    let error = assert_kind(
        "connect",
        RedisBackend::connect(&fixture.url()).await,
        ErrorKind::Config,
    );
    assert!(error.to_string().contains("password"), "{error}");
    let builder = RedisBackend::builder().url(&fixture.url()).sentinel_password(SECRET);
    assert!(!format!("{builder:?}").contains(SECRET));
    let backend = builder.build().await.unwrap();
    assert!(!format!("{backend:?}").contains(SECRET));
    put(&backend, "k", "v").await;
}
