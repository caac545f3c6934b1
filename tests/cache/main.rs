//! Tests of caches: clauses that do not depend on the backend, counts, and generated values. The
//! clauses for any backend are in `codex_kv::conformance`; `tests/conformance` runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

mod bad_input;
mod compute;
mod keys;
mod lease_model;
mod loaders;
mod metrics;
mod processes;
mod races;
mod side_by_side;
mod values;
mod waits;
