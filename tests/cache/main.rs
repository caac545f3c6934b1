//! Caches: what no backend can change, what is counted, and generated values. The clauses that any
//! backend can be asked are in `codex_kv::conformance`, and run by `tests/conformance`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

mod bad_input;
mod compute;
mod keys;
mod lease_model;
mod metrics;
mod processes;
mod races;
mod side_by_side;
mod values;
mod waits;
