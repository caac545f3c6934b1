//! The suites of caches and of session stores over memory under virtual time, over a real Redis, and over backends that are broken.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod contract;
mod memory;
mod redis;
mod specimen;
mod teeth;
