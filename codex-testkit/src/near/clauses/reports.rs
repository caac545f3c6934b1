//! Changes by other programs: near-04.

use std::time::Duration;

use codex_traits::{Expiry, KvBackend, SetOptions, SetOutcome, Ttl};
use tokio::time::sleep;

use super::{PAUSE, ROUNDS, disturb, expect, expect_soon, keep, put, value};
use crate::{
    failure::{Checked, Failure, ensure},
    near::{Disturbance, NearHarness},
};

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
    // On a busy machine the lease can run out before it is renewed.
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
            "a key that only another verb had asked for",
        )
        .await?;
    }
    Ok(())
}
