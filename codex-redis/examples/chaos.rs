//! Runs 2,000 tasks on a server whose connections are killed every 200 ms and that is suspended at
//! random. Counts answers of other calls, lost and repeated writes, and calls that hang.
//!
//! Usage: `chaos [SECONDS]`, by default 60. Exits 1 if any of these counts is not 0, or if a call
//! took more than 60 ms beyond its deadline.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints its figures, and ends where it cannot be made"
)]

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use codex_redis::RedisBackend;
use codex_testkit::redis::RedisServer;
use codex_traits::{KvBackend as _, SetOptions};

const TASKS: usize = 2000;
const DEADLINE: Duration = Duration::from_millis(500);
const GRACE: Duration = Duration::from_millis(60);
/// A call that takes longer hangs.
const HANGS: Duration = Duration::from_secs(10);
const KILLS_EVERY: Duration = Duration::from_millis(200);
const LONGEST_SUSPENSION: u64 = 800;

#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    errors: AtomicU64,
    /// Values of another key.
    crossed: AtomicU64,
    /// Acknowledged writes that are missing.
    lost: AtomicU64,
    /// Writes that found their own key, or that ran although their error said that they had not.
    doubled: AtomicU64,
    hung: AtomicU64,
    /// The longest call, in microseconds.
    longest: AtomicU64,
}

enum Fate {
    Written,
    NotWritten,
    Unknown,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).map_or(60, |seconds| seconds.parse().unwrap());
    let server = Arc::new(RedisServer::start().unwrap());
    let builder = RedisBackend::builder().url(&server.url()).command_timeout(DEADLINE);
    let backend = builder.max_in_flight(TASKS).build().await.unwrap();
    let (tally, is_over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(run(task, backend.clone(), Arc::clone(&tally), Arc::clone(&is_over))))
        .collect();
    let (kills, suspensions) = tokio::task::spawn_blocking({
        let server = Arc::clone(&server);
        move || disturb(&server, Duration::from_secs(seconds))
    })
    .await
    .unwrap();
    is_over.store(true, Relaxed);
    let mut written = Vec::new();
    for task in tasks {
        written.extend(task.await.unwrap());
    }
    // A separate handle checks the writes without disturbances.
    let quiet = RedisBackend::builder()
        .url(&server.url())
        .command_timeout(Duration::from_secs(30));
    let quiet = quiet.build().await.unwrap();
    for some in written.chunks(1000) {
        let keys: Vec<&str> = some.iter().map(|(key, _)| key.as_str()).collect();
        for ((key, fate), value) in some.iter().zip(quiet.get_many(&keys).await.unwrap()) {
            let is_there = value.is_some_and(|value| value == key.as_bytes());
            match fate {
                Fate::Written => tally.lost.fetch_add(u64::from(!is_there), Relaxed),
                Fate::NotWritten => tally.doubled.fetch_add(u64::from(is_there), Relaxed),
                Fate::Unknown => 0,
            };
        }
    }
    let count = |counter: &AtomicU64| counter.load(Relaxed);
    let longest = Duration::from_micros(count(&tally.longest));
    println!(
        "{seconds} s, {TASKS} tasks, {kills} kills, {suspensions} suspensions: {} calls, {} errors; {} crossed, {} lost, \
         {} doubled, {} hung; longest call {} ms with a deadline of {} ms",
        count(&tally.calls),
        count(&tally.errors),
        count(&tally.crossed),
        count(&tally.lost),
        count(&tally.doubled),
        count(&tally.hung),
        longest.as_millis(),
        DEADLINE.as_millis()
    );
    let wrong = [&tally.crossed, &tally.lost, &tally.doubled, &tally.hung];
    if wrong.into_iter().all(|counter| count(counter) == 0) && longest <= DEADLINE + GRACE {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Stores the keys of the task, each once, and reads them back. Returns them with their fates.
async fn run(task: usize, backend: RedisBackend, tally: Arc<Tally>, is_over: Arc<AtomicBool>) -> Vec<(String, Fate)> {
    let mut written = Vec::new();
    for number in 0.. {
        if is_over.load(Relaxed) {
            break;
        }
        let key = format!("{task}:{number}");
        let set = backend.set(&key, key.clone().into_bytes().into(), SetOptions::if_absent());
        let fate = match timed(&tally, set).await {
            Some(Ok(outcome)) => {
                tally.doubled.fetch_add(u64::from(!outcome.is_written()), Relaxed);
                Fate::Written
            }
            Some(Err(error)) if !error.may_have_executed() => Fate::NotWritten,
            _ => Fate::Unknown,
        };
        if let Some(Ok(Some(value))) = timed(&tally, backend.get(&key)).await {
            tally.crossed.fetch_add(u64::from(value != key.as_bytes()), Relaxed);
        }
        written.push((key, fate));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    written
}

async fn timed<T>(
    tally: &Tally,
    call: impl Future<Output = codex_traits::Result<T>>,
) -> Option<codex_traits::Result<T>> {
    let start = Instant::now();
    let answer = tokio::time::timeout(HANGS, call).await.ok();
    let taken = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    tally.calls.fetch_add(1, Relaxed);
    tally.longest.fetch_max(taken, Relaxed);
    match &answer {
        None => tally.hung.fetch_add(1, Relaxed),
        Some(Err(_)) => tally.errors.fetch_add(1, Relaxed),
        Some(Ok(_)) => 0,
    };
    answer
}

/// Kills all connections every 200 ms and sometimes suspends the server. Returns how often.
fn disturb(server: &RedisServer, time: Duration) -> (u64, u64) {
    let (mut kills, mut suspensions) = (0, 0);
    let mut random = 0x9e37_79b9_u64;
    let start = Instant::now();
    while start.elapsed() < time {
        std::thread::sleep(KILLS_EVERY);
        // xorshift: the same disturbances in each run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random.is_multiple_of(5) {
            server.pause();
            std::thread::sleep(Duration::from_millis(random / 5 % LONGEST_SUSPENSION));
            server.resume();
            suspensions += 1;
        }
        let killed = server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        kills += u64::from(killed.is_ok());
    }
    (kills, suspensions)
}
