//! The clauses of a near cache.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Expiry, KvBackend, KvBackendExt as _, Pattern, Result, SetOptions, SetOutcome, Ttl};
use futures_util::future::join;
use tokio::time::{Instant, sleep, timeout};

use super::{Bounds, Disturbance, HistoryShape, NearHarness, record_history};
use crate::failure::{Checked, Failure, ensure};

/// Rounds of a race. Each has a fair chance to show a defect.
const ROUNDS: u64 = 60;

/// The pause between two looks at something that takes its time.
const PAUSE: Duration = Duration::from_millis(2);

fn value(version: u64) -> Bytes {
    Bytes::from(version.to_string())
}

async fn put<B: KvBackend>(backend: &B, key: &str, version: u64) -> Checked {
    let _ = backend.set(key, value(version), SetOptions::new()).await?;
    Ok(())
}

/// Stores a version by a handle whose connections were closed too. The first calls may find them
/// closed.
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

/// Returns the value of `key`, or `None` if the store is out of reach.
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

/// Fails unless the near cache answers this within the time that a push takes.
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

/// Reads `key` until it is kept: a read of it asks nothing of the store. It can take some reads,
/// because a report of an earlier write can arrive in between.
async fn keep<H: NearHarness>(harness: &H, near: &H::Near, key: &str) -> Checked {
    // For the reports of earlier writes, which would drop the key again.
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
    // Sent, and dropped before it is answered.
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
        // Without this the report is mostly faster than the other verb.
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

pub(crate) async fn near_04_writes_of_others_are_seen<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS / 4 {
        let key = format!("others:{round}");
        expect(&near, &key, None, "a key that is missing").await?;
        keep(harness, &near, &key).await?;
        put(&bare, &key, 1).await?;
        expect_soon(harness, &near, &key, Some(1), "a key that was missing").await?;
        keep(harness, &near, &key).await?;
        put(&bare, &key, 2).await?;
        expect_soon(harness, &near, &key, Some(2), "a key that was written").await?;
        keep(harness, &near, &key).await?;
        bare.del(&[&key]).await?;
        expect_soon(harness, &near, &key, None, "a key that was removed").await?;
        put(&bare, &key, 3).await?;
        keep(harness, &near, &key).await?;
        bare.expire(&key, Expiry::After(Duration::ZERO)).await?;
        expect_soon(harness, &near, &key, None, "a key whose time to live was set to zero").await?;
    }
    Ok(())
}

pub(crate) async fn near_04_a_kept_key_costs_no_request<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "hot", 1).await?;
    keep(harness, &near, "hot").await?;
    let Some(before) = harness.reads() else {
        return Err(Failure::NotApplicable("the harness does not count reads"));
    };
    for _ in 0..100 {
        expect(&near, "hot", Some(1), "a key that is kept").await?;
    }
    let after = harness.reads().unwrap_or(before);
    // A busy machine can be too late to renew the lease.
    ensure!(
        after - before <= 2,
        "100 reads of a kept key asked the store {} times",
        after - before
    );
    Ok(())
}

pub(crate) async fn near_04_a_flush_of_everything_is_seen<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "flushed", 1).await?;
    keep(harness, &near, "flushed").await?;
    disturb(harness, Disturbance::FlushAll).await?;
    expect_soon(harness, &near, "flushed", None, "a key after everything was removed").await
}

pub(crate) async fn near_04_a_write_in_another_database_ends_tracking<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "same", 1).await?;
    keep(harness, &near, "same").await?;
    disturb(harness, Disturbance::WriteInAnotherDatabase("same")).await?;
    sleep(PAUSE * 5).await;
    put(&bare, "same", 2).await?;
    expect_soon(
        harness,
        &near,
        "same",
        Some(2),
        "a key whose name was written in another database",
    )
    .await
}

pub(crate) async fn near_04_a_write_below_the_near_cache_is_seen<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    let Some(below) = harness.below(&near) else {
        return Err(Failure::NotApplicable("the harness does not know the backend below"));
    };
    put(&bare, "below", 1).await?;
    keep(harness, &near, "below").await?;
    put(&below, "below", 2).await?;
    expect_soon(
        harness,
        &near,
        "below",
        Some(2),
        "a key that the application wrote past its near cache",
    )
    .await
}

pub(crate) async fn near_04_every_kept_key_is_tracked<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    let keys: Vec<String> = (0..20).map(|number| format!("tracked:{number}")).collect();
    for key in &keys {
        put(&bare, key, 1).await?;
        expect(&near, key, Some(1), "a first read").await?;
    }
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    near.get_many(&names).await?;
    for key in &keys {
        put(&bare, key, 2).await?;
    }
    for key in &keys {
        expect_soon(harness, &near, key, Some(2), "a key that was read and then written").await?;
    }
    Ok(())
}

pub(crate) async fn near_04_a_miss_that_no_stream_read_is_not_kept<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for key in ["ttl", "del", "expire", "condition"] {
        let is_missing = match key {
            "ttl" => near.ttl(key).await? == Ttl::Missing,
            "del" => near.del(&[key]).await? == 0,
            "expire" => !near.expire(key, Expiry::Never).await?,
            _ => near.set(key, value(2), SetOptions::if_present()).await? == SetOutcome::Refused,
        };
        ensure!(is_missing, "a missing key is there for {key}");
        put(&bare, key, 1).await?;
        expect_soon(
            harness,
            &near,
            key,
            Some(1),
            "a key of which only another verb had asked",
        )
        .await?;
    }
    Ok(())
}

/// Keeps a key, disturbs, and lets another program write. No answer may be older than the bound,
/// however often it is read.
async fn is_bounded<H: NearHarness>(harness: &H, key: &str, disturbance: Disturbance<'_>) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, key, 1).await?;
    keep(harness, &near, key).await?;
    disturb(harness, disturbance).await?;
    put(&bare, key, 2).await?;
    let written = Instant::now();
    let limit = written + harness.max_staleness() + harness.slack();
    while Instant::now() <= limit {
        // A call of a frozen store waits for its deadline.
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
    for trial in 0..14_u32 {
        let key = format!("lease:{trial}");
        put(&bare, &key, 1).await?;
        disturb(harness, Disturbance::Latency(latency)).await?;
        let until = Instant::now() + bound * 2 + bound.mul_f64(f64::from(trial) * 0.06);
        while Instant::now() < until {
            let _ = shown(&near, &key).await;
            sleep(bound.mul_f64(0.02)).await;
        }
        // Proofs that were asked for earlier are answered before the report arrives.
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

pub(crate) async fn near_06_a_read_under_way_is_not_kept<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS {
        let key = format!("crossed:{round}");
        let is_written = AtomicBool::new(false);
        let writing = async {
            for version in 1..=3 {
                put(&bare, &key, version).await?;
            }
            is_written.store(true, Ordering::SeqCst);
            Checked::Ok(())
        };
        let reading = async {
            while !is_written.load(Ordering::SeqCst) {
                near.get(&key).await?;
                // Under a paused clock a loop of kept reads would stop the time.
                sleep(Duration::from_millis(1)).await;
            }
            Checked::Ok(())
        };
        let (written, read) = join(writing, reading).await;
        written?;
        read?;
        expect_soon(harness, &near, &key, Some(3), "a read that crossed a write was kept").await?;
    }
    Ok(())
}

pub(crate) async fn near_07_a_value_ends_at_its_time<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    let ttl = harness.slack() * 2 + Duration::from_millis(80);
    for round in 0..5 {
        let key = format!("ends:{round}");
        let written = Instant::now();
        let _ = bare.set(&key, value(1), SetOptions::expires_after(ttl)).await?;
        let answered = Instant::now();
        near.get(&key).await?;
        near.get(&key).await?;
        while answered.elapsed() <= ttl + harness.slack() {
            let got = near.get(&key).await?;
            let is_early = got.is_none() && written.elapsed() < ttl;
            ensure!(!is_early, "a value was gone before its time to live");
            sleep(Duration::from_millis(3)).await;
        }
        expect(&near, &key, None, "a value after its time to live").await?;
    }
    Ok(())
}

pub(crate) async fn near_07_a_miss_ends_although_its_slot_moved<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    expect(&near, "moved", None, "a missing key").await?;
    keep(harness, &near, "moved").await?;
    disturb(harness, Disturbance::MoveKey("moved")).await?;
    put(&bare, "moved", 1).await?;
    let written = Instant::now();
    while written.elapsed() <= harness.max_staleness() + harness.slack() {
        let _ = shown(&near, "moved").await;
        sleep(Duration::from_millis(5)).await;
    }
    expect(&near, "moved", Some(1), "a key that was missing when its slot moved").await
}

pub(crate) async fn near_08_a_condition_asks_the_store<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS / 4 {
        let key = format!("condition:{round}");
        put(&bare, &key, 1).await?;
        keep(harness, &near, &key).await?;
        bare.del(&[&key]).await?;
        let outcome = near.set(&key, value(2), SetOptions::if_absent()).await?;
        ensure!(
            outcome == SetOutcome::Written,
            "IfAbsent was refused for a key that is missing"
        );
        expect(&near, &key, Some(2), "a read after a conditional write").await?;
        keep(harness, &near, &key).await?;
        put(&bare, &key, 3).await?;
        let equals = codex_traits::Condition::IfEquals(value(2));
        let outcome = near
            .set(&key, value(4), SetOptions::new().with_condition(equals))
            .await?;
        ensure!(outcome == SetOutcome::Refused, "IfEquals compared with what was kept");
        ensure!(
            near.set_if_absent(&key, value(5), Expiry::Never).await? == SetOutcome::Refused,
            "IfAbsent replaced a value"
        );
        expect(&near, &key, Some(3), "a read after a refused write").await?;
    }
    Ok(())
}

pub(crate) async fn near_08_a_written_value_is_not_kept<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS / 4 {
        let key = format!("written:{round}");
        put(&near, &key, 1).await?;
        sleep(PAUSE * 5).await;
        put(&bare, &key, 2).await?;
        expect_soon(
            harness,
            &near,
            &key,
            Some(2),
            "a key that the near cache wrote and another program replaced",
        )
        .await?;
    }
    Ok(())
}

pub(crate) async fn near_08_a_removal_by_pattern_is_read<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..ROUNDS / 4 {
        let key = format!("pattern:{round}");
        put(&bare, &key, 1).await?;
        keep(harness, &near, &key).await?;
        let (removed, read) = join(near.del_matching(&Pattern::prefix("pattern:")), near.get(&key)).await;
        read?;
        ensure!(removed? == 1, "one key matches");
        expect(&near, &key, None, "a key that was removed by a pattern").await?;
    }
    Ok(())
}

pub(crate) async fn near_09_a_reconnect_drops_everything<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for round in 0..5 {
        let key = format!("cut:{round}");
        put(&bare, &key, 1).await?;
        keep(harness, &near, &key).await?;
        disturb(harness, Disturbance::Cut).await?;
        put_after_a_cut(&bare, &key, 2).await?;
        expect_soon(harness, &near, &key, Some(2), "the connection was closed").await?;
        sleep(harness.max_staleness()).await;
        // Kept again, and coherent.
        expect(&near, &key, Some(2), "a read after a reconnect").await?;
        keep(harness, &near, &key).await?;
        put(&bare, &key, 3).await?;
        expect_soon(harness, &near, &key, Some(3), "a write after a reconnect").await?;
    }
    Ok(())
}

pub(crate) async fn near_09_a_fail_over_is_followed<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    put(&bare, "followed", 1).await?;
    keep(harness, &near, "followed").await?;
    disturb(harness, Disturbance::FailOver("followed")).await?;
    let limit = Instant::now() + harness.max_staleness() + harness.slack();
    while Instant::now() <= limit {
        let _ = shown(&near, "followed").await;
        sleep(Duration::from_millis(5)).await;
    }
    put(&bare, "followed", 2).await?;
    expect_soon(harness, &near, "followed", Some(2), "a read from the new primary").await?;
    keep(harness, &near, "followed").await?;
    put(&near, "followed", 3).await?;
    expect(&near, "followed", Some(3), "an own write to the new primary").await
}

pub(crate) async fn near_10_memory_is_bounded<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    let Some((_, bound)) = harness.memory(&near) else {
        return Err(Failure::NotApplicable(
            "the harness does not tell the size of the near cache",
        ));
    };
    let length = 1024;
    let keys = (bound * 3 / length).min(3000);
    for number in 0..keys {
        let key = format!("many:{number}");
        let _ = bare.set(&key, vec![7; 1024].into(), SetOptions::new()).await?;
        near.get(&key).await?;
        let (held, _) = harness.memory(&near).unwrap_or_default();
        ensure!(held <= bound, "{held} bytes are held, and the bound is {bound}");
    }
    Ok(())
}

pub(crate) async fn near_10_a_long_value_is_not_kept<H: NearHarness>(harness: &H) -> Checked {
    let (Some(longest), Some(_)) = (harness.max_value_bytes(), harness.reads()) else {
        return Err(Failure::NotApplicable(
            "the harness does not tell the longest value that is kept",
        ));
    };
    let (near, bare) = (harness.near().await?, harness.bare());
    let long = Bytes::from(vec![7; longest + 1]);
    let _ = bare.set("long", long.clone(), SetOptions::new()).await?;
    for _ in 0..3 {
        let before = harness.reads();
        ensure!(
            near.get("long").await? == Some(long.clone()),
            "a long value is answered"
        );
        ensure!(harness.reads() != before, "a value above the limit was kept");
    }
    Ok(())
}

pub(crate) async fn near_11_get_many_answers_in_order<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for (version, key) in ["a", "b", "c"].into_iter().enumerate() {
        put(&bare, key, version as u64).await?;
    }
    keep(harness, &near, "a").await?;
    keep(harness, &near, "c").await?;
    let asked = ["c", "b", "x", "a", "b"];
    let expected: Vec<_> = [Some(2), Some(1), None, Some(0), Some(1)]
        .map(|version| version.map(value))
        .into();
    let before = harness.reads();
    let got: Result<Vec<_>> = near.get_many(&asked).await;
    ensure!(
        got? == expected,
        "the answers are not those of the keys, in their order"
    );
    if let (Some(before), Some(after)) = (before, harness.reads()) {
        ensure!(
            after - before <= 3,
            "the kept keys were asked for too: {} reads",
            after - before
        );
    }
    put(&bare, "a", 7).await?;
    expect_soon(harness, &near, "a", Some(7), "a key that was written").await?;
    ensure!(
        near.get_many(&["a"]).await? == [Some(value(7))],
        "a write of another program is not seen"
    );
    Ok(())
}
