//! The same clauses, through the caches and session stores without `async`.

#![allow(
    clippy::duplicate_mod,
    reason = "the clauses are compiled twice, against the async and the blocking types"
)]

#[path = "../cache/mod.rs"]
mod cache;
#[path = "../context.rs"]
mod context;
mod face;
#[path = "../session/mod.rs"]
mod session;
mod sessions;
mod threads;
#[path = "../watched.rs"]
mod watched;

pub use cache::CacheContract as BlockingCacheContract;
pub use session::SessionContract as BlockingSessionContract;
