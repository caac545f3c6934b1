//! Tests of the coder: the golden forms, refusals, and whole values through a cache.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, a panic is the report"
)]

mod forms;
mod typed;
mod whole;
