//! Histories of concurrent calls under disturbances, checked against the contract.

use std::{env, time::Duration};

use codex_kv::near::NearBackend;
use codex_testkit::{
    Fault,
    doubles::TrackingStore,
    near::{Bounds, HistoryShape, NearHarness as _, record_history},
    require,
};
use tokio::time::sleep;

use crate::{
    server::{MAX_STALENESS, OneServer},
    simulated::TokioClock,
};

/// Returns the seeds of the histories: their number is from `CODEX_NEAR_HISTORIES`, and the first
/// is from `CODEX_HISTORIES_SEED`.
fn seeds(default: u64) -> std::ops::Range<u64> {
    let read = |name: &str, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seed, count) = (read("CODEX_HISTORIES_SEED", 1), read("CODEX_NEAR_HISTORIES", default));
    seed..seed + count
}

#[tokio::test(start_paused = true)]
async fn near_02_near_03_near_05_simulated_histories_are_explained() {
    let staleness = Duration::from_millis(60);
    for seed in seeds(400) {
        let store = if seed % 2 == 0 {
            TrackingStore::new(seed)
        } else {
            TrackingStore::cluster(3, seed)
        };
        let near = async || {
            let builder = NearBackend::builder(store.another())
                .max_staleness(staleness)
                .clock(TokioClock::start());
            builder.build().await.unwrap()
        };
        let handles = [near().await, near().await];
        let mut shape = HistoryShape::new(seed);
        shape.calls = 20;
        let bare = store.outside();
        let (history, ()) = tokio::join!(record_history(&handles, &bare, &shape), store.disturb_and_heal(seed));
        let bounds = Bounds::new(staleness).with_slack(Duration::from_millis(2));
        if let Err(violation) = history.unwrap().check(&bounds) {
            panic!("seed {seed}: {violation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_02_near_03_near_05_histories_on_redis_are_explained() {
    let harness = require!("redis", OneServer::start().await);
    let mut handles = [harness.near().await.unwrap(), harness.near().await.unwrap()];
    let bounds = Bounds::new(MAX_STALENESS).with_slack(Duration::from_millis(50));
    for seed in seeds(60) {
        if seed % 50 == 0 {
            handles = [harness.near().await.unwrap(), harness.near().await.unwrap()];
        }
        let mut shape = HistoryShape::new(seed);
        // Killed processes may have left keys behind.
        shape.prefix = format!("history:{}:{seed}:", std::process::id());
        shape.calls = 16;
        let bare = harness.bare();
        let disturbing = async {
            sleep(Duration::from_millis(seed % 23)).await;
            match seed % 6 {
                0 => harness.proxy().cut(),
                1 => harness.proxy().set_fault(Fault::Stall),
                2 => harness.proxy().set_fault(Fault::Delay(Duration::from_millis(3))),
                3 => harness.server().pause(),
                4 => harness.proxy().set_fault(Fault::CutBeforeReply),
                _ => return,
            }
            sleep(Duration::from_millis(5 + seed % 40)).await;
            harness.server().resume();
            harness.proxy().set_fault(Fault::None);
        };
        let (history, ()) = tokio::join!(record_history(&handles, &bare, &shape), disturbing);
        if let Err(violation) = history.unwrap().check(&bounds) {
            panic!("seed {seed}: {violation}");
        }
    }
}
