use std::time::{Duration, Instant};

use bytes::Bytes;
use codex_kv::{Expiry, KvBackend, NearBackend, SetOptions, redis::RedisBackend};
use codex_testkit::redis::{RedisServer, Value};

pub(crate) type Near = NearBackend<RedisBackend>;

pub(crate) const STALENESS: Duration = Duration::from_secs(2);

/// Connects a near cache to the server at `url`.
pub(crate) async fn near(url: &str) -> Near {
    near_for(url, STALENESS).await
}

/// Connects a near cache whose answers are valid for a minute without a proof, for tests that count
/// hits. On a busy machine a lease of [`STALENESS`] can end between two calls.
pub(crate) async fn near_for_long(url: &str) -> Near {
    near_for(url, Duration::from_secs(60)).await
}

async fn near_for(url: &str, max_staleness: Duration) -> Near {
    let redis = RedisBackend::connect(url).await.unwrap();
    let builder = NearBackend::builder(redis);
    builder.max_staleness(max_staleness).build().await.unwrap()
}

pub(crate) async fn put(backend: &impl KvBackend, key: &str, value: &str) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let written = backend.set(key, value, SetOptions::new()).await.unwrap();
    assert!(written.is_written());
}

pub(crate) async fn put_for(backend: &impl KvBackend, key: &str, value: &str, life: Duration) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let options = SetOptions::new().with_expiry(Expiry::After(life));
    assert!(backend.set(key, value, options).await.unwrap().is_written());
}

pub(crate) async fn text(backend: &impl KvBackend, key: &str) -> Option<String> {
    let value = backend.get(key).await.unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// Reads a key until it is cached. A fill is refused while the push of an earlier write is in
/// transit, and for `STALENESS` after a dropped write of this key or of a key in the same bucket.
pub(crate) async fn keep(near: &Near, key: &str) -> Option<String> {
    let start = Instant::now();
    while start.elapsed() < STALENESS * 5 {
        let hits = near.stats().hits;
        let value = text(near, key).await;
        if near.stats().hits > hits {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the key is never kept: {:?}", near.stats());
}

/// Reads a key until it has this value, which it must have once the push has arrived.
pub(crate) async fn comes_to(near: &Near, key: &str, expected: Option<&str>) {
    let mut last = None;
    for _ in 0..400 {
        last = text(near, key).await;
        if last.as_deref() == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("expected {expected:?}, got {last:?}");
}

/// Returns the text that the server answers to a command.
pub(crate) fn reply(server: &RedisServer, command: &[&str]) -> String {
    match server.command(command).unwrap() {
        Value::BulkString(text) => String::from_utf8(text).unwrap(),
        Value::VerbatimString { text, .. } => text,
        other => panic!("{other:?}"),
    }
}

/// Returns how many times the server has run a command.
pub(crate) fn calls(server: &RedisServer, command: &str) -> u64 {
    let info = reply(server, &["INFO", "commandstats"]);
    let line = info
        .lines()
        .find(|line| line.starts_with(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| {
        let (_, rest) = line.split_once("calls=").unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    })
}
