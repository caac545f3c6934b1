//! The clauses of a near cache. This file holds near-02 and near-03: the order of the answers of
//! one near cache.

mod entries;
mod reports;
mod staleness;

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{KvBackend, SetOptions, SetOutcome, Ttl};
use futures_util::future::join;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use self::{entries::*, reports::*, staleness::*};
use super::{Bounds, Disturbance, HistoryShape, NearHarness, record_history};
use crate::failure::{Checked, Failure, ensure};

/// The number of rounds of a race. Each round has a fair chance of revealing a defect.
const ROUNDS: u64 = 60;

/// The interval at which a slow condition is polled.
const PAUSE: Duration = Duration::from_millis(2);

fn value(version: u64) -> Bytes {
    Bytes::from(version.to_string())
}

async fn put<B: KvBackend>(backend: &B, key: &str, version: u64) -> Checked {
    let _ = backend.set(key, value(version), SetOptions::new()).await?;
    Ok(())
}

/// Stores a version through a client whose connections [`Disturbance::Cut`] may also have closed.
/// The first calls may then fail.
async fn put_after_a_cut<B: KvBackend>(backend: &B, key: &str, version: u64) -> Checked {
    const ATTEMPTS: u32 = 200;
    for _ in 1..ATTEMPTS {
        match backend.set(key, value(version), SetOptions::new()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == codex_traits::ErrorKind::Connection => {
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    put(backend, key, version).await
}

/// Returns the value of `key`, or `None` if the store is out of service.
async fn shown<B: KvBackend>(backend: &B, key: &str) -> Option<Option<Bytes>> {
    use codex_traits::ErrorKind::{Connection, Server, Timeout};
    match backend.get(key).await {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(matches!(error.kind(), Connection | Server | Timeout), "{error}");
            None
        }
    }
}

async fn expect<B: KvBackend>(backend: &B, key: &str, version: Option<u64>, what: &str) -> Checked {
    let got = backend.get(key).await?;
    let expected = version.map(value);
    ensure!(got == expected, "{what}: expected {expected:?}, got {got:?}");
    Ok(())
}

/// Fails unless the near cache answers with `version` within the time that a push takes.
async fn expect_soon<H: NearHarness>(
    harness: &H,
    near: &H::Near,
    key: &str,
    version: Option<u64>,
    what: &str,
) -> Checked {
    let (began, expected) = (Instant::now(), version.map(value));
    loop {
        let is_late = began.elapsed() > harness.push_time();
        let got = shown(near, key).await;
        if got.as_ref() == Some(&expected) {
            return Ok(());
        }
        ensure!(!is_late, "{what}: expected {expected:?}, got {got:?}");
        sleep(PAUSE).await;
    }
}

/// Fails if the near cache still answers `old`.
async fn refute<B: KvBackend>(backend: &B, key: &str, old: Option<u64>, what: &str) -> Checked {
    let got = shown(backend, key).await;
    ensure!(got != Some(old.map(value)), "{what}: it still answers {got:?}");
    Ok(())
}

async fn disturb<H: NearHarness>(harness: &H, disturbance: Disturbance<'_>) -> Checked {
    if harness.disturb(disturbance).await {
        return Ok(());
    }
    Err(Failure::NotApplicable(
        "the harness cannot disturb the store in this way",
    ))
}

/// Reads `key` until the near cache keeps it, so that a read sends no request to the store. This
/// can take several reads, because the report of an earlier write can arrive in between.
async fn keep<H: NearHarness>(harness: &H, near: &H::Near, key: &str) -> Checked {
    // Waits for the reports of earlier writes, which would drop the key again.
    sleep(PAUSE * 5).await;
    let limit = Instant::now() + harness.push_time() * 50;
    while Instant::now() < limit {
        near.get(key).await?;
        let before = harness.reads();
        near.get(key).await?;
        if before.is_none() || harness.reads() == before {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
    Err(Failure::Broken(
        "a key that is read again and again is never kept".to_owned(),
    ))
}

pub(crate) async fn near_02_own_writes_are_read<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS {
        let key = format!("own:{round}");
        put(&bare, &key, 1).await?;
        keep(harness, &near, &key).await?;
        let (written, read) = join(put(&near, &key, 2), near.get(&key)).await;
        written?;
        read?;
        expect(&near, &key, Some(2), "a read after an own write").await?;
        let (removed, read) = join(near.del(&[&key]), near.get(&key)).await;
        removed?;
        read?;
        expect(&near, &key, None, "a read after an own removal").await?;
    }
    Ok(())
}

pub(crate) async fn near_02_a_clone_reads_the_writes_of_another<H: NearHarness>(harness: &H) -> Checked {
    let near = harness.near().await?;
    let clone = near.clone();
    for round in 0..ROUNDS {
        let key = format!("clone:{round}");
        put(&near, &key, 1).await?;
        keep(harness, &near, &key).await?;
        keep(harness, &clone, &key).await?;
        put(&near, &key, 2).await?;
        expect(&clone, &key, Some(2), "a read by a clone").await?;
    }
    Ok(())
}

pub(crate) async fn near_02_nothing_is_kept_while_a_write_is_unresolved<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "dropped", 1).await?;
    keep(harness, &near, "dropped").await?;
    if !harness.disturb(Disturbance::HoldStreams).await {
        disturb(harness, Disturbance::BlackHole).await?;
    }
    // The call is sent, but dropped before it is answered.
    let _ = timeout(
        Duration::from_millis(1),
        near.set("dropped", value(2), SetOptions::new()),
    )
    .await;
    let limit = Instant::now() + Duration::from_secs(5);
    while bare.get("dropped").await? != Some(value(2)) {
        if Instant::now() > limit {
            return Err(Failure::NotApplicable("the dropped write never reached the store"));
        }
        sleep(Duration::from_millis(1)).await;
    }
    refute(&near, "dropped", Some(1), "the store has a write that was dropped").await?;
    harness.disturb(Disturbance::Heal).await;
    Ok(())
}

pub(crate) async fn near_02_no_read_beside_a_dropped_write_is_kept<H: NearHarness>(harness: &H) -> Checked {
    /// The time between a request and its answer.
    const LATENCY: Duration = Duration::from_millis(50);
    const ATTEMPTS: u64 = 20;
    if harness.reads().is_none() {
        return Err(Failure::NotApplicable("the harness does not count reads"));
    }
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "another", 1).await?;
    keep(harness, &near, "another").await?;
    for verb in ["get", "get_with_ttl", "get_many"] {
        let mut was_dropped = false;
        for attempt in 0..ATTEMPTS {
            // Not read before, so that the write causes no report.
            let key = format!("beside:{verb}:{attempt}");
            put(&bare, &key, 1).await?;
            disturb(harness, Disturbance::Latency(LATENCY)).await?;
            // The call is sent, but dropped before it is answered.
            let write = near.set(&key, value(2), SetOptions::new());
            let write = timeout(LATENCY / 2, write).await;
            match verb {
                "get" => drop(near.get(&key).await?),
                "get_with_ttl" => drop(near.get_with_ttl(&key).await?),
                _ => drop(near.get_many(&["another", &key]).await?),
            }
            harness.disturb(Disturbance::Heal).await;
            // On a busy machine, the call may be dropped before it is sent, or answered in time.
            was_dropped = write.is_err() && bare.get(&key).await? == Some(value(2));
            if was_dropped {
                let before = harness.reads();
                near.get(&key).await?;
                ensure!(
                    harness.reads() != before,
                    "a {verb} that began before the answer to a dropped write was kept"
                );
                break;
            }
        }
        if !was_dropped {
            return Err(Failure::NotApplicable("no dropped write reached the store"));
        }
    }
    Ok(())
}

pub(crate) async fn near_03_histories_are_explained<H: NearHarness>(harness: &H) -> Checked {
    let handles = [harness.near().await?, harness.near().await?];
    let bounds = Bounds::new(harness.max_staleness())
        .with_push_time(harness.push_time())
        .with_slack(harness.slack());
    for seed in 0..ROUNDS {
        let shape = HistoryShape::new(seed);
        let history = record_history(&handles, &harness.bare(), &shape).await?;
        history
            .check(&bounds)
            .map_err(|violation| Failure::Broken(violation.to_string()))?;
    }
    Ok(())
}

pub(crate) async fn near_03_no_verb_shows_a_newer_state_than_a_later_read<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS / 2 {
        let key = format!("bypass:{round}");
        put(&bare, &key, 1).await?;
        keep(harness, &near, &key).await?;
        // Without this, the report usually arrives before the answer of the other verb.
        let is_held = harness.disturb(Disturbance::HoldStreams).await;
        put(&bare, &key, 2).await?;
        let is_newer = match round % 4 {
            0 => near.get_with_ttl(&key).await?.is_some_and(|(got, _)| got == value(2)),
            1 => !near.del_if_equals(&key, &value(1)).await?,
            2 => near.set(&key, value(3), SetOptions::if_absent()).await? == SetOutcome::Refused,
            _ => {
                bare.del(&[&key]).await?;
                near.ttl(&key).await? == Ttl::Missing
            }
        };
        if is_newer {
            let got = timeout(harness.push_time(), shown(&near, &key)).await;
            ensure!(
                got != Ok(Some(Some(value(1)))),
                "another verb had shown a newer state than a read"
            );
        }
        if is_held {
            harness.disturb(Disturbance::Heal).await;
        }
    }
    Ok(())
}
