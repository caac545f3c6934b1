//! Hit rates beside the caches that evict, over three traces and three sizes: a get, and a set
//! where it missed.

use std::collections::HashSet;

use bytes::Bytes;
use codex_memory::{MemoryBackend, WhenFull};
use codex_traits::{KvBackend, SetOptions};

use crate::{
    input::{self, Random},
    peers::now,
};

const KEYS: usize = 100_000;
const ACCESSES: usize = 2_000_000;

/// Returns a Zipf trace with an exponent of 0.9.
fn zipf() -> Vec<u32> {
    input::zipf(KEYS, 0.9, ACCESSES, 21)
}

/// Returns the same trace with a scan after every 20,000 accesses. Each scan reads 10,000 keys that
/// are never read again.
fn with_scans() -> Vec<u32> {
    let mut trace = Vec::new();
    let mut fresh = KEYS as u32;
    for chunk in zipf().chunks(20_000) {
        trace.extend(chunk);
        trace.extend(fresh..fresh + 10_000);
        fresh += 10_000;
    }
    trace
}

/// Returns the same trace, except that the set of popular keys changes eight times.
fn shifting() -> Vec<u32> {
    let mut random = Random::new(22);
    let mut trace = Vec::new();
    for chunk in zipf().chunks(ACCESSES / 8) {
        let shift = random.below(KEYS) as u32;
        trace.extend(chunk.iter().map(|key| (key + shift) % KEYS as u32));
    }
    trace
}

fn rate(trace: &[u32], mut get: impl FnMut(&str) -> bool, mut set: impl FnMut(&str)) -> f64 {
    let mut hits = 0;
    for number in trace {
        let key = format!("key:{number}");
        if get(&key) {
            hits += 1;
        } else {
            set(&key);
        }
    }
    f64::from(hits) / trace.len() as f64 * 100.0
}

pub(crate) fn run() {
    println!("\n## Hit rate in percent: {ACCESSES} accesses to {KEYS} keys");
    println!(
        "  {:22} {:>7} {:>13} {:>8} {:>12}",
        "trace", "entries", "codex-memory", "moka", "quick_cache"
    );
    let traces: [(&str, fn() -> Vec<u32>); 3] = [
        ("zipf 0.9", zipf),
        ("zipf 0.9 with scans", with_scans),
        ("zipf 0.9, shifting", shifting),
    ];
    for (name, trace) in traces {
        let trace = trace();
        assert!(trace.iter().collect::<HashSet<_>>().len() > KEYS / 2);
        for size in [1_000, 5_000, 20_000] {
            let value = Bytes::from_static(b"v");
            let builder = MemoryBackend::builder().max_entries(size).when_full(WhenFull::Evict);
            let ours = builder.build().expect("limits");
            let moka = moka::sync::Cache::<String, Bytes>::new(size as u64);
            let quick = quick_cache::sync::Cache::<String, Bytes>::new(size);
            println!(
                "  {name:22} {size:7} {:13.2} {:8.2} {:12.2}",
                rate(
                    &trace,
                    |key| now(ours.get(key)).expect("get").is_some(),
                    |key| assert!(now(ours.set(key, value.clone(), SetOptions::new())).is_ok())
                ),
                rate(
                    &trace,
                    |key| moka.get(key).is_some(),
                    |key| moka.insert(key.to_owned(), value.clone())
                ),
                rate(
                    &trace,
                    |key| quick.get(key).is_some(),
                    |key| quick.insert(key.to_owned(), value.clone())
                ),
            );
        }
    }
}
