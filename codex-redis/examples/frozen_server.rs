//! A server that freezes under load: how long the longest call takes, and how soon the handle works
//! again.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints its figures"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_redis::RedisBackend;
use codex_testkit::redis::RedisServer;
use codex_traits::{KvBackend as _, SetOptions};

const TASKS: usize = 64;

/// The number of calls, the number of failed calls, and the longest call in microseconds.
#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    errors: AtomicU64,
    longest: AtomicU64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(10, |seconds| seconds.parse().unwrap());
    let server = RedisServer::start().unwrap();
    let backend = RedisBackend::connect(&server.url()).await.unwrap();
    let (seen, over) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (backend, seen, over) = (backend.clone(), seen.clone(), over.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let key = format!("key-{task}");
                    let failed = if task % 2 == 0 {
                        backend.get(&key).await.is_err()
                    } else {
                        let value = Bytes::from_static(b"value");
                        backend.set(&key, value, SetOptions::new()).await.is_err()
                    };
                    let taken = u64::try_from(start.elapsed().as_micros()).unwrap();
                    seen.calls.fetch_add(1, Ordering::Relaxed);
                    seen.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
                    seen.longest.fetch_max(taken, Ordering::Relaxed);
                    // Like a service whose requests fail: the next requests arrive a little later.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            })
        })
        .collect();
    let show = |what: &str| {
        let [calls, errors, longest] =
            [&seen.calls, &seen.errors, &seen.longest].map(|count| count.swap(0, Ordering::Relaxed));
        println!(
            "{what}: {calls} calls of {TASKS} tasks, {errors} errors, the longest call {:.1} ms",
            Duration::from_micros(longest).as_secs_f64() * 1e3
        );
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    show("before");
    server.pause();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    show(&format!("frozen for {seconds} s, deadline 500 ms"));
    server.resume();
    let start = Instant::now();
    while backend.get("key-0").await.is_err() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("works again {:?} after the server goes on", start.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    show("in the second after that");
    over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
}
