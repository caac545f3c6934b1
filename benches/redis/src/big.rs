//! Small GETs while values of 64 MiB are read and written on the same handle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_kv::redis::RedisBackend;

use crate::{
    Bench,
    clients::{KvClient, Ours, RedisRs},
    pairs::percentile,
    throughput::json,
};

const BIG: usize = 64 << 20;
const SECONDS: Duration = Duration::from_secs(3);

pub(crate) fn run() {
    let bench = Bench::new();
    let ours = Ours(bench.runtime.block_on(RedisBackend::connect(&bench.url())).unwrap());
    let bare = bench.runtime.block_on(RedisRs::connect(&bench.url(), true));
    println!(
        "## Small GETs of one task beside values of {} MiB, for {} s each\n",
        BIG >> 20,
        SECONDS.as_secs()
    );
    println!("| beside | client | big values | small GETs | p50, ms | p99, ms | p99.9, ms | longest, ms |");
    println!("|---|---|---|---|---|---|---|---|");
    for (title, set) in [("GETs of a big value", false), ("SETs of a big value", true)] {
        measure(&bench, title, "codex-redis", &ours, set);
        measure(&bench, title, "redis-rs, one connection", &bare, set);
    }
    println!();
}

fn measure<C: KvClient>(bench: &Bench, title: &str, name: &str, client: &C, set: bool) {
    let big = Bytes::from(vec![b'x'; BIG]);
    let over = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let mut latencies = bench.runtime.block_on(async {
        client.set("big", big.clone()).await;
        client.set("small", json()).await;
        let bigs = tokio::spawn({
            let (client, over, count) = (client.clone(), over.clone(), count.clone());
            async move {
                while !over.load(Ordering::Relaxed) {
                    if set {
                        client.set("big", big.clone()).await;
                    } else {
                        assert_eq!(client.get("big").await, BIG);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let smalls = tokio::spawn({
            let client = client.clone();
            async move {
                let (start, mut latencies) = (Instant::now(), Vec::new());
                while start.elapsed() < SECONDS {
                    let start = Instant::now();
                    assert_eq!(client.get("small").await, 200);
                    latencies.push(start.elapsed());
                }
                latencies
            }
        });
        let latencies = smalls.await.unwrap();
        over.store(true, Ordering::Relaxed);
        bigs.await.unwrap();
        latencies
    });
    let small = latencies.len();
    let [p50, p99, p999, longest] =
        [50.0, 99.0, 99.9, 100.0].map(|percent| percentile(&mut latencies, percent).as_secs_f64() * 1e3);
    println!(
        "| {title} | {name} | {} | {small} | {p50:.2} | {p99:.2} | {p999:.2} | {longest:.2} |",
        count.load(Ordering::Relaxed)
    );
}
