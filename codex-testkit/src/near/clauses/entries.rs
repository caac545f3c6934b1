//! Kept entries, their lifetimes, and the calls that bypass them: near-06 to near-11.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{
    Capability, Expiry, KvBackend, KvBackendExt as _, OnMissing, Pattern, Result, SetOptions, SetOutcome, Ttl,
};
use futures_util::{TryStreamExt as _, future::join};
use tokio::time::{Instant, sleep, timeout};

use super::{PAUSE, ROUNDS, disturb, expect, expect_soon, keep, put, put_after_a_cut, shown, value};
use crate::{
    failure::{Checked, Failure, ensure},
    near::{Disturbance, NearHarness},
};

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
                if round % 2 == 0 {
                    near.get(&key).await?;
                } else {
                    near.get_many(&["never written", &key]).await?;
                }
                // Under a paused clock, a loop of reads without a request would keep time from
                // advancing.
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
            let most = (ttl + harness.slack()).saturating_sub(answered.elapsed());
            if let Some((_, left)) = near.get_with_ttl(&key).await? {
                ensure!(
                    matches!(left, Ttl::Remaining(left) if left <= most),
                    "the time to live of a kept value: expected at most {most:?}, got {left:?}"
                );
            }
            sleep(Duration::from_millis(3)).await;
        }
        expect(&near, &key, None, "a value after its time to live").await?;
    }
    // On a slow network, the time to live is counted from the sending of the request.
    if harness.disturb(Disturbance::Latency(ttl / 4)).await {
        let ttl = ttl * 2;
        let _ = bare.set("slow", value(1), SetOptions::expires_after(ttl)).await?;
        let answered = Instant::now();
        while answered.elapsed() <= ttl + harness.slack() {
            near.get("slow").await?;
            sleep(Duration::from_millis(3)).await;
        }
        expect(&near, "slow", None, "a value after its time to live, on a slow network").await?;
        harness.disturb(Disturbance::Heal).await;
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
        ensure!(outcome == SetOutcome::Refused, "IfEquals compared with the kept value");
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

pub(crate) async fn near_08_a_key_that_a_verb_touched_is_dropped<H: NearHarness>(harness: &H) -> Checked {
    let (near, bare) = (harness.near().await?, harness.bare());
    for verb in ["incr", "expire", "del_if_equals", "set_many", "del", "scan"] {
        let (first, last) = (format!("{verb}:first"), format!("{verb}:last"));
        // The scan shows a key whose absence is kept.
        let old = (verb != "scan").then_some(1);
        for key in [&first, &last] {
            if old.is_some() {
                put(&bare, key, 1).await?;
            }
            keep(harness, &near, key).await?;
        }
        // Without this, the report may arrive before the answer.
        let is_held = harness.disturb(Disturbance::HoldStreams).await;
        match verb {
            "incr" => drop(near.incr(&last, 1, OnMissing::Refuse).await?),
            "expire" => drop(near.expire(&last, Expiry::After(Duration::ZERO)).await?),
            "del_if_equals" => drop(near.del_if_equals(&last, &value(1)).await?),
            "set_many" => {
                let entries = [(&*first, value(2)), (&*last, value(2))];
                near.set_many(&entries, Expiry::Never).await?;
            }
            "del" => drop(near.del(&[&first, &last]).await?),
            _ => {
                put(&bare, &last, 2).await?;
                let pattern = Pattern::prefix("scan:");
                let keys: Vec<String> = near.scan_all(&pattern).try_collect().await?;
                ensure!(keys.contains(&last), "a scan does not show a key");
            }
        }
        let got = timeout(harness.push_time(), shown(&near, &last)).await;
        ensure!(
            got != Ok(Some(old.map(value))),
            "a read after {verb} shows the state from before it"
        );
        if is_held {
            harness.disturb(Disturbance::Heal).await;
        }
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
        // The key is kept again, with its new value.
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
            "the harness does not report the size of the near cache",
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
            "the harness does not report the length of the longest kept value",
        ));
    };
    let (near, bare) = (harness.near().await?, harness.bare());
    let _ = bare.set("longest", vec![7; longest].into(), SetOptions::new()).await?;
    keep(harness, &near, "longest").await?;
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
    ensure!(
        !near.capabilities().contains(Capability::AtomicMany),
        "answers of `get_many` come from memory and from the store, and are declared a snapshot"
    );
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
