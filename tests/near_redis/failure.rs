//! Tests of connections that close, freeze or lose packets, and of runtimes that are not driven.

use std::time::{Duration, Instant};

use codex_kv::{KvBackend, NearBackend, SetOptions, redis::RedisBackend};
use codex_testkit::{
    Fault, Proxy,
    redis::{RedisCluster, RedisServer, Value},
    require,
};

use crate::support::{Near, STALENESS, comes_to, keep, near, put, reply, text};

/// Connects a near cache to `server` through a proxy, with short deadlines.
async fn by_proxy(server: &RedisServer, staleness: Duration) -> (Proxy, Near) {
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port()).parse().unwrap()).await;
    let proxy = proxy.unwrap();
    let redis = RedisBackend::builder()
        .url(&format!("redis://{}", proxy.address()))
        .command_timeout(Duration::from_millis(300));
    let builder = NearBackend::builder(redis.build().await.unwrap());
    let near = builder.max_staleness(staleness).build().await.unwrap();
    (proxy, near)
}

#[tokio::test(flavor = "multi_thread")]
async fn near_05_a_black_hole_ends_the_hits_after_max_staleness() {
    let server = require!("redis", RedisServer::start());
    let staleness = Duration::from_millis(600);
    let (proxy, near) = by_proxy(&server, staleness).await;
    put(&near, "k", "old").await;
    keep(&near, "k").await;
    proxy.set_fault(Fault::Stall);
    let since = Instant::now();
    server.command(&["SET", "k", "new"]).unwrap();
    let mut last_hit = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        // An error of the store is allowed.
        if let Ok(value) = near.get("k").await
            && value.as_deref() == Some(b"old")
        {
            last_hit = Instant::now();
        }
    }
    // The 50 ms allow for the time between the last request and the fault.
    assert!(last_hit.duration_since(since) <= staleness + Duration::from_millis(50));
    proxy.set_fault(Fault::None);
    comes_back(&near, "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn near_05_a_frozen_server_ends_the_hits_after_max_staleness() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    put(&near, "k", "old").await;
    keep(&near, "k").await;
    server.pause();
    let since = Instant::now();
    let mut last_hit = since;
    while since.elapsed() < STALENESS + Duration::from_secs(1) {
        if near.get("k").await.is_ok() {
            last_hit = Instant::now();
        }
    }
    server.resume();
    assert!(last_hit.duration_since(since) <= STALENESS + Duration::from_millis(50));
    comes_back(&near, "old").await;
}

async fn comes_back(near: &Near, value: &str) {
    let since = Instant::now();
    while near.get("k").await.ok().flatten().as_deref() != Some(value.as_bytes()) {
        assert!(since.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn near_09_a_lost_connection_drops_everything_and_tracking_comes_back() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    for round in 0..5 {
        let value = round.to_string();
        put(&near, "k", &value).await;
        keep(&near, "k").await;
        let flushes = near.stats().flushes;
        // The push is lost with the connection.
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
        server.command(&["SET", "k", "new"]).unwrap();
        comes_to(&near, "k", Some("new")).await;
        assert!(near.stats().flushes > flushes);
        let since = Instant::now();
        loop {
            let hits = near.stats().hits;
            assert_eq!(text(&near, "k").await.as_deref(), Some("new"));
            if near.stats().hits > hits {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(20), "{:?}", near.stats());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// While a server holds writes back, no tracked connection can be tested, and reads are answered.
#[tokio::test(flavor = "multi_thread")]
async fn near_09_a_test_of_tracking_holds_no_read_up() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    put(&near, "k", "v").await;
    let clients = || reply(&server, &["CLIENT", "LIST"]);
    let since = Instant::now();
    // The two connections of the backend, the tracked connection and that of the test.
    while clients().lines().count() < 4 {
        assert!(since.elapsed() < Duration::from_secs(20));
    }
    keep(&near, "k").await;
    server.command(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
    for line in clients().lines().filter(|line| line.contains(" flags=t ")) {
        let id = line.split(' ').next().unwrap().trim_start_matches("id=");
        server.command(&["CLIENT", "KILL", "ID", id]).unwrap();
    }
    // The server holds back the first command of the transaction that writes the canary.
    let is_waiting = |list: &str| list.contains(" multi=0 ");
    let since = Instant::now();
    while !is_waiting(&clients()) {
        assert!(since.elapsed() < Duration::from_secs(20), "{}", clients());
        assert_eq!(text(&near, "k").await.as_deref(), Some("v"));
    }
    for _ in 0..20 {
        assert_eq!(text(&near, "k").await.as_deref(), Some("v"));
    }
    server.command(&["CLIENT", "UNPAUSE"]).unwrap();
    keep(&near, "k").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn near_02_a_write_whose_future_was_dropped_leaves_nothing_old() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    for round in 0..50_u32 {
        // A new key each time, because a dropped write keeps its key from being cached for a while.
        let key = &format!("k-{round}");
        put(&near, key, "old").await;
        keep(&near, key).await;
        let value = format!("new-{round}");
        {
            let write = near.set(key, value.clone().into(), SetOptions::new());
            let mut write = std::pin::pin!(write);
            // The write is sent and not awaited, unless the reply has already arrived.
            let _ = futures_util::poll!(write.as_mut());
        }
        // Whether or not the write reaches the store, and however late: the near cache and the
        // store come to agree.
        let mut rounds = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let Value::BulkString(stored) = server.command(&["GET", key]).unwrap() else {
                panic!("the key is there")
            };
            if text(&near, key).await.map(String::into_bytes) == Some(stored) {
                break;
            }
            rounds += 1;
            assert!(rounds < 400, "the near cache and the store differ");
        }
    }
}

/// A runtime that is not driven owns the tracked connection. Reads on another runtime use other
/// connections, and then take over the tracked connection.
#[test]
fn near_13_a_runtime_that_is_not_driven_holds_nobody_up() {
    let server = require!("redis", RedisServer::start());
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let staleness = Duration::from_millis(500);
    let near = first.block_on(async {
        let redis = RedisBackend::connect(&server.url()).await.unwrap();
        let near = NearBackend::builder(redis)
            .max_staleness(staleness)
            .build()
            .await
            .unwrap();
        put(&near, "k", "old").await;
        keep(&near, "k").await;
        near
    });
    second.block_on(async {
        server.command(&["SET", "k", "new"]).unwrap();
        server.command(&["SET", "other", "new"]).unwrap();
        let since = Instant::now();
        assert_eq!(text(&near, "other").await.as_deref(), Some("new"));
        assert!(since.elapsed() < Duration::from_millis(400), "{:?}", since.elapsed());
        while text(&near, "k").await.as_deref() == Some("old") {
            assert!(since.elapsed() < staleness + Duration::from_millis(200));
        }
        keep(&near, "k").await;
    });
    first.block_on(async {
        assert_eq!(text(&near, "k").await.as_deref(), Some("new"));
    });
}

/// A late answer does not show that the runtime of the tracked connection is not driven. If it did,
/// the runtimes would take the connection from each other, and nothing would be kept.
#[test]
fn near_13_a_slow_server_does_not_end_the_connection_of_another_runtime() {
    let server = require!("redis", RedisServer::start());
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let (proxy, near) = first.block_on(by_proxy(&server, Duration::from_secs(10)));
    proxy.set_fault(Fault::Delay(Duration::from_millis(110)));
    // On a busy machine, a runtime may seem not to be driven for a while, and a read may be late.
    for round in 0..50 {
        let before = near.stats();
        let mut answered = 0;
        for (at, runtime) in [&first, &second].into_iter().enumerate() {
            let (near, key) = (near.clone(), format!("{round}-{at}"));
            let read = runtime.spawn(async move { near.get(&key).await.is_ok_and(|value| value.is_none()) });
            answered += usize::from(first.block_on(read).unwrap());
        }
        let after = near.stats();
        if answered == 2 && after.flushes == before.flushes && after.refused_fills == before.refused_fills {
            return;
        }
    }
    panic!("the connection changes the runtime each time: {:?}", near.stats());
}

/// While a large value arrives over the tracked connection, nothing else does, and a proof is late.
#[tokio::test(flavor = "multi_thread")]
async fn near_01_a_large_value_arrives_over_a_slow_network() {
    let server = require!("redis", RedisServer::start());
    let (proxy, near) = by_proxy(&server, Duration::from_millis(300)).await;
    let large = "v".repeat(10 << 20);
    server.command(&["SET", "large", &large]).unwrap();
    put(&near, "k", "v").await;
    keep(&near, "k").await;
    // 64 KiB each time, so the value takes more than half a second.
    proxy.set_fault(Fault::Delay(Duration::from_millis(3)));
    // On a busy machine, a deadline may pass before a byte arrives.
    for round in 0..10 {
        let key = format!("large-{round}");
        server.command(&["COPY", "large", &key]).unwrap();
        let flushes = near.stats().flushes;
        let read = tokio::spawn({
            let near = near.clone();
            async move { near.get(&key).await }
        });
        while !read.is_finished() {
            // These reads request the proofs.
            let _ = near.get("k").await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let read = read.await.unwrap();
        if read.is_ok_and(|value| value.as_deref() == Some(large.as_bytes())) && near.stats().flushes == flushes {
            proxy.set_fault(Fault::None);
            keep(&near, "k").await;
            return;
        }
    }
    panic!(
        "the proofs end the connection that carries the value: {:?}",
        near.stats()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn near_05_a_user_that_loses_a_right_reads_no_more_from_memory() {
    let server = require!("redis", RedisServer::start());
    let staleness = Duration::from_millis(150);
    let run = |command: &str| {
        server.command(&command.split(' ').collect::<Vec<_>>()).unwrap();
    };
    run("SET k v");
    for change in [
        "ACL SETUSER app reset",
        "ACL DELUSER app",
        "ACL SETUSER app resetkeys ~codex-kv:near:*",
    ] {
        run("ACL SETUSER app reset on >secret ~* +@all");
        let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
        let redis = RedisBackend::connect(&url).await.unwrap();
        let builder = NearBackend::builder(redis).max_staleness(staleness);
        let near = builder.build().await.unwrap();
        keep(&near, "k").await;
        run(change);
        let (since, mut last_hit) = (Instant::now(), Instant::now());
        while since.elapsed() < staleness * 2 {
            let began = Instant::now();
            if near.get("k").await.is_ok() {
                last_hit = began;
            }
        }
        let shown = last_hit.duration_since(since);
        assert!(shown <= staleness + Duration::from_millis(50), "{change}: {shown:?}");
        assert!(near.get("k").await.is_err(), "{change}");
        if change.ends_with("near:*") {
            run("ACL SETUSER app reset on >secret ~* +@all");
            comes_back(&near, "v").await;
            keep(&near, "k").await;
        }
    }
}

/// Redis 7.0 pushes nothing when another node takes a slot over without its keys, and the epoch
/// stays the same if that node has the highest.
#[tokio::test(flavor = "multi_thread")]
async fn near_09_a_slot_that_another_node_takes_over_is_noticed_by_hits() {
    let cluster = require!("redis", RedisCluster::lease());
    let redis = RedisBackend::connect(&cluster.url()).await.unwrap();
    let builder = NearBackend::builder(redis).max_staleness(Duration::from_millis(300));
    let near = builder.build().await.unwrap();
    let [from, _, to] = cluster.masters() else {
        panic!("there are three masters")
    };
    let key = |tag: &u32| format!("{{{tag}}}k");
    let is_on_first = |tag: &u32| cluster.master_of(key(tag).as_bytes()).port() == from.port();
    let tag = (0..1000).find(is_on_first).unwrap();
    let (key, other) = (key(&tag), format!("{{{tag}}}other"));
    for key in [&key, &other] {
        put(&near, key, "old").await;
        keep(&near, key).await;
    }
    let Ok(Value::Int(slot)) = from.command(&["CLUSTER", "KEYSLOT", &key]) else {
        panic!("a slot is a number")
    };
    let [source, target] = [from, to].map(|node| reply(node, &["CLUSTER", "MYID"]));
    let slot = slot.to_string();
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source])
        .unwrap();
    to.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &target]).unwrap();
    for key in [&key, &other] {
        to.command(&["SET", key, "new"]).unwrap();
    }
    comes_to(&near, &key, Some("new")).await;
    // Everything of the former node is dropped at once.
    assert_eq!(text(&near, &other).await.as_deref(), Some("new"));
    // The slots are no longer those of a new cluster, so no other test may use it.
    cluster.kill_one();
}
