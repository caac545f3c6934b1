//! Tests of the contract of near caches, `docs/contract/near.md`, on `NearBackend`: on a simulated
//! store with a paused clock, and on real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod cluster;
mod histories;
mod refusal;
mod runtimes;
mod sentinel;
mod server;
mod simulated;

mod on_a_simulated_store {
    use super::simulated::Simulated;

    codex_testkit::near_conformance_tests!(
        #[tokio::test(start_paused = true)]
        Simulated::one_node()
    );
}

mod on_a_simulated_cluster {
    use super::simulated::Simulated;

    codex_testkit::near_conformance_tests!(
        #[tokio::test(start_paused = true)]
        Simulated::cluster()
    );
}

mod on_redis {
    codex_testkit::near_conformance_tests!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        codex_testkit::require!("redis", super::server::OneServer::start().await)
    );
}

mod on_a_cluster {
    codex_testkit::near_conformance_tests!(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        codex_testkit::require!("redis", super::cluster::OnCluster::start().await)
    );
}
