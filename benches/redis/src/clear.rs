//! A clear of 100,000 keys compared with a bare pipelined SCAN COUNT 1000 + UNLINK, and GETs while
//! it runs.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_kv::redis::RedisBackend;
use codex_traits::{Expiry, KvBackend as _, Pattern, SetOptions};
use redis::aio::MultiplexedConnection;

use crate::{
    Bench,
    clients::RedisRs,
    pairs::{Turn, interleaved, median, percentile, ratio, rounds, turn},
    throughput::json,
};

const KEYS: usize = 100_000;

pub(crate) fn run() {
    let bench = Bench::new();
    let ours = bench.runtime.block_on(RedisBackend::connect(&bench.url())).unwrap();
    let bare = bench.runtime.block_on(RedisRs::connect(&bench.url(), true)).0;
    let rounds = rounds(5);
    let fill = || {
        let names: Vec<String> = (0..KEYS).map(|number| format!("cache:1:{number}")).collect();
        let value = json();
        bench.runtime.block_on(async {
            for chunk in names.chunks(1000) {
                let entries: Vec<(&str, Bytes)> = chunk.iter().map(|key| (key.as_str(), value.clone())).collect();
                ours.set_many(&entries, Expiry::Never).await.unwrap();
            }
            let _ = ours.set("other", value, SetOptions::new()).await.unwrap();
        });
    };
    let mut latencies: [Vec<Duration>; 2] = Default::default();
    let [by_us, by_hand] = &mut latencies;
    let turns = interleaved(
        rounds,
        &mut [
            &mut || {
                fill();
                let (ours, other) = (ours.clone(), ours.clone());
                let clear = async move {
                    let removed = ours.del_matching(&Pattern::prefix("cache:1:")).await.unwrap();
                    assert_eq!(removed, KEYS as u64);
                };
                bench
                    .runtime
                    .block_on(beside(clear, by_us, async || drop(other.get("other").await.unwrap())))
            },
            &mut || {
                fill();
                let (bare, other) = (bare.clone(), bare.clone());
                let clear = async move { assert_eq!(clear_by_hand(bare).await, KEYS as u64) };
                let get = async || {
                    let _: Vec<u8> = redis::cmd("GET")
                        .arg("other")
                        .query_async(&mut other.clone())
                        .await
                        .unwrap();
                };
                bench.runtime.block_on(beside(clear, by_hand, get))
            },
        ],
    );
    println!("## Clear of {KEYS} keys, and GETs of one task meanwhile, median of {rounds} interleaved rounds\n");
    println!("| | codex-redis | bare SCAN COUNT 1000 + UNLINK | ratio |");
    println!("|---|---|---|---|");
    let seconds = |turn: &Turn| turn.wall.as_secs_f64();
    println!(
        "| clear, ms | {:.0} | {:.0} | **{:.2}** |",
        median(turns[0].iter().map(seconds)) * 1e3,
        median(turns[1].iter().map(seconds)) * 1e3,
        ratio(&turns[0], &turns[1], seconds)
    );
    for percent in [50.0, 99.0, 99.9] {
        let [ours, bare] = &mut latencies;
        println!(
            "| GET meanwhile, p{percent}, ms | {:.2} | {:.2} | |",
            percentile(ours, percent).as_secs_f64() * 1e3,
            percentile(bare, percent).as_secs_f64() * 1e3
        );
    }
    println!();
}

/// Measures `clear` while GETs run one after another.
async fn beside(
    clear: impl Future<Output = ()> + Send + 'static,
    latencies: &mut Vec<Duration>,
    get: impl AsyncFn(),
) -> Turn {
    static DONE: AtomicBool = AtomicBool::new(false);
    DONE.store(false, Ordering::SeqCst);
    let clear = tokio::spawn(async move {
        let start = Instant::now();
        clear.await;
        DONE.store(true, Ordering::SeqCst);
        start.elapsed()
    });
    while !DONE.load(Ordering::SeqCst) {
        let start = Instant::now();
        get().await;
        latencies.push(start.elapsed());
    }
    Turn {
        wall: clear.await.unwrap(),
        ..turn(1, || {})
    }
}

/// Clears as a program that knows the server would: it removes the keys of a page in the pipeline
/// that requests the next page.
async fn clear_by_hand(mut connection: MultiplexedConnection) -> u64 {
    let (mut cursor, mut keys, mut removed) = (0_u64, Vec::<Vec<u8>>::new(), 0);
    let mut more = true;
    while more || !keys.is_empty() {
        let mut pipeline = redis::pipe();
        if more {
            pipeline
                .cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg("cache:1:*")
                .arg("COUNT")
                .arg(1000);
        }
        if !keys.is_empty() {
            pipeline.cmd("UNLINK").arg(&keys);
        }
        let had_keys = !keys.is_empty();
        let mut answers: Vec<redis::Value> = pipeline.query_async(&mut connection).await.unwrap();
        if had_keys {
            let count: u64 = redis::from_redis_value(answers.pop().unwrap()).unwrap();
            removed += count;
        }
        keys = Vec::new();
        if more {
            (cursor, keys) = redis::from_redis_value(answers.pop().unwrap()).unwrap();
            more = cursor != 0;
        }
    }
    removed
}
