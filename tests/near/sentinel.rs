//! A test of a failover through Sentinel that closes no connection of the old primary.

use std::time::{Duration, Instant};

use bytes::Bytes;
use codex_kv::{KvBackend, SetOptions, near::NearBackend, redis::RedisBackend};
use codex_testkit::{redis::RedisSentinel, require};
use tokio::time::sleep;

const MAX_STALENESS: Duration = Duration::from_millis(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_05_near_09_a_demoted_primary_is_left_within_the_bound() {
    let sentinels = require!("redis", RedisSentinel::start());
    let redis = RedisBackend::connect(&sentinels.url()).await.unwrap();
    let near = NearBackend::builder(redis)
        .max_staleness(MAX_STALENESS)
        .build()
        .await
        .unwrap();
    let old = sentinels.primary().expect("a primary").port();
    let _ = near.set("k", "old".into(), SetOptions::new()).await.unwrap();
    for _ in 0..20 {
        assert_eq!(near.get("k").await.unwrap(), Some(Bytes::from("old")));
        sleep(Duration::from_millis(5)).await;
    }

    sentinels.sentinels()[0]
        .command(&["SENTINEL", "FAILOVER", RedisSentinel::NAME])
        .unwrap();
    let started = Instant::now();
    // Read continuously: after an idle period, the near cache would go to the store.
    let new = loop {
        let _ = near.get("k").await;
        match sentinels.primary() {
            Some(primary) if primary.port() != old && primary.command(&["SET", "k", "new"]).is_ok() => break primary,
            _ => assert!(started.elapsed() < Duration::from_secs(30), "there was no fail-over"),
        }
        sleep(Duration::from_millis(5)).await;
    };
    let written = Instant::now();
    while written.elapsed() <= MAX_STALENESS + Duration::from_millis(50) {
        let _ = near.get("k").await;
        sleep(Duration::from_millis(5)).await;
    }
    // A failed read returns no stale value.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match near.get("k").await {
            Ok(value) => {
                assert_eq!(
                    value,
                    Some(Bytes::from("new")),
                    "{:?} after the write",
                    written.elapsed()
                );
                break;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
    // The near cache is coherent on the new primary.
    sleep(MAX_STALENESS).await;
    near.get("k").await.unwrap();
    new.command(&["SET", "k", "newer"]).unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(near.get("k").await.unwrap(), Some(Bytes::from("newer")));
}
