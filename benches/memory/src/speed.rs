//! Nanoseconds of processor time per operation, in interleaved rounds, and the ratios to
//! codex-memory: the median of the rounds' ratios, and the ratio of the lowest figures.

use std::{hint::black_box, thread, time::Instant};

use bytes::Bytes;

use crate::{
    input,
    peers::{Cached, Dash, Moka, Ours, Peer, Quick, Stretto},
    profile::cpu_nanos,
    random::{self, Random},
};

const OPS: usize = 50_000;

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Get,
    SetShared,
    SetFresh,
    Mixed,
    Incr,
}

impl Work {
    fn title(self) -> &'static str {
        match self {
            Self::Get => "get, uniform",
            Self::SetShared => "set with TTL, one value shared by all",
            Self::SetFresh => "set with TTL, a new value each time",
            Self::Mixed => "95 % get, 5 % set with TTL, zipf 0.99",
            Self::Incr => "incr",
        }
    }

    fn run(self, peer: &dyn Peer, keys: &[String], order: &[u32], value: &Bytes) {
        for (number, &at) in order.iter().enumerate() {
            let key = &keys[at as usize];
            match self {
                Self::Mixed if number % 20 == 0 => peer.set(key, value.clone()),
                Self::Get | Self::Mixed => drop(black_box(peer.get(key))),
                Self::SetShared => peer.set(key, value.clone()),
                Self::SetFresh => peer.set(key, Bytes::copy_from_slice(value)),
                Self::Incr => peer.incr(key),
            }
        }
    }
}

/// Returns the nanoseconds per operation and thread, in processor time and in wall time. Other
/// programs on the machine affect the wall time.
fn measure(work: Work, peer: &dyn Peer, keys: &[String], orders: &[Vec<u32>], value: &Bytes) -> (f64, f64) {
    let one = |order: &Vec<u32>| {
        let before = cpu_nanos();
        work.run(peer, keys, order, value);
        cpu_nanos() - before
    };
    let start = Instant::now();
    let cpu: f64 = if let [order] = orders {
        one(order)
    } else {
        thread::scope(|scope| {
            let threads: Vec<_> = orders.iter().map(|order| scope.spawn(|| one(order))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a thread of the measurement"))
                .sum()
        })
    };
    let ops = orders[0].len() as f64;
    (cpu / ops / orders.len() as f64, start.elapsed().as_nanos() as f64 / ops)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn peers(count: usize) -> Vec<Box<dyn Peer>> {
    let mut peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Ours::new()),
        Box::new(Dash::<foldhash::fast::RandomState, false>::new("dashmap, foldhash")),
        Box::new(Dash::<foldhash::fast::RandomState, true>::new(
            "the same, deadline checked",
        )),
        Box::new(Dash::<std::hash::RandomState, false>::new("dashmap, its own hasher")),
    ];
    if std::env::var_os("BENCH_FEW").is_none() {
        peers.push(Box::new(Moka::new()));
        peers.push(Box::new(Quick::new(count)));
        peers.push(Box::new(Stretto::new(count)));
        peers.push(Box::new(Cached::new()));
    }
    peers
}

pub(crate) fn run() {
    let rounds: usize = std::env::var("BENCH_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(9);
    let sizes = std::env::var("BENCH_KEYS").unwrap_or_else(|_| "1000,100000,1000000".to_owned());
    let sizes: Vec<usize> = sizes
        .split(',')
        .map(|size| size.parse().expect("BENCH_KEYS: numbers with commas"))
        .collect();
    println!(
        "\n## Speed: ns of processor time per operation, median (lowest) of {rounds} interleaved rounds; ratio to codex-memory, of medians (of lowest)"
    );
    for count in sizes {
        let keys = input::keys(count);
        let value = input::value();
        let peers = peers(count);
        for peer in &peers {
            for key in &keys {
                peer.set(key, Bytes::copy_from_slice(&value));
            }
        }
        let asked = std::env::var("BENCH_WORK").unwrap_or_default();
        let all = [Work::Get, Work::SetShared, Work::SetFresh, Work::Mixed, Work::Incr];
        for work in all.into_iter().filter(|work| work.title().contains(&asked)) {
            let text = Bytes::from_static(b"1");
            if work == Work::Incr {
                // `incr` needs numbers. Some peers apply these writes later, or not at all under
                // load.
                for peer in &peers {
                    keys.iter().for_each(|key| peer.set(key, text.clone()));
                }
            }
            for threads in [1, 2] {
                let mut times = vec![Vec::new(); peers.len()];
                let mut random = Random::new(11);
                for _ in 0..=rounds {
                    let orders: Vec<Vec<u32>> = (0..threads)
                        .map(|_| match work {
                            Work::Mixed => random::zipf(count, 0.99, OPS, random.next()),
                            _ => input::uniform(count, OPS, random.next()),
                        })
                        .collect();
                    for (times, peer) in times.iter_mut().zip(&peers) {
                        times.push(measure(work, &**peer, &keys, &orders, &value));
                    }
                }
                report(work, count, threads, &peers, &mut times);
            }
        }
    }
}

fn report(work: Work, count: usize, threads: usize, peers: &[Box<dyn Peer>], times: &mut [Vec<(f64, f64)>]) {
    println!("\n{}, {count} keys, {threads} thread(s)", work.title());
    // The first round warms up.
    let ours: Vec<f64> = times[0][1..].iter().map(|time| time.0).collect();
    for (times, peer) in times.iter().zip(peers) {
        let mut cpu: Vec<f64> = times[1..].iter().map(|time| time.0).collect();
        let mut wall: Vec<f64> = times[1..].iter().map(|time| time.1).collect();
        let mut ratios: Vec<f64> = cpu.iter().zip(&ours).map(|(theirs, ours)| theirs / ours).collect();
        let lowest = cpu.iter().copied().fold(f64::MAX, f64::min);
        let lowest_of_ours = ours.iter().copied().fold(f64::MAX, f64::min);
        println!(
            "  {:28} {:6.0} ({lowest:.0}) wall {:6.0}   x{:.2} (x{:.2})",
            peer.name(),
            median(&mut cpu),
            median(&mut wall),
            median(&mut ratios),
            lowest / lowest_of_ours,
        );
    }
}
