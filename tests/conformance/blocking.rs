//! The suites on the blocking caches and session stores.

use codex_kv::{
    conformance::{run_cache_blocking, run_session_blocking},
    testkit::{Harness, Report},
};

use crate::faulty_backend::FaultyBackendHarness;

fn run<H: Harness + 'static>(harness: &H, suite: impl AsyncFnOnce(&H) -> Report + Send + 'static) -> Report {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(suite(harness))
}

#[test]
fn the_suite_of_caches_runs_through_the_blocking_cache() {
    let report = run(&FaultyBackendHarness::sound(), async |harness| {
        run_cache_blocking(harness).await
    });
    assert!(!report.failed(), "{report}");
    assert!(report.to_string().contains("cverb-05  passed"), "{report}");
}

#[test]
fn the_suite_of_session_stores_runs_through_the_blocking_store() {
    let report = run(&FaultyBackendHarness::sound(), async |harness| {
        run_session_blocking(harness).await
    });
    assert!(!report.failed(), "{report}");
    assert!(report.to_string().contains("sverb-03  passed"), "{report}");
}
