//! The clauses of a near cache. A sound near cache keeps them, and each broken near cache is
//! detected by the clause that it breaks.

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
    //! Every clause on a store of a single node.
    use super::harness::SimulatedHarness;

    codex_testkit::near_conformance_tests!(
        #[tokio::test(start_paused = true)]
        SimulatedHarness::sound()
    );
}

mod sound_cluster {
    //! Every clause on a store of several nodes, whose epoch does not show that a slot moved.
    use super::harness::SimulatedHarness;

    codex_testkit::near_conformance_tests!(
        #[tokio::test(start_paused = true)]
        SimulatedHarness::sound_cluster()
    );
}
