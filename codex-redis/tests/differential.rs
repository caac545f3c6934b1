//! The model, the memory store and a real Redis run the same operations and must give the same
//! answers.
//!
//! Short runs are tests. `scripts/long differential` and `scripts/long histories` run longer.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    env,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
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
        // Other work on this machine may delay it.
        let settings = RedisBackend::builder().command_timeout(Duration::from_secs(30));
        let url = database.unix_url().unwrap_or_else(|| database.url());
        let backend = settings.url(&url).build().await.unwrap();
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

/// Returns a harness of memory backends that share a clock, which the suite advances.
fn memory() -> impl Harness<Backend = MemoryBackend> {
    let clock = ManualClock::new();
    let moved = clock.clone();
    let time = VirtualTime::from_fn(move |by| moved.advance(by));
    InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
}

/// Returns a number from the environment, which the scripts set.
fn setting<T: FromStr>(name: &str, default: T) -> T {
    let Ok(text) = env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}"))
}

/// The operations that both stores have run.
#[derive(Default)]
struct Asked {
    operations: AtomicUsize,
    sequences: AtomicUsize,
}

impl Asked {
    async fn replay(&self, memory: &impl Harness, redis: &impl Harness, operations: &[Op]) -> Result<(), Divergence> {
        replay(memory, operations).await?;
        replay(redis, operations).await?;
        self.operations.fetch_add(operations.len(), Ordering::Relaxed);
        self.sequences.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Runs sequences of every fourth seed, until all lanes together have run `wanted` operations.
    #[expect(
        clippy::future_not_send,
        reason = "proptest's trees cannot be sent; each lane stays on its thread"
    )]
    async fn until(&self, wanted: usize, first_seed: u64, redis: &Redis) {
        let memory = memory();
        // No time passes, because the server's clock cannot be moved. The testkit's own tests cover
        // the passage of time on the memory store.
        let sequences = Sequences::new(&redis.time()).longest(100);
        let mut seed = first_seed;
        while self.operations.load(Ordering::Relaxed) < wanted {
            let sequences = sequences.clone().seed(seed);
            let checked = sequences.check(20, |operations| {
                let memory = &memory;
                async move { self.replay(memory, redis, &operations).await }
            });
            if let Err(divergence) = checked.await {
                panic!("seed {seed}: {divergence:?}");
            }
            seed += LANES;
        }
    }
}

/// The number of sequences in progress at the same time. Each waits for its answer most of the
/// time.
const LANES: u64 = 4;

#[test]
fn model_memory_and_redis_answer_the_same() {
    let mut databases = vec![codex_testkit::require!("redis", Database::lease())];
    databases.extend((1..LANES).map(|_| Database::lease().unwrap()));
    let wanted: usize = setting("CODEX_DIFFERENTIAL_OPERATIONS", 4_000);
    let first_seed: u64 = setting("CODEX_DIFFERENTIAL_SEED", 0);
    let asked = Asked::default();
    let start = Instant::now();
    thread::scope(|scope| {
        for (seed, database) in (first_seed..).zip(databases) {
            let asked = &asked;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime
                    .unwrap()
                    .block_on(async { asked.until(wanted, seed, &Redis::on(database).await).await });
            });
        }
    });
    println!(
        "CODEX-RAN differential: {:?} operations in {:?} sequences, from seed {first_seed} on, on model, memory and Redis: no divergence in {:?}",
        asked.operations,
        asked.sequences,
        start.elapsed()
    );
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
