//! Tests of the near cache on real Redis servers, for the parts of `docs/contract/near.md` that the
//! testkit's double cannot test.
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
