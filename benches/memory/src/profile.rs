//! One verb in a loop, for a profiler.

use std::time::{Duration, Instant};

use crate::{
    input,
    peers::{Dash, Ours, Peer},
};

pub(crate) fn run() {
    let verb = std::env::var("BENCH_VERB").unwrap_or_else(|_| "get".to_owned());
    let count: usize = std::env::var("BENCH_KEYS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000);
    let keys = input::keys(count);
    let value = input::value();
    drop(value.clone());
    let peer: Box<dyn Peer> = match std::env::var("BENCH_PEER").as_deref() {
        Ok("dashmap") => Box::new(Dash::<foldhash::fast::RandomState, false>::new("dashmap")),
        _ => Box::new(Ours::new()),
    };
    let first: &[u8] = if verb == "incr" { b"1" } else { &value };
    keys.iter()
        .for_each(|key| peer.set(key, bytes::Bytes::copy_from_slice(first)));
    let order = input::uniform(count, 200_000, 3);
    let start = Instant::now();
    let mut best = f64::MAX;
    let mut rounds: u32 = std::env::var("BENCH_OPS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(u32::MAX);
    while start.elapsed() < Duration::from_secs(2) && rounds > 0 {
        rounds -= 1;
        let round = cpu_nanos();
        for &at in &order {
            let key = &keys[at as usize];
            if verb == "set" {
                peer.set(key, value.clone());
            } else if verb == "fresh" {
                peer.set(key, bytes::Bytes::copy_from_slice(&value));
            } else if verb == "incr" {
                peer.incr(key);
            } else {
                drop(std::hint::black_box(peer.get(key)));
            }
        }
        best = best.min((cpu_nanos() - round) / order.len() as f64);
    }
    println!("{}: {verb}, {count} keys: {best:.0} ns at best", peer.name());
}

/// Returns the processor time of this thread, which other programs do not affect, unlike wall time.
pub(crate) fn cpu_nanos() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
