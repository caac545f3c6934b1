//! The near cache beside a plain backend, the memory store and its peers, on one real server.
//! `scripts/bench-near` runs it; arguments name the parts to run.

mod client;
mod zipf;

use std::time::{Duration, Instant};

use codex_kv::{KvBackend, SetOptions, memory::MemoryBackend};
use codex_testkit::redis::RedisServer;

use crate::client::{Client, NAMES};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "child") {
        return zipf::child(&arguments[1..]);
    }
    let seconds = std::env::var("BENCH_SECONDS").map_or(10, |seconds| seconds.parse().expect("BENCH_SECONDS is a number"));
    let is_asked = |part: &str| arguments.is_empty() || arguments.iter().any(|asked| asked == part);
    if is_asked("hot") {
        hot();
    }
    if is_asked("miss") {
        miss();
    }
    if is_asked("zipf") {
        zipf::run(seconds);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The median of some rounds, so that a neighbour's burst does not count.
const ROUNDS: usize = 15;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One task reads one key.
fn hot() {
    println!("\n# A hot get, one task, a value of 100 bytes, median of {ROUNDS} rounds");
    let server = RedisServer::start().expect("a redis-server on PATH");
    server.command(&["SET", "hot", &"v".repeat(100)]).unwrap();
    runtime().block_on(async {
        let memory = MemoryBackend::new();
        let _ = memory.set("hot", "v".repeat(100).into(), SetOptions::new()).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..200_000 {
                std::hint::black_box(memory.get(std::hint::black_box("hot")).await.unwrap());
            }
            times.push(start.elapsed() / 200_000);
        }
        println!("{:<10} {:>10.1?}", "memory", median(times));
        for name in NAMES {
            let mut client = Client::connect(name, server.port()).await;
            let reads = if name == "plain" { 2000 } else { 100_000 };
            // The plain type, without the choice of a client around it.
            let near = match &client {
                Client::Near(near) => Some(near.clone()),
                _ => None,
            };
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let start = Instant::now();
                for _ in 0..reads {
                    match &near {
                        Some(near) => drop(std::hint::black_box(near.get(std::hint::black_box("hot")).await.unwrap())),
                        None => drop(std::hint::black_box(client.get("hot").await)),
                    }
                }
                times.push(start.elapsed() / reads);
            }
            println!("{name:<10} {:>10.1?}", median(times));
        }
    });
}

/// One task reads keys that nobody has read before.
fn miss() {
    const READS: usize = 2000;
    println!("\n# A read that misses, one task, median of {ROUNDS} rounds");
    let server = RedisServer::start().expect("a redis-server on PATH");
    for key in 0..READS * ROUNDS {
        server.command(&["SET", &format!("k{key}"), &"v".repeat(100)]).unwrap();
    }
    runtime().block_on(async {
        let mut plain = Client::connect("plain", server.port()).await;
        let mut near = Client::connect("near", server.port()).await;
        let (mut plains, mut nears) = (Vec::new(), Vec::new());
        // In turns, so that both see the same machine.
        for round in 0..ROUNDS {
            for (client, times) in [(&mut plain, &mut plains), (&mut near, &mut nears)] {
                let start = Instant::now();
                for key in 0..READS {
                    client.get(&format!("k{}", round * READS + key)).await;
                }
                times.push(start.elapsed() / u32::try_from(READS).unwrap());
            }
        }
        let (plain, near) = (median(plains), median(nears));
        println!("{:<10} {plain:>10.1?}\n{:<10} {near:>10.1?}", "plain", "near");
        println!("{:.2} times a plain get", near.as_secs_f64() / plain.as_secs_f64());
    });
}
