//! The near cache on real Redis servers: what `docs/contract/near.md` states, where the clauses of
//! the testkit's double cannot show it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of tests fail as tests do"
)]

mod build;
mod coherence;
mod conformance;
mod failure;
mod long;
mod support;
