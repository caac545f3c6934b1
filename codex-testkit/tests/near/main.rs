//! The near-cache clauses. A sound near cache passes them, and each broken near cache fails the
//! clause that it violates.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod broken;
mod cache;
mod harness;
mod histories;

mod sound {
    //! Every clause on a single-node store.
    use super::harness::SimulatedHarness;

    codex_testkit::near_conformance_tests!(
        #[tokio::test(start_paused = true)]
        SimulatedHarness::sound()
    );
}

mod sound_cluster {
    //! Every clause on a cluster whose proofs do not notice that a slot has moved.
    use super::harness::SimulatedHarness;

    codex_testkit::near_conformance_tests!(
        #[tokio::test(start_paused = true)]
        SimulatedHarness::sound_cluster()
    );
}
