//! A near cache of a Redis server, and the round trips that it saves.
//!
//! ```text
//! REDIS_URL=redis://127.0.0.1:6379/0 cargo run --release --example near_cache
//! ```
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    time::{Duration, Instant},
};

use codex_kv::{KvBackend, NearBackend, SetOptions, redis::RedisBackend};

const READS: u32 = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379/0".to_owned());
    let redis = RedisBackend::connect(&url).await?;
    let near = NearBackend::builder(redis.clone())
        .max_bytes(64 << 20)
        .max_staleness(Duration::from_secs(1))
        .build()
        .await?;

    let key = "example:near_cache";
    let options = || SetOptions::expires_after(Duration::from_secs(60));
    let _ = redis.set(key, "first".into(), options()).await?;

    let plain = time_per_read(&redis, key).await?;
    let hot = time_per_read(&near, key).await?;
    println!("RedisBackend: {plain:?} per read");
    println!("NearBackend:  {hot:?} per read, {:?}", near.stats());

    // Another program writes, and Redis notifies the near cache.
    let _ = redis.set(key, "second".into(), options()).await?;
    let written = Instant::now();
    while near.get(key).await?.as_deref() != Some(b"second") {
        tokio::task::yield_now().await;
    }
    println!("A write of another connection was seen after {:?}", written.elapsed());

    redis.del(&[key]).await?;
    Ok(())
}

async fn time_per_read(backend: &impl KvBackend, key: &str) -> codex_kv::Result<Duration> {
    backend.get(key).await?;
    let start = Instant::now();
    for _ in 0..READS {
        backend.get(key).await?;
    }
    Ok(start.elapsed() / READS)
}
