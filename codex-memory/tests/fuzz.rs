//! Random operations compared with a model, and random damage to a snapshot.
//! `scripts/long fuzz-memory` runs both for a given time.

#[path = "support/random_ops.rs"]
mod random_ops;

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use codex_memory::{ManualClock, MemoryBackend, WhenFull};
use codex_testkit::{Answer, Model, Op};
use codex_traits::{KvBackend, Pattern, Result, SetOptions, SetOutcome};
use random_ops::{Random, random_op};

const SPANS: [Duration; 5] = [
    Duration::from_millis(2),
    Duration::from_millis(1),
    Duration::from_millis(1500),
    Duration::from_secs(10),
    Duration::from_secs(400 * 365 * 86_400),
];

const OPS: usize = 300;

/// Calls `case` with consecutive seeds: a hundred, or as many as fit in `CODEX_FUZZ_SECONDS`
/// seconds.
fn for_each_seed(mut case: impl FnMut(u64)) {
    let seconds = std::env::var("CODEX_FUZZ_SECONDS").ok();
    let seconds: Option<u64> = seconds.and_then(|text| text.parse().ok());
    let start = Instant::now();
    let mut first = 0;
    if seconds.is_some() {
        // Each long run uses different seeds.
        first = std::process::id().into();
        first <<= 32;
    }
    let goes_on = |done: u64| match seconds {
        Some(seconds) => start.elapsed() < Duration::from_secs(seconds),
        None => done < 100,
    };
    let mut done = 0;
    while goes_on(done) {
        case(first + done);
        done += 1;
    }
    let _ = writeln!(io::stderr(), "{done} cases, the first with seed {first}");
}

/// Returns each kind of store: one without limits, and two with limits that are never reached.
fn stores_of(clock: &ManualClock) -> Result<Vec<MemoryBackend>> {
    let bounded = |when_full| {
        let builder = MemoryBackend::builder().max_entries(1000).max_bytes(10 << 20);
        builder.when_full(when_full).clock(clock.clone()).build()
    };
    Ok(vec![
        MemoryBackend::with_clock(clock.clone()),
        bounded(WhenFull::Refuse)?,
        bounded(WhenFull::Evict)?,
    ])
}

fn dumped(store: &MemoryBackend) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.dump(&mut bytes)?;
    Ok(bytes)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().build()
}

#[test]
fn random_operations_answer_as_the_model_does() {
    let runtime = runtime().unwrap();
    for_each_seed(|seed| {
        let mut random = Random::new(seed);
        let clock = ManualClock::new();
        let mut stores = stores_of(&clock).unwrap();
        let mut model = Model::default();
        for number in 0..OPS {
            match random.below(30) {
                0 | 1 => {
                    let by = SPANS[random.below(4)];
                    clock.advance(by);
                    model.pass(by);
                }
                2 => {
                    for store in &stores {
                        store.reclaim_expired();
                        assert_eq!(store.len(), model.len(), "seed {seed}, operation {number}");
                    }
                }
                3 => {
                    // Continue with a store that was dumped and loaded.
                    let at = random.below(3);
                    let bytes = dumped(&stores[at]).unwrap();
                    let copy = stores_of(&clock).unwrap().swap_remove(at);
                    assert_eq!(copy.load(&bytes[..]).unwrap(), model.len() as u64);
                    stores[at] = copy;
                }
                _ => {
                    let op = random_op(&mut random, &SPANS);
                    let expected = op.apply(&mut model);
                    for store in &stores {
                        let got = runtime.block_on(op.call(store));
                        assert_eq!(got, expected, "seed {seed}, operation {number}: {op:?}");
                    }
                }
            }
        }
    });
}

#[test]
fn a_small_cache_keeps_its_limits_and_never_lies() {
    let runtime = runtime().unwrap();
    for_each_seed(|seed| {
        let mut random = Random::new(seed);
        let clock = ManualClock::new();
        let most = 1 + random.below(6);
        let builder = MemoryBackend::builder().max_entries(most).max_bytes(20_000);
        let store = builder.when_full(WhenFull::Evict).clock(clock.clone()).build().unwrap();
        for number in 0..OPS {
            clock.advance(SPANS[random.below(3)]);
            let op = random_op(&mut random, &SPANS);
            let got = runtime.block_on(op.call(&store));
            assert!(
                store.len() <= most,
                "seed {seed}, operation {number}: {op:?} left {}",
                store.len()
            );
            if let Op::Set { key, value, .. } = op
                && got == Answer::Outcome(SetOutcome::Written)
            {
                let held = runtime.block_on(KvBackend::get(&store, &key)).unwrap();
                assert_eq!(held, Some(value), "seed {seed}, operation {number}");
            }
        }
        // An empty store must have released all charges, so it can be filled to its limit again.
        let all = Pattern::all();
        runtime.block_on(KvBackend::del_matching(&store, &all)).unwrap();
        store.reclaim_expired();
        let evictions = store.evictions();
        for key in 0..most {
            let options = SetOptions::new();
            let key = key.to_string();
            let set = KvBackend::set(&store, &key, "v".into(), options);
            assert!(runtime.block_on(set).unwrap().is_written());
        }
        assert_eq!((store.len(), store.evictions()), (most, evictions), "seed {seed}");
    });
}

#[test]
fn a_damaged_snapshot_is_refused_or_loads_the_same() {
    let runtime = runtime().unwrap();
    for_each_seed(|seed| {
        let mut random = Random::new(seed);
        let clock = ManualClock::new();
        let store = MemoryBackend::with_clock(clock.clone());
        for _ in 0..random.below(40) {
            let op = random_op(&mut random, &SPANS);
            runtime.block_on(op.call(&store));
        }
        let bytes = dumped(&store).unwrap();
        let entries = |store: &MemoryBackend| {
            let mut dump = dumped(store).unwrap();
            // The order of the entries depends on their places, and the checksum on the order.
            dump.truncate(dump.len() - 4);
            dump.sort_unstable();
            dump
        };
        for _ in 0..50 {
            let mut damaged = bytes.clone();
            match random.below(4) {
                0 => damaged.truncate(random.below(bytes.len())),
                1 => damaged = (0..random.below(200)).map(|_| random.next().to_le_bytes()[0]).collect(),
                2 => {
                    // Insert a copy of some bytes at another place.
                    let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
                    let piece = bytes[from..bytes.len().min(from + 20)].to_vec();
                    damaged.splice(to..to, piece);
                }
                _ => {
                    for _ in 0..=random.below(8) {
                        let at = random.below(damaged.len());
                        damaged[at] = random.next().to_le_bytes()[0];
                    }
                }
            }
            let other = MemoryBackend::with_clock(clock.clone());
            match other.load(&damaged[..]) {
                Ok(_) => assert_eq!(entries(&other), entries(&store), "seed {seed}"),
                Err(_) => assert!(other.is_empty(), "seed {seed}"),
            }
        }
    });
}
