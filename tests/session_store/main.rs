//! Tests of session stores on special backends that count or break calls. The clauses for any
//! backend are in `codex_kv::conformance`; `tests/conformance` runs them.

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
