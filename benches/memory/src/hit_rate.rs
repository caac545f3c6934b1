//! Hit rates compared with other caches that evict, with room for 1, 5 and 20 percent of a trace's
//! keys. Each access is a get, and a set if it misses.

use std::{collections::HashSet, fmt::Write as _};

use bytes::Bytes;
use codex_memory::{MemoryBackend, WhenFull};
use codex_traits::{KvBackend, SetOptions};
use foyer_memory::{Cache, CacheBuilder, EvictionConfig, LruConfig, S3FifoConfig};

use crate::{peers::now, plot, traces};

pub(crate) const CACHES: [&str; 5] = ["codex-memory", "moka", "quick_cache", "foyer, LRU", "foyer, S3-FIFO"];
pub(crate) const PERCENT: [usize; 3] = [1, 5, 20];

/// Smaller caches are left out, because each cache divides its room among shards.
const MIN_ENTRIES: usize = 100;

/// The hit rates of one trace, in percent, by size and by cache.
pub(crate) struct Rates {
    pub(crate) trace: &'static str,
    pub(crate) by_size: Vec<(usize, [f64; CACHES.len()])>,
}

fn rate(trace: &[u64], mut get: impl FnMut(u64) -> bool, mut set: impl FnMut(u64)) -> f64 {
    let mut hits: u32 = 0;
    for &key in trace {
        if get(key) {
            hits += 1;
        } else {
            set(key);
        }
    }
    f64::from(hits) / trace.len() as f64 * 100.0
}

fn ours(trace: &[u64], size: usize) -> f64 {
    let builder = MemoryBackend::builder().max_entries(size).when_full(WhenFull::Evict);
    let store = builder.build().expect("limits");
    let text = |key: u64, text: &mut String| {
        text.clear();
        write!(text, "{key}").expect("a number as text");
    };
    let (mut read, mut written) = (String::new(), String::new());
    rate(
        trace,
        |key| {
            text(key, &mut read);
            now(store.get(&read)).expect("get").is_some()
        },
        |key| {
            text(key, &mut written);
            let value = Bytes::from_static(b"v");
            assert!(now(store.set(&written, value, SetOptions::new())).is_ok());
        },
    )
}

fn foyer(trace: &[u64], size: usize, policy: impl Into<EvictionConfig>) -> f64 {
    let cache: Cache<u64, ()> = CacheBuilder::new(size).with_eviction_config(policy).build();
    rate(
        trace,
        |key| cache.get(&key).is_some(),
        |key| drop(cache.insert(key, ())),
    )
}

fn rates(trace: &[u64], size: usize) -> [f64; CACHES.len()] {
    let moka = moka::sync::Cache::<u64, ()>::new(size as u64);
    let quick = quick_cache::sync::Cache::<u64, ()>::new(size);
    [
        ours(trace, size),
        rate(trace, |key| moka.get(&key).is_some(), |key| moka.insert(key, ())),
        rate(trace, |key| quick.get(&key).is_some(), |key| quick.insert(key, ())),
        foyer(trace, size, LruConfig::default()),
        foyer(trace, size, S3FifoConfig::default()),
    ]
}

pub(crate) fn run() {
    println!("\n## Hit rate in percent\n");
    println!("| trace | accesses | keys | entries | {} |", CACHES.join(" | "));
    println!("|---|---|---|---|{}", "---|".repeat(CACHES.len()));
    let mut all = Vec::new();
    traces::for_each(|trace| {
        let distinct = trace.keys.iter().collect::<HashSet<_>>().len();
        let sizes = PERCENT.map(|percent| (percent, distinct * percent / 100));
        let mut by_size = Vec::new();
        for (percent, size) in sizes.into_iter().filter(|(_, size)| *size >= MIN_ENTRIES) {
            let rates = rates(&trace.keys, size);
            let cells = rates.map(|rate| format!("{rate:.2}")).join(" | ");
            println!(
                "| {} | {} | {distinct} | {size} | {cells} |",
                trace.name,
                trace.keys.len()
            );
            by_size.push((percent, rates));
        }
        all.push(Rates {
            trace: trace.name,
            by_size,
        });
    });
    plot::hit_rates(&all);
}
