//! The suites of caches and of session stores on memory under virtual time, on a real Redis, and on
//! faulty backends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

#[allow(dead_code, reason = "the suites here find a part of the alterations")]
#[path = "../../codex-testkit/tests/faulty_backends/altered/mod.rs"]
mod altered;
mod blocking;
mod cluster;
mod contract;
mod every_fault_is_found;
mod faulty_backend;
mod memory;
mod redis;
