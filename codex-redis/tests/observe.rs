//! Observability: spans and events with OpenTelemetry's names, and counters.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use codex_redis::RedisBackend;
use codex_testkit::{redis::RedisServer, require};
use codex_traits::{Expiry, KvBackend, OnMissing, SetOptions};
use support::{SECRET, put};
use tokio::runtime::{Builder, Runtime};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Returns a runtime that runs everything, including dials, on the test's own thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

type Fields = BTreeMap<String, String>;

/// Spans and events of this crate.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Fields>>>);

struct Taken<'a>(&'a mut Fields);

impl Visit for Taken<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Seen {
    /// Returns the first span or event with all of these fields.
    #[track_caller]
    fn find(&self, wanted: &[(&str, &str)]) -> Fields {
        let all = self.0.lock().unwrap();
        let is_it = |fields: &&Fields| {
            wanted
                .iter()
                .all(|(name, value)| fields.get(*name).is_some_and(|found| found == value))
        };
        all.iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("{wanted:?} is not in {all:#?}"))
            .clone()
    }
}

impl Subscriber for Seen {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("codex_redis")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::from([("span".to_owned(), span.metadata().name().to_owned())]);
        span.record(&mut Taken(&mut fields));
        let mut all = self.0.lock().unwrap();
        all.push(fields);
        Id::from_u64(all.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let at = usize::try_from(id.into_u64()).unwrap() - 1;
        values.record(&mut Taken(&mut self.0.lock().unwrap()[at]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::from([("level".to_owned(), event.metadata().level().to_string())]);
        event.record(&mut Taken(&mut fields));
        self.0.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Makes calls of every kind.
async fn use_it(server: &RedisServer) {
    let url = format!(
        "redis://127.0.0.1:{}/3?slow_command=0ms&connections=1&command_timeout=5s",
        server.port()
    );
    let backend = RedisBackend::connect(&url).await.unwrap();
    put(&backend, SECRET, SECRET).await;
    for _ in 0..3 {
        backend.get(SECRET).await.unwrap();
    }
    let entries = [("a", SECRET.into()), ("b", SECRET.into())];
    backend.set_many(&entries, Expiry::Never).await.unwrap();
    backend
        .incr(SECRET, 1, OnMissing::Create(Expiry::Never))
        .await
        .unwrap_err();
    backend.del_if_equals("a", SECRET.as_bytes()).await.unwrap();
    {
        let mut dropped = Box::pin(backend.get(SECRET));
        let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(dropped.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
    }
    server.kill();
    assert!(backend.set(SECRET, SECRET.into(), SetOptions::new()).await.is_err());
    assert!(backend.get(SECRET).await.is_err());
}

#[test]
fn spans_and_events_have_the_names_of_the_conventions() {
    let server = require!("redis", RedisServer::start());
    let seen = Seen::default();
    // With a single subscriber, `tracing` asks only the first thread that reaches an event, and may
    // disable the event for all threads.
    let _second = tracing::Dispatch::new(seen.clone());
    tracing::subscriber::with_default(seen.clone(), || runtime().block_on(use_it(&server)));
    let port = server.port().to_string();
    let get = seen.find(&[("span", "redis"), ("db.operation.name", "GET")]);
    for (name, value) in [
        ("otel.kind", "client"),
        ("otel.name", "GET"),
        ("db.system.name", "redis"),
        ("db.namespace", "3"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
    ] {
        assert_eq!(get.get(name).map(String::as_str), Some(value), "{name} of {get:?}");
    }
    for name in ["error.type", "db.response.status_code", "db.operation.batch.size"] {
        assert!(!get.contains_key(name), "{get:?}");
    }
    seen.find(&[("db.operation.name", "PIPELINE SET"), ("db.operation.batch.size", "2")]);
    seen.find(&[
        ("db.operation.name", "INCRBY"),
        ("error.type", "ERR"),
        ("db.response.status_code", "ERR"),
        ("otel.status_code", "ERROR"),
    ]);
    seen.find(&[("db.operation.name", "EVALSHA"), ("error.type", "NOSCRIPT")]);
    for (message, level) in [
        ("connected to Redis", "DEBUG"),
        ("slow Redis command", "WARN"),
        ("sent a Redis command again", "DEBUG"),
        ("no connection to Redis", "WARN"),
    ] {
        let event = seen.find(&[("message", message), ("level", level)]);
        assert_eq!(event["db.system.name"], "redis", "{event:?}");
    }
    let refused = seen.find(&[("message", "no connection to Redis")]);
    assert_eq!(refused["error.type"], "connection");
    let all = format!("{:?}", seen.0.lock().unwrap());
    assert!(!all.contains(SECRET), "{all}");
}

#[cfg(feature = "metrics")]
#[test]
fn calls_dials_and_durations_are_counted() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let server = require!("redis", RedisServer::start());
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || runtime().block_on(use_it(&server)));
    let mut found = BTreeMap::new();
    for (key, unit, text, value) in snapshotter.snapshot().into_vec() {
        let (_, key) = key.into_parts();
        let mut labels: Vec<String> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        labels.sort();
        assert!(unit.is_some() && text.is_some(), "{} is not described", key.name());
        let value = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Gauge(level) => {
                assert!(
                    level.0.abs() < f64::EPSILON,
                    "{} is {level} when all is over",
                    key.name()
                );
                continue;
            }
            DebugValue::Histogram(durations) => {
                let longest = std::time::Duration::from_secs(5).as_secs_f64();
                assert!(durations.iter().all(|duration| (0.0..longest).contains(&duration.0)));
                durations.len() as u64
            }
        };
        found.insert(format!("{} {}", key.name(), labels.join(" ")), value);
    }
    for (name, count) in [
        ("codex.redis.calls outcome=ok verb=get", 3),
        ("codex.redis.calls outcome=dropped verb=get", 1),
        ("codex.redis.calls outcome=ok verb=set", 1),
        ("codex.redis.calls outcome=ok verb=set_many", 1),
        ("codex.redis.calls outcome=refused verb=incr", 1),
        ("codex.redis.calls outcome=connection verb=get", 1),
        ("codex.redis.dials outcome=ok", 1),
        ("codex.redis.sent_again reason=NOSCRIPT", 1),
        (
            "db.client.operation.duration db.operation.name=PIPELINE SET db.system.name=redis",
            1,
        ),
        (
            "db.client.operation.duration db.operation.name=INCRBY db.system.name=redis error.type=ERR",
            1,
        ),
        ("codex.redis.slow_commands verb=incr", 1),
    ] {
        assert_eq!(found.get(name), Some(&count), "{name} of {found:#?}");
    }
    assert!(found.contains_key("codex.redis.dials outcome=connection"), "{found:#?}");
}
