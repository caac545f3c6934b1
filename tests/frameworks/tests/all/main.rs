//! Tests of the stores and the middleware of `codex-kv` with their frameworks, on memory and on a
//! real Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]
#![allow(
    clippy::future_not_send,
    reason = "actix-web runs a request on the thread that accepted it"
)]

mod actix;
mod actix_session;
mod axum_login;
mod tower_sessions;

use codex_kv::{AnyBackend, memory::MemoryBackend, redis::RedisBackend};
use codex_testkit::redis::Database;

fn memory() -> AnyBackend {
    AnyBackend::new(MemoryBackend::new())
}

async fn redis(database: &Database) -> AnyBackend {
    AnyBackend::new(RedisBackend::connect(&database.patient_url()).await.unwrap())
}

/// Returns the value of a `Set-Cookie` header as a browser sends it back, or `None` if the header
/// removes the cookie.
fn sent_back(set_cookie: &str) -> Option<String> {
    let pair = set_cookie.split(';').next().unwrap();
    let (_, value) = pair.split_once('=').unwrap();
    (!value.is_empty()).then(|| pair.to_owned())
}
