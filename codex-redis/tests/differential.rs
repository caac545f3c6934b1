//! The model, the memory store and a real Redis are asked the same and must answer the same.
//!
//! Small runs are tests; `scripts/differential` and `scripts/histories` make long ones of them.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    env,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use codex_memory::{ManualClock, MemoryBackend};
use codex_redis::RedisBackend;
use codex_testkit::{
    Divergence, Harness, InProcess, Op, Sequences, Time, VirtualTime, check_histories, redis::Database, replay,
};

/// One database, emptied for each sequence.
struct Redis {
    database: Database,
    backend: RedisBackend,
}

impl Redis {
    async fn on(database: Database) -> Self {
        // Whoever shares this machine may hold it up.
        let settings = RedisBackend::builder().command_timeout(Duration::from_secs(30));
        let backend = settings.url(&database.url()).build().await.unwrap();
        Self { database, backend }
    }
}

impl Harness for Redis {
    type Backend = RedisBackend;

    async fn fresh(&self) -> RedisBackend {
        self.database.flush().unwrap();
        self.backend.clone()
    }

    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(25),
        }
    }
}

/// Memory backends on one clock, which the suite moves.
fn memory() -> impl Harness<Backend = MemoryBackend> {
    let clock = ManualClock::new();
    let moved = clock.clone();
    let time = VirtualTime::from_fn(move |by| moved.advance(by));
    InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
}

/// A number from the environment, which the scripts set.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(text) = env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}"))
}

/// Both stores, and what they did.
struct Both<M> {
    memory: M,
    redis: Redis,
    operations: AtomicUsize,
    sequences: AtomicUsize,
}

impl<M: Harness> Both<M> {
    async fn replay(&self, operations: &[Op]) -> Result<(), Divergence> {
        replay(&self.memory, operations).await?;
        replay(&self.redis, operations).await?;
        self.operations.fetch_add(operations.len(), Ordering::Relaxed);
        self.sequences.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[tokio::test]
async fn model_memory_and_redis_answer_the_same() {
    let database = codex_testkit::require!("redis", Database::lease());
    let wanted: usize = setting("CODEX_DIFFERENTIAL_OPERATIONS", 4_000);
    let first_seed: u64 = setting("CODEX_DIFFERENTIAL_SEED", 0);
    let both = Both {
        memory: memory(),
        redis: Redis::on(database).await,
        operations: AtomicUsize::new(0),
        sequences: AtomicUsize::new(0),
    };
    let start = Instant::now();
    // Without time that passes, for the server's cannot be moved; the testkit's own tests have it on the memory store.
    let sequences = Sequences::new(&both.redis.time()).longest(100);
    for seed in first_seed.. {
        let sequences = sequences.clone().seed(seed);
        let checked = sequences.check(20, |operations| {
            let both = &both;
            async move { both.replay(&operations).await }
        });
        if let Err(divergence) = checked.await {
            panic!("seed {seed}: {divergence:?}");
        }
        if both.operations.load(Ordering::Relaxed) >= wanted {
            println!(
                "CODEX-RAN differential: {:?} operations in {:?} sequences, seeds {first_seed} to {seed}, on model, memory and Redis: \
                 no divergence in {:?}",
                both.operations,
                both.sequences,
                start.elapsed()
            );
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn histories_on_memory_and_redis_are_linearizable() {
    let database = codex_testkit::require!("redis", Database::lease());
    let wanted: usize = setting("CODEX_HISTORIES", 300);
    let seed: u64 = setting("CODEX_HISTORIES_SEED", 0);
    let start = Instant::now();
    let memory = check_histories(&memory(), wanted, seed).await;
    memory.unwrap_or_else(|error| panic!("memory, seed {seed}: {error}"));
    let (on_memory, start) = (start.elapsed(), Instant::now());
    let redis = check_histories(&Redis::on(database).await, wanted, seed).await;
    redis.unwrap_or_else(|error| panic!("Redis, seed {seed}: {error}"));
    println!(
        "CODEX-RAN histories: {wanted} of 5 tasks, 30 calls and 2 keys, seed {seed}, on memory in {on_memory:?} and on Redis in {:?}: \
         all linearizable",
        start.elapsed()
    );
}
