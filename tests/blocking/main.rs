//! Tests of the blocking caches and session stores.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

mod panics;
mod runtimes;
mod thread_locals;
mod threads;
