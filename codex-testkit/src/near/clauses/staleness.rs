//! The bound on staleness: near-05.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{disturb, expect, keep, put, refute, shown, value};
use crate::{
    failure::{Checked, ensure},
    near::{Disturbance, NearHarness},
};

/// Keeps a key, disturbs the store, and writes the key from another program. No answer may be older
/// than the bound, however often the key is read.
async fn is_bounded<H: NearHarness>(harness: &H, key: &str, disturbance: Disturbance<'_>) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, key, 1).await?;
    keep(harness, &near, key).await?;
    disturb(harness, disturbance).await?;
    put(&bare, key, 2).await?;
    let written = Instant::now();
    let limit = written + harness.max_staleness() + harness.slack();
    while Instant::now() <= limit {
        // Without the timeout, a call to a frozen store would last until its deadline.
        let _ = timeout(Duration::from_millis(20), shown(&near, key)).await;
        sleep(Duration::from_millis(5)).await;
    }
    refute(&near, key, Some(1), "the bound of staleness is over").await?;
    harness.disturb(Disturbance::Heal).await;
    sleep(harness.max_staleness()).await;
    expect(&near, key, Some(2), "the disturbance is over").await
}

pub(crate) async fn near_05_a_black_hole_bounds_staleness<H: NearHarness>(harness: &H) -> Checked {
    is_bounded(harness, "hole", Disturbance::BlackHole).await
}

pub(crate) async fn near_05_a_stream_that_hangs_bounds_staleness<H: NearHarness>(harness: &H) -> Checked {
    is_bounded(harness, "held", Disturbance::HoldStreams).await
}

pub(crate) async fn near_05_a_demoted_node_bounds_staleness<H: NearHarness>(harness: &H) -> Checked {
    is_bounded(harness, "demoted", Disturbance::FailOver("demoted")).await
}

pub(crate) async fn near_05_an_idle_near_cache_asks_again<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "idle", 1).await?;
    keep(harness, &near, "idle").await?;
    disturb(harness, Disturbance::BlackHole).await?;
    put(&bare, "idle", 2).await?;
    sleep(harness.max_staleness() * 3 + harness.slack()).await;
    refute(
        &near,
        "idle",
        Some(1),
        "the near cache was idle for longer than the bound",
    )
    .await?;
    harness.disturb(Disturbance::Heal).await;
    Ok(())
}

pub(crate) async fn near_05_the_lease_begins_when_the_proof_is_asked_for<H: NearHarness>(harness: &H) -> Checked {
    let bound = harness.max_staleness();
    let latency = bound.mul_f64(0.2);
    let held = latency.mul_f64(0.9);
    let (near, bare) = (harness.near().await?, harness.bare());
    for trial in 0..10_u32 {
        let key = format!("lease:{trial}");
        put(&bare, &key, 1).await?;
        disturb(harness, Disturbance::Latency(latency)).await?;
        let until = Instant::now() + bound * 2 + bound.mul_f64(f64::from(trial) * 0.085);
        while Instant::now() < until {
            let _ = shown(&near, &key).await;
            sleep(bound.mul_f64(0.02)).await;
        }
        // Proofs that were requested before this write still arrive. Its report does not.
        put(&bare, &key, 2).await?;
        let written = Instant::now();
        sleep(held).await;
        disturb(harness, Disturbance::BlackHole).await?;
        while written.elapsed() <= bound + harness.slack() {
            let _ = timeout(bound.mul_f64(0.02), shown(&near, &key)).await;
            sleep(bound.mul_f64(0.01)).await;
        }
        if let Ok(Some(got)) = timeout(bound.mul_f64(0.02), shown(&near, &key)).await {
            ensure!(
                got != Some(value(1)),
                "a proof that was asked for before a write outlived its bound"
            );
        }
        harness.disturb(Disturbance::Heal).await;
        sleep(bound).await;
    }
    Ok(())
}
