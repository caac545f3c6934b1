//! Compares the memory backend with a real Redis on the same random operations.
//! `CODEX_DIFFERENTIAL_OPS` sets their number. `scripts/long differential-memory` runs a million.

#[path = "support/random_ops.rs"]
mod random_ops;

use std::time::Duration;

use codex_memory::{MemoryBackend, WhenFull};
use codex_redis::RedisBackend;
use codex_testkit::{Answer, redis::Database, require};
use codex_traits::{KvBackend, Ttl};
use random_ops::{Random, random_op};

/// Spans that outlast the test even on a slow machine, and zero, which ends immediately.
const SPANS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_secs(10_000),
    Duration::from_secs(1_000_000),
];

/// The largest accepted difference between two times to live. They differ because the two stores
/// are queried one after the other.
const SLACK: Duration = Duration::from_secs(60);

fn agree(ours: &Answer, theirs: &Answer) -> bool {
    match (ours, theirs) {
        (Answer::Ttl(Ttl::Remaining(ours)), Answer::Ttl(Ttl::Remaining(theirs))) => ours.abs_diff(*theirs) < SLACK,
        _ => ours == theirs,
    }
}

#[test]
fn random_operations_answer_as_redis_does() {
    let database = require!("redis", Database::lease());
    let ops = std::env::var("CODEX_DIFFERENTIAL_OPS").ok();
    let ops: u64 = ops.and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let redis = RedisBackend::connect(&database.url()).await.unwrap();
        let bounded = MemoryBackend::builder().max_entries(1000).when_full(WhenFull::Evict);
        let memories = [MemoryBackend::new(), bounded.build().unwrap()];
        let mut random = Random::new(5);
        for number in 0..ops {
            let op = random_op(&mut random, &SPANS);
            let theirs = op.call(&redis).await;
            for memory in &memories {
                let ours = op.call(memory).await;
                assert!(
                    agree(&ours, &theirs),
                    "operation {number}, {op:?}: {ours:?}, and Redis {theirs:?}"
                );
            }
        }
        assert!(redis.ttl("never set").await.is_ok());
    });
}
