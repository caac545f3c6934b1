//! A `get` of a cached key.

use std::hint::black_box;

use codex_kv::memory::{MemoryBackend, WhenFull};
use tokio::runtime::Runtime;

use crate::{
    clients::{Fred, KvClient, Ours, RedisRs, Rustis, near, plain},
    key,
    pairs::{Turn, interleaved, median, ratio, rounds, turn},
    runtime,
    server::Server,
    value,
};

const KEYS: usize = 100;
const HITS: usize = 200_000;
const ROUND_TRIPS: usize = 2000;

/// The indexes of rows in the table.
const MEMORY: usize = 0;
const REDIS: usize = 6;

pub(crate) fn run() {
    let runtime = runtime();
    let server = runtime.block_on(Server::with(KEYS));
    let url = server.url();
    let bounded = MemoryBackend::builder().max_bytes(64 << 20).when_full(WhenFull::Evict);
    let (memory, bounded) = (Ours(MemoryBackend::new()), Ours(bounded.build().unwrap()));
    let near = runtime.block_on(near(&url));
    let redis_rs = runtime.block_on(RedisRs::connect(&url));
    let rustis = runtime.block_on(Rustis::connect(&url));
    let fred = runtime.block_on(Fred::connect(&url));
    let redis = runtime.block_on(plain(&url));
    runtime.block_on(async {
        for number in 0..KEYS {
            memory.set(&key(number), value(0)).await;
            bounded.set(&key(number), value(0)).await;
        }
    });
    let rounds = rounds(15);
    let turns = interleaved(
        rounds,
        &mut [
            &mut || hits(&runtime, &memory, HITS),
            &mut || hits(&runtime, &bounded, HITS),
            &mut || hits(&runtime, &near, HITS),
            &mut || hits(&runtime, &fred, HITS),
            &mut || hits(&runtime, &rustis, HITS),
            &mut || hits(&runtime, &redis_rs, HITS),
            &mut || hits(&runtime, &redis, ROUND_TRIPS),
        ],
    );
    println!("## `get` by one task, {KEYS} hot keys, median of {rounds} interleaved rounds\n");
    println!("| | ns per call | processor time, ns | ratio to `MemoryBackend` | `RedisBackend` takes longer, times |");
    println!("|---|---|---|---|---|");
    let names = [
        "`MemoryBackend`",
        "`MemoryBackend` with `max_bytes`",
        "`NearBackend`",
        "fred's invalidations and a `DashMap`",
        "rustis, `Cache`",
        "redis-rs, `cache-aio`",
        "`RedisBackend`",
    ];
    let wall = |turn: &Turn| turn.wall.as_secs_f64() * 1e9 / turn.operations;
    let cpu = |turn: &Turn| turn.cpu_micros() * 1e3;
    for (at, name) in names.iter().enumerate() {
        println!(
            "| {name} | {:.1} | {:.1} | **{:.2}** | {:.1} |",
            median(turns[at].iter().map(wall)),
            median(turns[at].iter().map(cpu)),
            ratio(&turns[at], &turns[MEMORY], cpu),
            ratio(&turns[REDIS], &turns[at], wall),
        );
    }
    println!();
}

fn hits<C: KvClient>(runtime: &Runtime, client: &C, calls: usize) -> Turn {
    let names: Vec<String> = (0..KEYS).map(key).collect();
    let client = client.clone();
    let read = async move |calls: usize| {
        for number in 0..calls {
            let value = client.get(black_box(&names[number % KEYS])).await;
            assert!(black_box(value).is_some());
        }
    };
    // Fills the cache before the measurement.
    runtime.block_on(read(KEYS));
    turn(calls, || runtime.block_on(read(calls)))
}
