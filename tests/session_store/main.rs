//! Session stores on a backend of the tests' own, where something has to be counted or broken. The
//! clauses that any backend can be asked are in `codex_kv::conformance`, and run by
//! `tests/conformance`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod alone;
mod broken;
mod panics;
mod rotation;
mod support;
