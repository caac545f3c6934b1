//! The cost of 100,000 callers of a stalled server: the peak memory, and the time until the last
//! caller has its error.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints its figures"
)]

use std::time::{Duration, Instant};

use codex_redis::RedisBackend;
use codex_testkit::redis::RedisServer;
use codex_traits::KvBackend as _;

fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let callers: usize = std::env::args().nth(1).map_or(100_000, |count| count.parse().unwrap());
    let server = RedisServer::start().unwrap();
    let backend = RedisBackend::connect(&server.url()).await.unwrap();
    server.pause();
    let before = memory("VmRSS:");
    let start = Instant::now();
    let calls: Vec<_> = (0..callers)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move {
                let start = Instant::now();
                assert!(backend.get("key").await.is_err());
                start.elapsed()
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for call in calls {
        slowest = slowest.max(call.await.unwrap());
    }
    println!(
        "{callers} callers: the last error after {:?}, the slowest call {slowest:?}, memory {before} kB before, {} kB at the peak",
        start.elapsed(),
        memory("VmHWM:")
    );
    server.resume();
    let start = Instant::now();
    while backend.get("key").await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("works again {:?} after the server goes on", start.elapsed());
}
