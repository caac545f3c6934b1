//! Tests with several runtimes, including a runtime that is not driven.

use std::{
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_kv::{KvBackend, SetOptions, near::NearBackend, redis::RedisBackend};
use codex_testkit::{redis::RedisServer, require};
use tokio::runtime::{Builder, Runtime};

const MAX_STALENESS: Duration = Duration::from_millis(300);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn near_13_reads_on_another_runtime_are_bounded_while_the_first_is_not_driven() {
    let server = require!("redis", RedisServer::start());
    let first = runtime();
    let near = first.block_on(async {
        let redis = RedisBackend::connect(&server.url()).await.unwrap();
        let near = NearBackend::builder(redis)
            .max_staleness(MAX_STALENESS)
            .build()
            .await
            .unwrap();
        let _ = near.set("k", "old".into(), SetOptions::new()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(near.get("k").await.unwrap(), Some(Bytes::from("old")));
        near
    });
    // From here on the first runtime is not driven.
    server.command(&["SET", "k", "new"]).unwrap();
    let written = Instant::now();
    let second = runtime();
    second.block_on(async {
        loop {
            let value = near.get("k").await;
            let is_over = written.elapsed() > MAX_STALENESS + Duration::from_millis(50);
            let began_late = is_over;
            match value {
                Ok(value) if began_late => {
                    // This read may have begun within the bound, but the next read begins after it.
                    let again = near.get("k").await;
                    assert!(
                        again.is_err() || again.unwrap() == Some(Bytes::from("new")),
                        "{value:?}"
                    );
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            assert!(
                written.elapsed() < Duration::from_secs(20),
                "no answer on the second runtime"
            );
        }
        // A write on this runtime is visible to reads on this runtime.
        let _ = near.set("k", "own".into(), SetOptions::new()).await.unwrap();
        assert_eq!(near.get("k").await.unwrap(), Some(Bytes::from("own")));
    });
    drop(first);
}

#[test]
fn near_13_a_stream_outlives_the_runtime_that_opened_it() {
    let server = require!("redis", RedisServer::start());
    let first = runtime();
    let near = first.block_on(async {
        let redis = RedisBackend::connect(&server.url()).await.unwrap();
        NearBackend::builder(redis)
            .max_staleness(MAX_STALENESS)
            .build()
            .await
            .unwrap()
    });
    drop(first);
    let threads: Vec<_> = (0..3)
        .map(|number| {
            let near = near.clone();
            thread::spawn(move || {
                runtime().block_on(async {
                    let key = format!("k{number}");
                    for version in 0..50 {
                        let value = Bytes::from(version.to_string());
                        let _ = near.set(&key, value.clone(), SetOptions::new()).await.unwrap();
                        assert_eq!(near.get(&key).await.unwrap(), Some(value.clone()));
                        assert_eq!(near.get(&key).await.unwrap(), Some(value));
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
