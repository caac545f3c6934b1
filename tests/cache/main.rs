//! The contract of `Cache`, clause by clause, on the memory backend under virtual time and on a real Redis.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]
#![cfg(all(feature = "memory", feature = "redis"))]

#[macro_use]
mod support;

mod bad_input;
mod clear;
mod compute;
mod keys;
mod timeouts;
mod values;
mod verbs;
