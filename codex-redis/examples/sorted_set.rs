//! A high-score table in a sorted set, through `redis::AsyncCommands` on the connections of a
//! backend.
//!
//! ```text
//! cargo run -p codex-redis --example sorted_set -- redis://127.0.0.1:6379/0
//! ```

use codex_redis::RedisBackend;
use codex_traits::{KvBackend, SetOptions};
use redis::AsyncCommands;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1);
    let url = url.as_deref().unwrap_or("redis://127.0.0.1:6379/0");
    let backend = RedisBackend::connect(url).await?;

    // The backend's verbs and any other command share connections, deadlines and limits.
    let mut connection = backend.connection();
    let _: i64 = connection
        .zadd_multiple("example:scores", &[(31, "ada"), (12, "grace"), (27, "alan")])
        .await?;
    let best: Vec<(String, f64)> = connection.zrevrange_withscores("example:scores", 0, 1).await?;
    let text = best
        .iter()
        .map(|(name, score)| format!("{name} {score}"))
        .collect::<Vec<_>>()
        .join(", ");
    let outcome = backend
        .set("example:best", text.clone().into(), SetOptions::new())
        .await?;
    assert!(outcome.is_written());
    assert_eq!(text, "ada 31, alan 27");

    let removed = backend.del(&["example:scores", "example:best"]).await?;
    assert_eq!(removed, 2);
    Ok(())
}
