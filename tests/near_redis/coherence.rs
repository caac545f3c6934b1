//! Tests of changes by other clients and by the near cache itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_kv::{Expiry, KvBackend, NearBackend, OnMissing, Pattern, ScanRequest, SetOptions, Ttl, redis::RedisBackend};
use codex_testkit::{
    redis::{RedisServer, Value},
    require,
};

use crate::support::{STALENESS, calls, comes_to, keep, near, near_for_long, put, put_for, reply, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_value_costs_the_server_nothing() {
    let server = require!("redis", RedisServer::start());
    let near = near_for_long(&server.url()).await;
    put(&near, "k", "v").await;
    assert_eq!(keep(&near, "k").await.as_deref(), Some("v"));
    let before = calls(&server, "get");
    for _ in 0..1000 {
        assert_eq!(text(&near.clone(), "k").await.as_deref(), Some("v"));
    }
    // The lease may have been renewed meanwhile, but a renewal is not a GET.
    assert_eq!(calls(&server, "get"), before);
    assert!(near.stats().hits >= 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn near_04_a_write_of_anyone_else_is_seen_after_its_push() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    let run = |command: &[&str]| {
        server.command(command).unwrap();
    };
    put(&near, "k", "1").await;
    keep(&near, "k").await;
    run(&["SET", "k", "2"]);
    comes_to(&near, "k", Some("2")).await;
    keep(&near, "k").await;
    run(&["RENAME", "k", "other"]);
    comes_to(&near, "k", None).await;
    keep(&near, "k").await;
    run(&["EVAL", "return redis.call('SET', KEYS[1], '3')", "1", "k"]);
    comes_to(&near, "k", Some("3")).await;
    keep(&near, "k").await;
    run(&["MOVE", "k", "1"]);
    comes_to(&near, "k", None).await;
    run(&["SET", "k", "4"]);
    comes_to(&near, "k", Some("4")).await;
    keep(&near, "k").await;
    run(&["FLUSHALL"]);
    comes_to(&near, "k", None).await;
    let renamed = near.stats();
    assert!(renamed.invalidations >= 4 && renamed.flushes >= 2, "{renamed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn near_04_each_kind_of_command_that_changes_a_value_is_seen() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    let run = |command: &str| server.command(&command.split(' ').collect::<Vec<_>>()).unwrap();
    let Value::BulkString(dump) = ({
        run("SET o restored");
        run("DUMP o")
    }) else {
        panic!("the key is there")
    };
    for (commands, expected) in [
        ("GETDEL k", None),
        ("EXPIRE k -1", None),
        ("EXPIREAT k 1", None),
        ("SETRANGE k 0 2", Some("2")),
        ("APPEND k 2", Some("12")),
        ("GETSET k 2", Some("2")),
        ("INCRBYFLOAT k 0.5", Some("1.5")),
        ("SETBIT k 6 1", Some("3")),
        ("BITFIELD k SET u8 0 50", Some("2")),
        ("SET o 2|COPY o k REPLACE", Some("2")),
        ("SET o 2|RENAME o k", Some("2")),
        ("DEL o|RENAMENX k o", None),
        ("SELECT 1|SET o 2|COPY o k DB 0 REPLACE|SELECT 0", Some("2")),
        ("SET o 2|BITOP AND k o o", Some("2")),
        ("BITOP NOT k missing", None),
        ("SORT missing STORE k", None),
        ("SUNIONSTORE k missing", None),
        ("MULTI|SET k 2|SET o 2|EXEC", Some("2")),
        ("FLUSHDB ASYNC", None),
        ("SELECT 1|FLUSHALL ASYNC|SELECT 0|SET k 2", Some("2")),
    ] {
        run("SET k 1");
        // The push of the last round may not have arrived.
        comes_to(&near, "k", Some("1")).await;
        assert_eq!(keep(&near, "k").await.as_deref(), Some("1"), "{commands}");
        for command in commands.split('|') {
            run(command);
        }
        comes_to(&near, "k", expected).await;
        assert_eq!(keep(&near, "k").await.as_deref(), expected, "{commands}");
    }
    server
        .command(&[b"RESTORE", &b"k"[..], b"0", &dump, b"REPLACE"])
        .unwrap();
    comes_to(&near, "k", Some("restored")).await;
    // The remaining time is kept with the value.
    for (command, expected) in [
        ("PEXPIRE k 60000", true),
        ("GETEX k PERSIST", false),
        ("GETEX k PX 60000", true),
        ("PERSIST k", false),
    ] {
        keep(&near, "k").await;
        run(command);
        let since = Instant::now();
        loop {
            let found = near.get_with_ttl("k").await.unwrap();
            if matches!(found, Some((_, Ttl::Remaining(_)))) == expected {
                break;
            }
            assert!(since.elapsed() < Duration::from_secs(5), "{command}: {found:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn near_04_a_key_that_holds_another_type_is_an_error_until_it_is_replaced() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    put(&near, "k", "v").await;
    keep(&near, "k").await;
    server.command(&["DEL", "k"]).unwrap();
    server.command(&["RPUSH", "k", "x"]).unwrap();
    let since = Instant::now();
    while near.get("k").await.is_ok() {
        assert!(since.elapsed() < Duration::from_secs(5));
    }
    let plain = near.inner().get("k").await.unwrap_err();
    assert_eq!(near.get("k").await.unwrap_err().kind(), plain.kind());
    assert_eq!(near.get_with_ttl("k").await.unwrap_err().kind(), plain.kind());
    assert_eq!(near.get_many(&["k", "missing"]).await.unwrap(), [None, None]);
    server.command(&["SET", "k", "new"]).unwrap();
    comes_to(&near, "k", Some("new")).await;
    assert_eq!(keep(&near, "k").await.as_deref(), Some("new"));
}

/// A server with room for a single tracked key invalidates the others at random.
#[tokio::test(flavor = "multi_thread")]
async fn near_04_a_small_tracking_table_hides_no_change() {
    let server = require!("redis", RedisServer::start_with(["--tracking-table-max-keys", "1"]));
    let near = near(&server.url()).await;
    for round in 0..5 {
        let value = round.to_string();
        for key in ["a", "b", "c", "d"] {
            put(near.inner(), key, &value).await;
        }
        for key in ["a", "b", "c", "d"] {
            comes_to(&near, key, Some(&value)).await;
            text(&near, key).await;
        }
        let table = if round % 2 == 0 { "1000" } else { "1" };
        server
            .command(&["CONFIG", "SET", "tracking-table-max-keys", table])
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn near_04_a_value_that_the_server_evicted_is_missing() {
    const KEYS: usize = 400;
    let server = require!(
        "redis",
        RedisServer::start_with(["--maxmemory-policy", "allkeys-random"])
    );
    let near = near(&server.url()).await;
    let memory = reply(&server, &["INFO", "memory"]);
    let used: usize = memory
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:")?.parse().ok())
        .unwrap();
    let limit = (used + (1 << 20)).to_string();
    server.command(&["CONFIG", "SET", "maxmemory", &limit]).unwrap();
    for at in 0..KEYS {
        let key = format!("key-{at}");
        let _ = near
            .inner()
            .set(&key, vec![b'v'; 10_000].into(), SetOptions::new())
            .await
            .unwrap();
        text(&near, &key).await;
    }
    let plain = near.inner().clone();
    let mut evicted = 0;
    for at in 0..KEYS {
        let key = format!("key-{at}");
        let stored = text(&plain, &key).await;
        evicted += usize::from(stored.is_none());
        comes_to(&near, &key, stored.as_deref()).await;
    }
    assert!(
        evicted > KEYS / 4 && near.stats().hits > 0,
        "{evicted} {:?}",
        near.stats()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn near_02_no_read_after_an_answered_write_shows_an_older_state() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    let clone = near.clone();
    for round in 0..300_u32 {
        let value = round.to_string();
        match round % 4 {
            0 => put(&near, "k", &value).await,
            1 => near
                .set_many(&[("k", value.clone().into())], Expiry::Never)
                .await
                .unwrap(),
            2 => {
                let options = SetOptions::if_present();
                assert!(near.set("k", value.clone().into(), options).await.unwrap().is_written());
            }
            _ => {
                near.del(&["k"]).await.unwrap();
                let options = OnMissing::Create(Expiry::Never);
                assert_eq!(near.incr("k", round.into(), options).await.unwrap(), Some(round.into()));
            }
        }
        for _ in 0..3 {
            assert_eq!(text(&clone, "k").await, Some(value.clone()));
        }
    }
    near.del_matching(&Pattern::prefix("k")).await.unwrap();
    assert_eq!(text(&clone, "k").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn near_07_a_kept_value_does_not_outlive_its_time() {
    let server = require!("redis", RedisServer::start_with(["--enable-debug-command", "yes"]));
    let near = near(&server.url()).await;
    // The server's active expiry is disabled, so that no push announces the expiry.
    server.command(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).unwrap();
    let life = Duration::from_millis(400);
    let began = std::time::Instant::now();
    put_for(&near, "k", "v", life).await;
    while text(&near, "k").await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    // The server's clock has a resolution of a millisecond.
    assert!(began.elapsed() + Duration::from_millis(1) >= life);
    assert_eq!(near.get_with_ttl("k").await.unwrap(), None);
    put_for(&near, "k", "v", Duration::from_secs(60)).await;
    keep(&near, "k").await;
    let Some((_, Ttl::Remaining(left))) = near.get_with_ttl("k").await.unwrap() else {
        panic!("the key has a time to live")
    };
    assert!(
        left <= Duration::from_secs(60) && left > Duration::from_secs(50),
        "{left:?}"
    );
}

/// The clause counts from the sending of the request, so that a slow read never extends the time.
#[tokio::test(flavor = "multi_thread")]
async fn near_07_a_kept_time_to_live_is_too_short_by_at_most_the_duration_of_its_read() {
    let server = require!("redis", RedisServer::start());
    let near = near_for_long(&server.url()).await;
    put_for(&near, "k", "v", Duration::from_secs(60)).await;
    keep(&near, "k").await;
    // Drops the kept answer.
    near.ttl("k").await.unwrap();

    server.pause();
    let began = Instant::now();
    let read = tokio::spawn({
        let near = near.clone();
        async move { near.get("k").await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.resume();
    assert!(read.await.unwrap().unwrap().is_some());
    let took = began.elapsed();

    let hits = near.stats().hits;
    let Some((_, Ttl::Remaining(kept))) = near.get_with_ttl("k").await.unwrap() else {
        panic!("the key has a time to live")
    };
    assert_eq!(near.stats().hits, hits + 1);
    let asked = Instant::now();
    let Ttl::Remaining(left) = near.inner().ttl("k").await.unwrap() else {
        panic!("the key has a time to live")
    };
    // The server's clock has a resolution of a millisecond.
    let millisecond = Duration::from_millis(1);
    assert!(kept <= left + asked.elapsed() + millisecond, "{kept:?}, {left:?}");
    assert!(left <= kept + took + millisecond, "{kept:?}, {left:?}, {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn near_08_what_bypasses_the_memory_drops_what_it_touches() {
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    put(&near, "k", "v").await;
    keep(&near, "k").await;
    let gets = calls(&server, "get");
    assert_eq!(near.ttl("k").await.unwrap(), Ttl::Persistent);
    text(&near, "k").await;
    assert_eq!(calls(&server, "get"), gets + 1);
    keep(&near, "k").await;
    let gets = calls(&server, "get");
    let page = near.scan(ScanRequest::new(&Pattern::glob("*"))).await.unwrap();
    assert_eq!(page.keys, ["k"]);
    text(&near, "k").await;
    assert_eq!(calls(&server, "get"), gets + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn near_10_memory_is_bounded_and_large_values_are_not_kept() {
    let server = require!("redis", RedisServer::start());
    let redis = RedisBackend::connect(&server.url()).await.unwrap();
    let builder = NearBackend::builder(redis).max_bytes(256 << 10).max_value_bytes(1000);
    let near = builder.max_staleness(STALENESS).build().await.unwrap();
    let plain = RedisBackend::connect(&server.url()).await.unwrap();
    for at in 0..2000 {
        put(&plain, &format!("key-{at}"), &"v".repeat(500)).await;
    }
    for at in 0..2000 {
        text(&near, &format!("key-{at}")).await;
    }
    let stats = near.stats();
    assert!(stats.bytes > 64 << 10 && stats.bytes <= 256 << 10, "{stats:?}");
    put(&plain, "large", &"v".repeat(1001)).await;
    for _ in 0..5 {
        assert_eq!(text(&near, "large").await.map(|value| value.len()), Some(1001));
    }
    assert_eq!(near.stats().hits, stats.hits);
    put(&plain, "large", "small").await;
    comes_to(&near, "large", Some("small")).await;
    keep(&near, "large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn near_11_many_keys_are_taken_from_memory_and_the_store_in_order() {
    let server = require!("redis", RedisServer::start());
    let near = near_for_long(&server.url()).await;
    for key in ["a", "b", "c"] {
        put(&near, key, key).await;
    }
    server.command(&["RPUSH", "list", "x"]).unwrap();
    keep(&near, "b").await;
    let (gets, before) = (calls(&server, "get"), near.stats());
    let values = near.get_many(&["c", "b", "missing", "a", "list", "b"]).await.unwrap();
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    assert_eq!(
        values,
        [Some(&b"c"[..]), Some(b"b"), None, Some(b"a"), None, Some(b"b")]
    );
    assert_eq!(calls(&server, "get"), gets + 4);
    let after = near.stats();
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (2, 4));
}

/// A large batch is read in several requests. What exceeds them is read over other connections, and
/// kept by later batches.
#[tokio::test(flavor = "multi_thread")]
async fn near_11_the_answers_of_a_large_batch_are_kept() {
    let server = require!("redis", RedisServer::start());
    let near = near_for_long(&server.url()).await;
    for (count, length, most) in [(20_000, 10, 1), (1500, 2000, 20)] {
        let keys: Vec<String> = (0..count).map(|at| format!("{at:length$}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        // One key in ten is missing.
        let is_stored = |at: usize| !at.is_multiple_of(10);
        let entries: Vec<(&str, Bytes)> = (0..count)
            .filter(|at| is_stored(*at))
            .map(|at| (keys[at], at.to_string().into()))
            .collect();
        near.inner().set_many(&entries, Expiry::Never).await.unwrap();
        let (mut calls, mut hits) = (0, 0);
        while hits < count as u64 {
            assert!(calls <= most, "after {calls} calls, {hits} of {count} are hits");
            let before = near.stats().hits;
            let values = near.get_many(&keys).await.unwrap();
            for (at, value) in values.into_iter().enumerate() {
                let expected = is_stored(at).then(|| Bytes::from(at.to_string()));
                assert_eq!(value, expected);
            }
            hits = near.stats().hits - before;
            calls += 1;
        }
    }
}

/// Each key has a single writer, which counts up. The test fails if a reader sees a smaller number
/// than before, or if a key stays behind. Without the check of generations it fails within seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn near_03_reads_never_go_back_and_nothing_stays_behind() {
    const KEYS: usize = 8;
    const ROUNDS: u64 = 1500;
    let server = require!("redis", RedisServer::start());
    let near = near(&server.url()).await;
    let plain = RedisBackend::connect(&server.url()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let mut readers = Vec::new();
    for task in 0..16_usize {
        let (near, done, reads) = (near.clone(), Arc::clone(&done), Arc::clone(&reads));
        readers.push(tokio::spawn(async move {
            let mut seen = [0_u64; KEYS];
            let mut at = task;
            while !done.load(Ordering::Relaxed) {
                at = (at * 7 + 3) % KEYS;
                let number = number(near.get(&format!("key-{at}")).await.unwrap());
                assert!(number >= seen[at], "key {at} went back from {} to {number}", seen[at]);
                seen[at] = number;
                if reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(8) {
                    tokio::task::yield_now().await;
                }
            }
        }));
    }
    let mut writers = Vec::new();
    for key in 0..KEYS {
        let (near, plain) = (near.clone(), plain.clone());
        writers.push(tokio::spawn(async move {
            let name = format!("key-{key}");
            for round in 1..=ROUNDS {
                let value = Bytes::from(round.to_string());
                if round % 8 == 0 {
                    let _ = near.set(&name, value, SetOptions::new()).await.unwrap();
                    assert!(number(near.get(&name).await.unwrap()) >= round);
                } else {
                    let _ = plain.set(&name, value, SetOptions::new()).await.unwrap();
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
    // A later flush would hide wrongly cached values, so check before one can happen.
    for key in 0..KEYS {
        comes_to(&near, &format!("key-{key}"), Some(&ROUNDS.to_string())).await;
    }
    let stats = near.stats();
    assert!(stats.hits > 1000 && stats.invalidations > 100, "{stats:?}");
}

fn number(value: Option<Bytes>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(&value).unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_beside_a_write_of_the_same_handle_asks_for_the_value_only() {
    let server = require!("redis", RedisServer::start());
    let redis = RedisBackend::connect(&server.url()).await.unwrap();
    // A proof, which asks for a time to live too, is not due within the test.
    let builder = NearBackend::builder(redis).max_staleness(Duration::from_secs(600));
    let near = builder.build().await.unwrap();
    put(&near, "k", "1").await;
    keep(&near, "k").await;
    let (asked, refused) = (calls(&server, "pttl"), near.stats().refused_fills);
    // The frozen server keeps the write from ending before the read begins.
    server.pause();
    let ((), value, ()) = tokio::join!(biased; put(&near, "k", "2"), text(&near, "k"), async { server.resume() });
    assert!(matches!(value.as_deref(), Some("1" | "2")), "{value:?}");
    assert_eq!(calls(&server, "pttl"), asked);
    assert_eq!(near.stats().refused_fills, refused + 1);
    assert_eq!(keep(&near, "k").await.as_deref(), Some("2"));
    assert!(calls(&server, "pttl") > asked);
}
