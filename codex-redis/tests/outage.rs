//! A server that is down, frozen, full, read-only, or requires a password.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_redis::RedisBackend;
use codex_testkit::{redis::RedisServer, require};
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing, SetOptions};
use support::{READING, SECRET, assert_kind, every_verb, load::Load, put, until};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

async fn connect(server: &RedisServer) -> RedisBackend {
    RedisBackend::connect(&server.url()).await.unwrap()
}

async fn heals(backend: &RedisBackend) {
    until("the handle works again", async || backend.get("k").await.is_ok()).await;
    for (verb, result) in every_verb(backend).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
}

#[tokio::test]
async fn life_01_a_server_that_is_down_is_an_error_for_every_verb_and_the_handle_heals() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    put(&backend, "k", Bytes::from_static(b"v")).await;
    server.kill();
    // The first call may still use the closing connection.
    let _ = backend.get("k").await;
    for (verb, result) in every_verb(&backend).await {
        let error = assert_kind(verb, result, ErrorKind::Connection);
        assert!(error.is_retryable(), "{verb}");
        assert!(!error.may_have_executed(), "{verb} cannot have been sent");
    }
    server.restart();
    heals(&backend).await;
}

#[tokio::test]
async fn a_server_that_is_down_is_told_at_connect() {
    let server = require!("redis", RedisServer::start());
    let (url, unix_url) = (server.url(), server.unix_url());
    drop(server);
    for url in [url, unix_url] {
        let error = assert_kind("connect", RedisBackend::connect(&url).await, ErrorKind::Connection);
        assert_eq!(error.operation(), "connect");
        assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    }
}

#[tokio::test]
async fn life_02_a_frozen_server_is_a_timeout_and_the_handle_heals() {
    let server = require!("redis", RedisServer::start());
    let backend = RedisBackend::builder()
        .url(&server.url())
        .command_timeout(Duration::from_millis(100))
        .timeouts_before_redial(2)
        .build()
        .await
        .unwrap();
    server.pause();
    let start = Instant::now();
    let first = assert_kind(
        "set",
        backend.set("k", "v".into(), SetOptions::new()).await,
        ErrorKind::Timeout,
    );
    assert!(first.may_have_executed(), "it was sent");
    for (verb, result) in every_verb(&backend).await {
        let error = assert_kind(verb, result, ErrorKind::Timeout);
        assert!(error.is_retryable());
    }
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "16 calls of 100 ms took {:?}",
        start.elapsed()
    );
    server.resume();
    heals(&backend).await;
}

/// Every call ends within its deadline, whatever the number of calls. The handle works again soon
/// after the server resumes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_03_calls_on_a_frozen_server_end_in_time_and_the_handle_works_a_second_after_it() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    assert_eq!(backend.health().await.unwrap().servers, 1);
    server.pause();
    let calls: Vec<_> = (0..3000)
        .map(|number| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                let error = backend.get(&format!("key-{number}")).await.unwrap_err();
                (error.kind(), start.elapsed())
            })
        })
        .collect();
    for call in calls {
        let (kind, taken) = call.await.unwrap();
        assert!(matches!(kind, ErrorKind::Timeout | ErrorKind::Connection), "{kind}");
        // 500 ms, and time for a busy machine.
        assert!(taken < Duration::from_secs(1), "{taken:?}");
    }
    assert!(backend.health().await.is_err());
    server.resume();
    let start = Instant::now();
    until("the handle works again", async || backend.get("k").await.is_ok()).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    heals(&backend).await;
}

/// Dials to a frozen server time out. Their failures must not lengthen the pauses between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_long_freeze_under_load_the_handle_works_within_a_second() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..16)
        .map(|number| {
            let (backend, over) = (backend.clone(), over.clone());
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let _ = backend.get(&format!("key-{number}")).await;
                    longest = longest.max(start.elapsed());
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                longest
            })
        })
        .collect();
    server.pause();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(backend.get("k").await.is_err());
    server.resume();
    let start = Instant::now();
    until("the handle works again", async || backend.get("k").await.is_ok()).await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        let longest = caller.await.unwrap();
        // 500 ms, and time for a busy machine.
        assert!(longest < Duration::from_secs(1), "{longest:?}");
    }
    heals(&backend).await;
}

#[tokio::test]
async fn a_frozen_connection_is_left_after_timeouts_in_a_row() {
    let server = require!("redis", RedisServer::start());
    let backend = RedisBackend::builder()
        .url(&server.url())
        .connections(1)
        .command_timeout(Duration::from_millis(100))
        .connect_timeout(Duration::from_millis(200))
        .timeouts_before_redial(2)
        .client_name(Some("frozen"))
        .build()
        .await
        .unwrap();
    let id = || {
        let redis_answer = server.command(&["CLIENT", "LIST"]).unwrap();
        let codex_testkit::redis::Value::BulkString(list) = redis_answer else {
            panic!()
        };
        let list = String::from_utf8(list).unwrap();
        let line = list
            .lines()
            .find(|line| line.contains("name=frozen"))
            .map(str::to_owned);
        line.map(|line| line.split(' ').next().unwrap().to_owned())
    };
    let before = id().unwrap();
    server.pause();
    for _ in 0..2 {
        assert_kind("get", backend.get("k").await, ErrorKind::Timeout);
    }
    server.resume();
    heals(&backend).await;
    let after = id().unwrap();
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_server_that_wants_a_password_is_told_at_connect() {
    let server = require!("redis", RedisServer::start_with(["--requirepass", SECRET]));
    let port = server.port();
    let none = assert_kind("connect", RedisBackend::connect(&server.url()).await, ErrorKind::Config);
    assert!(none.to_string().contains("wants a password"), "{none}");
    for wrong in [
        format!("redis://:{SECRET}2@127.0.0.1:{port}"),
        format!("redis://nobody:{SECRET}@127.0.0.1:{port}/3"),
    ] {
        let error = assert_kind("connect", RedisBackend::connect(&wrong).await, ErrorKind::Config);
        assert!(
            error.to_string().contains("refused the user name or the password"),
            "{error}"
        );
    }
    let right = RedisBackend::connect(&format!("redis://:{SECRET}@127.0.0.1:{port}/3"))
        .await
        .unwrap();
    assert_eq!(right.get("k").await.unwrap(), None);
    assert!(!format!("{right:?}").contains(SECRET), "{right:?}");
    let builder = RedisBackend::builder().tcp("127.0.0.1", port).password(SECRET);
    assert!(!format!("{builder:?}").contains(SECRET), "{builder:?}");
    builder.build().await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_set_later_is_a_refusal_and_the_handle_heals() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    server.command(&["CONFIG", "SET", "requirepass", SECRET]).unwrap();
    server
        .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .unwrap();
    until(
        "the dial is refused",
        async || matches!(backend.get("k").await, Err(error) if error.kind() == ErrorKind::Server),
    )
    .await;
    for (verb, result) in every_verb(&backend).await {
        let error = assert_kind(verb, result, ErrorKind::Server);
        assert!(!error.may_have_executed(), "{verb}");
    }
    server.command(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    heals(&backend).await;
}

#[tokio::test]
async fn a_connection_that_lost_its_rights_is_a_refusal() {
    let server = require!("redis", RedisServer::start());
    server
        .command(&[
            "ACL",
            "SETUSER",
            "app",
            "on",
            &format!(">{SECRET}"),
            "~*",
            "&*",
            "+@all",
        ])
        .unwrap();
    let url = format!("redis://app:{SECRET}@127.0.0.1:{}", server.port());
    let backend = RedisBackend::connect(&url).await.unwrap();
    server.command(&["ACL", "SETUSER", "app", "-@all"]).unwrap();
    for (verb, result) in every_verb(&backend).await {
        let error = assert_kind(verb, result, ErrorKind::Server);
        assert!(
            !error.may_have_executed() && error.to_string().contains("NOPERM"),
            "{verb}: {error}"
        );
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_at_connect() {
    let server = require!("redis", RedisServer::start());
    let url = format!("redis://127.0.0.1:{}/20000", server.port());
    let error = assert_kind("connect", RedisBackend::connect(&url).await, ErrorKind::Config);
    assert!(error.to_string().contains("no database of this number"), "{error}");
}

/// Checks that each reading verb works, and that each writing verb is refused with this code and
/// without effect.
async fn refuses_writes(backend: &RedisBackend, code: &str, but: &[&str]) {
    for (at, (verb, result)) in every_verb(backend).await.into_iter().enumerate() {
        if at < READING || but.contains(&verb) {
            assert!(result.is_ok(), "{verb}: {result:?}");
            continue;
        }
        let error = assert_kind(verb, result, ErrorKind::Server);
        assert!(error.to_string().contains(code), "{verb}: {error}");
        assert!(!error.may_have_executed(), "{verb}");
    }
}

#[tokio::test]
async fn a_read_only_replica_refuses_writes_and_the_handle_heals() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    for (key, value) in [(SECRET, SECRET), ("counter", "1")] {
        put(&backend, key, value).await;
    }
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    // Every writing verb is refused, even if it has nothing to write.
    refuses_writes(&backend, "READONLY", &[]).await;
    assert_eq!(backend.get(SECRET).await.unwrap().unwrap(), SECRET);
    server.command(&["REPLICAOF", "NO", "ONE"]).unwrap();
    heals(&backend).await;
}

#[tokio::test]
async fn a_full_server_refuses_writes_and_the_handle_heals() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    for (key, value) in [(SECRET, SECRET), ("counter", "1")] {
        put(&backend, key, value).await;
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    // Redis refuses commands that may take memory. It runs commands that free memory or only change
    // an expiry.
    let free = ["del_if_equals", "expire", "expire never", "del", "del_matching"];
    for (verb, result) in every_verb(&backend).await.into_iter().skip(READING) {
        if result.is_ok() {
            assert!(free.contains(&verb), "{verb}");
            continue;
        }
        let error = assert_kind(verb, result, ErrorKind::Server);
        assert!(
            error.to_string().contains("OOM") && !error.may_have_executed(),
            "{verb}: {error:?}"
        );
    }
    assert_eq!(backend.get("counter").await.unwrap().unwrap(), "1");
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    heals(&backend).await;
}

#[tokio::test]
async fn a_server_without_enough_replicas_refuses_writes() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    for (key, value) in [(SECRET, SECRET), ("counter", "1")] {
        put(&backend, key, value).await;
    }
    server
        .command(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .unwrap();
    refuses_writes(&backend, "NOREPLICAS", &[]).await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    for _ in 0..3 {
        assert_eq!(
            backend
                .incr("n", 1, OnMissing::Create(Expiry::After(Duration::from_secs(9))))
                .await
                .unwrap(),
            Some(1)
        );
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
        assert!(backend.del_if_equals("n", b"1").await.unwrap());
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    for round in 0..20 {
        server
            .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .unwrap();
        // The close may arrive after the call was sent. The call then fails, and never returns
        // another answer.
        match backend
            .set("k", Bytes::from(round.to_string()), SetOptions::new())
            .await
        {
            Ok(_) => assert_eq!(backend.get("k").await.unwrap().unwrap(), round.to_string()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}"),
        }
    }
    heals(&backend).await;
}

/// A firewall can forget an idle connection: it drops all packets, and neither end is notified. New
/// connections work.
#[tokio::test]
async fn an_idle_connection_that_was_cut_silently_is_replaced_within_three_deadlines() {
    let server = require!("redis", RedisServer::start());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let port = server.port();
    let (cut, _) = watch::channel(0);
    let cuts = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cut = cuts.subscribe();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    // Both ends stay open.
                    _ = cut.changed() => std::future::pending().await,
                }
            });
        }
    });
    let deadline = Duration::from_millis(200);
    let backend = RedisBackend::builder()
        .url(&url)
        .command_timeout(deadline)
        .build()
        .await
        .unwrap();
    put(&backend, "k", "v").await;
    for round in 1..=3 {
        cut.send_replace(round);
        let start = Instant::now();
        let mut late = 0;
        while let Err(error) = backend.get("k").await {
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            late += 1;
        }
        assert!(late <= 3, "{late} calls were lost");
        // The rest allows for a busy machine.
        assert!(
            start.elapsed() < deadline * 3 + Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
}

/// The same handle works again each time, and each call has reported its outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_befalls_a_server_under_load_is_survived_and_nothing_runs_twice() {
    let server = require!("redis", RedisServer::start());
    let backend = connect(&server).await;
    let load = Load::start(&backend);
    load.all_write(Instant::now()).await;
    for _ in 0..5 {
        server.command(&["SCRIPT", "FLUSH"]).unwrap();
        server
            .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .unwrap();
        let taken = load.all_write(Instant::now()).await;
        assert!(taken < Duration::from_secs(1), "{taken:?}");
    }
    // A password that new connections require, and that is then removed.
    server.command(&["CONFIG", "SET", "requirepass", SECRET]).unwrap();
    server
        .command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        .unwrap();
    until("a dial is refused", async || backend.get("k").await.is_err()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.command(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    // The longest back-off by then is 400 ms. The rest is time for a busy machine.
    let taken = load.all_write(Instant::now()).await;
    assert!(taken < Duration::from_millis(1500), "{taken:?}");
    server.pause();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.resume();
    let taken = load.all_write(Instant::now()).await;
    assert!(taken < Duration::from_secs(1), "{taken:?}");
    let account = load.end(&backend).await;
    account.assert_true();
    assert_eq!(account.lost, 0, "the server has not died: {account:?}");
    assert!(account.unknown > 0 && account.not_executed > 0, "{account:?}");
}
