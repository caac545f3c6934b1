//! A million entries that expire at the same moment: the longest call around that moment, and the
//! memory afterwards.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_memory::MemoryBackend;
use codex_traits::{KvBackend, SetOptions};

use crate::{
    allocator,
    input::{self, VALUE_LEN},
    peers::now,
    plot,
    random::Random,
};

const COUNT: usize = 1_000_000;
const WATCHED: Duration = Duration::from_secs(6);

struct ToTheSecond;

impl moka::Expiry<String, (Duration, Bytes)> for ToTheSecond {
    fn expire_after_create(&self, _: &String, value: &(Duration, Bytes), _: Instant) -> Option<Duration> {
        Some(value.0)
    }
}

fn resident() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0.0);
    pages * 4096.0 / 1e6
}

/// Runs the control: takes as much processor time as the store's own thread, at the same pace and
/// for the same time, without locks or memory.
fn other_work() {
    thread::sleep(Duration::from_secs(6));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let burst = Instant::now();
        while burst.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// Makes calls without a break until `WATCHED` has passed. Returns the longest duration, the
/// 99.99th percentile and the number of calls.
fn watch(mut call: impl FnMut(usize)) -> (Duration, Duration, usize) {
    let mut random = Random::new(31);
    let start = Instant::now();
    let mut times = Vec::with_capacity(50_000_000);
    while start.elapsed() < WATCHED && times.len() < times.capacity() {
        let at = random.below(COUNT);
        let before = Instant::now();
        call(at);
        times.push(u32::try_from(before.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    times.sort_unstable();
    let nanos = |nanos: u32| Duration::from_nanos(nanos.into());
    (
        nanos(times[times.len() - 1]),
        nanos(times[times.len() - times.len() / 10_000 - 1]),
        times.len(),
    )
}

fn report(name: &str, fill: impl FnOnce(Duration), call: impl FnMut(usize)) -> f64 {
    allocator::start();
    let empty = allocator::asked();
    let until = Duration::from_secs(6);
    fill(until);
    let full = allocator::asked() - empty;
    let resident_full = resident();
    let (longest, most, calls) = watch(call);
    let left = allocator::asked() - empty;
    println!(
        "  {name:34} longest call {:8.3} ms, 99.99 % under {:8.3} ms ({calls} calls); {:.0} MB before, {:.0} MB after ({:.1} % freed); resident {resident_full:.0} -> {:.0} MB",
        longest.as_secs_f64() * 1e3,
        most.as_secs_f64() * 1e3,
        full as f64 / 1e6,
        left as f64 / 1e6,
        (1.0 - left as f64 / full as f64) * 100.0,
        resident(),
    );
    allocator::stop();
    longest.as_secs_f64() * 1e3
}

/// The cases on codex-memory: whether entries expire, and whether one call in 20 is a set.
const CASES: [(&str, bool, bool); 4] = [
    ("nothing expires, gets", false, false),
    ("codex-memory, gets", true, false),
    ("nothing expires, 5 % sets", false, true),
    ("codex-memory, 5 % sets", true, true),
];

fn value() -> Bytes {
    Bytes::from(vec![b'v'; VALUE_LEN])
}

fn ours(name: &str, expires: bool, sets: bool, keys: &[String]) -> f64 {
    let store = MemoryBackend::new();
    let other = (!expires).then(|| thread::spawn(other_work));
    let mut number = 0;
    let longest = report(
        name,
        |until| {
            let start = Instant::now();
            for key in keys {
                let left = if expires {
                    until.saturating_sub(start.elapsed())
                } else {
                    until * 1000
                };
                let options = SetOptions::expires_after(left.max(Duration::from_millis(1)));
                let _ = now(store.set(key, value(), options)).expect("set");
            }
            thread::sleep((until.saturating_sub(start.elapsed())).saturating_sub(Duration::from_secs(1)));
        },
        |at| {
            number += 1;
            if sets && number % 20 == 0 {
                let options = SetOptions::expires_after(Duration::from_hours(1));
                let _ = now(store.set(&keys[at], value(), options)).expect("set");
            } else {
                drop(black_box(now(store.get(&keys[at]))));
            }
        },
    );
    other.map(thread::JoinHandle::join);
    longest
}

fn moka(keys: &[String]) -> f64 {
    let cache = moka::sync::Cache::<String, (Duration, Bytes)>::builder()
        .expire_after(ToTheSecond)
        .build();
    report(
        "moka, gets",
        |until| {
            let start = Instant::now();
            for key in keys {
                cache.insert(key.clone(), (until.saturating_sub(start.elapsed()), value()));
            }
            thread::sleep((until.saturating_sub(start.elapsed())).saturating_sub(Duration::from_secs(1)));
        },
        |at| drop(black_box(cache.get(&keys[at]))),
    )
}

/// Measures `BENCH_RUNS` times, once by default.
pub(crate) fn run() {
    let runs = std::env::var("BENCH_RUNS").ok().and_then(|text| text.parse().ok());
    let runs: usize = runs.unwrap_or(1);
    println!(
        "\n## {COUNT} entries that expire together: calls with random keys for {WATCHED:?} around that moment, on one thread"
    );
    let keys = input::keys(COUNT);
    let mut longest = [const { Vec::new() }; CASES.len()];
    for _ in 0..runs {
        for (longest, (name, expires, sets)) in longest.iter_mut().zip(CASES) {
            longest.push(ours(name, expires, sets, &keys));
        }
    }
    let names = CASES.map(|(name, ..)| name.to_owned());
    let mut bars = Vec::new();
    println!("  longest call in ms, of each of {runs} runs, ascending:");
    for (name, mut longest) in names.into_iter().zip(longest) {
        longest.sort_by(f64::total_cmp);
        println!("  {name:34} {longest:.2?}");
        bars.extend(longest.last().map(|&longest| (name, longest)));
    }
    bars.push(("moka, gets".to_owned(), moka(&keys)));
    let title = format!("Longest call while {COUNT} entries expire, ms, longest of {runs} runs (moka: 1), log scale");
    plot::bars("memory-longest-call.svg", &title, &bars, Some(0.01));
}
