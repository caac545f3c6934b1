//! Runtimes, dropped clones, and logs.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    fmt::Write as _,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use codex_redis::RedisBackend;
use codex_testkit::{
    redis::{Database, RedisServer},
    require,
};
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing};
use support::{SECRET, every_verb, put};
use tokio::runtime::{Builder, Runtime};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi_thread() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn life_08_a_handle_works_on_several_runtimes_one_after_another() {
    let database = require!("redis", Database::lease());
    let backend = current_thread()
        .block_on(RedisBackend::connect(&database.url()))
        .unwrap();
    for round in 0..6 {
        let runtime = if round % 2 == 0 {
            multi_thread()
        } else {
            current_thread()
        };
        let count = runtime.block_on(backend.incr("n", 1, OnMissing::Create(Expiry::Never)));
        assert_eq!(count.unwrap(), Some(round + 1));
    }
}

#[test]
fn a_handle_works_where_its_first_runtime_is_there_but_not_run() {
    let database = require!("redis", Database::lease());
    let first = current_thread();
    let backend = first.block_on(RedisBackend::connect(&database.url())).unwrap();
    let second = current_thread();
    for round in 0..3 {
        for (runtime, offset) in [(&first, 1), (&second, 2)] {
            let count = runtime.block_on(backend.incr("n", 1, OnMissing::Create(Expiry::Never)));
            assert_eq!(count.unwrap(), Some(round * 2 + offset));
        }
    }
}

#[test]
fn runtimes_that_are_gone_leave_no_connections() {
    let server = require!("redis", RedisServer::start());
    let backend = current_thread().block_on(RedisBackend::connect(&server.url())).unwrap();
    for _ in 0..10 {
        current_thread().block_on(backend.get("k")).unwrap();
    }
    let codex_testkit::redis::Value::BulkString(list) = server.command(&["CLIENT", "LIST"]).unwrap() else {
        panic!()
    };
    let list = String::from_utf8(list).unwrap();
    assert!(
        list.lines().filter(|line| line.contains("name=codex-kv")).count() <= 2,
        "{list}"
    );
}

#[test]
fn outside_a_runtime_a_call_is_an_error_and_no_panic() {
    let database = require!("redis", Database::lease());
    let backend = current_thread()
        .block_on(RedisBackend::connect(&database.url()))
        .unwrap();
    let call = pin!(backend.get("k"));
    let Poll::Ready(result) = call.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits")
    };
    let error = support::assert_kind("get", result, ErrorKind::Config);
    assert!(error.to_string().contains("tokio"), "{error}");
}

#[test]
fn on_a_runtime_that_is_shut_down_a_call_is_an_error_and_no_endless_loop() {
    let database = require!("redis", Database::lease());
    for runtime in [current_thread(), multi_thread()] {
        let backend = runtime.block_on(RedisBackend::connect(&database.url())).unwrap();
        let handle = runtime.handle().clone();
        drop(runtime);
        let error = support::assert_kind("get", handle.block_on(backend.get("k")), ErrorKind::Connection);
        assert!(error.to_string().contains("shut down"), "{error}");
        assert!(!error.may_have_executed(), "{error:?}");
        // Without the budget that `block_on` gives to a task.
        let guard = handle.enter();
        let call = pin!(backend.get("k"));
        let Poll::Ready(result) = call.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits")
        };
        support::assert_kind("get", result, ErrorKind::Connection);
        drop(guard);
        current_thread().block_on(backend.get("k")).unwrap();
    }
}

#[tokio::test]
async fn life_09_a_dropped_clone_and_a_panic_harm_no_other() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.url()).await.unwrap();
    drop(backend.clone());
    let clone = backend.clone();
    let panicked = tokio::spawn(async move {
        put(&clone, "k", Bytes::from_static(b"v")).await;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    assert_eq!(backend.get("k").await.unwrap().unwrap(), "v");
}

#[test]
fn life_07_no_log_line_holds_a_key_a_value_or_a_password() {
    let server = require!("redis", RedisServer::start_with(["--requirepass", SECRET]));
    let log = Log::default();
    // With a single subscriber, `tracing` asks only the first thread that reaches an event, and may
    // disable the event for all threads.
    let _second = tracing::Dispatch::new(log.clone());
    tracing::subscriber::with_default(log.clone(), || {
        current_thread().block_on(async {
            let url = format!("redis://:{SECRET}@127.0.0.1:{}", server.port());
            let built = RedisBackend::builder()
                .url(&url)
                .slow_command(Duration::ZERO)
                .command_timeout(Duration::from_millis(100));
            let backend = built.timeouts_before_redial(1).build().await.unwrap();
            every_verb(&backend).await;
            server.pause();
            every_verb(&backend).await;
            server.kill();
            every_verb(&backend).await;
            assert!(
                RedisBackend::connect(&format!("redis://:{SECRET}@127.0.0.1:{}", server.port()))
                    .await
                    .is_err()
            );
        });
    });
    let text = log.0.lock().unwrap().clone();
    for event in [
        "connected to Redis",
        "slow Redis command",
        "left a connection",
        "no connection to Redis",
    ] {
        assert!(text.contains(event), "{event} is missing in {text}");
    }
    assert!(!text.contains(SECRET), "{text}");
}

/// Everything that this crate logs, as text. Logs of tokio and redis are left out.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("codex")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            let _ = writeln!(self.0.lock().unwrap(), "{field}={value:?}");
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
