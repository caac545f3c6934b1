//! INCR.

use std::time::{Duration, Instant};

use bytes::Bytes;
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing, SetOptions, Ttl};

use super::matrix::increments;
use crate::{
    Harness,
    context::{Context, Store},
    failure::{Checked, ensure, ensure_eq, ensure_kind},
    runtime::race,
};

const CREATE: OnMissing = OnMissing::Create(Expiry::Never);
const HUNDRED_SECONDS: Duration = Duration::from_secs(100);

/// Checks an `incr` with a known sum.
async fn gives<B: KvBackend>(
    store: &Store<B>,
    key: &str,
    delta: i64,
    on_missing: OnMissing,
    expected: impl Into<Option<i64>> + Send,
) -> Checked {
    let got = store.incr(key, delta, on_missing).await?;
    ensure_eq!(got, expected.into(), "incr of {key:?} by {delta} with {on_missing:?}");
    Ok(())
}

pub(crate) async fn incr_01_a_missing_key_starts_at_zero<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    gives(&store, "never", 5, CREATE, 5).await?;
    store.holds("never", "5").await?;
    store.is_persistent("never").await?;
    gives(&store, "keep", 5, OnMissing::Create(Expiry::Keep), 5).await?;
    store.is_persistent("keep").await?;

    let create = OnMissing::Create(Expiry::After(HUNDRED_SECONDS));
    let (sum, created) = store.timed(store.incr("timed", 5, create)).await?;
    ensure_eq!(sum, Some(5), "incr that creates");
    store.has_ttl("timed", HUNDRED_SECONDS, created).await?;
    // The expiry applies only to a new counter: an existing counter keeps its own, whatever the
    // call says.
    cx.pass(cx.noticeable()).await;
    for (number, expiry) in [
        Expiry::After(HUNDRED_SECONDS),
        Expiry::After(HUNDRED_SECONDS * 5),
        Expiry::Never,
        Expiry::Keep,
    ]
    .into_iter()
    .enumerate()
    {
        let sum = i64::try_from(number).unwrap_or(0) + 6;
        gives(&store, "timed", 1, OnMissing::Create(expiry), sum).await?;
        gives(&store, "never", 1, OnMissing::Create(expiry), sum).await?;
        store.has_ttl("timed", HUNDRED_SECONDS, created).await?;
        store.is_persistent("never").await?;
    }

    gives(&store, "missing", 1, OnMissing::Refuse, None).await?;
    gives(&store, "missing", 0, OnMissing::Refuse, None).await?;
    store.lacks("missing").await?;
    gives(&store, "never", 1, OnMissing::Refuse, 10).await?;

    let zero = OnMissing::Create(Expiry::After(Duration::ZERO));
    ensure_kind(
        store.incr("zero", 1, zero).await,
        ErrorKind::InvalidArgument,
        "incr that creates for no time",
    )?;
    store.lacks("zero").await?;
    // The expiry must be valid even if an existing counter does not use it.
    for invalid in [Duration::ZERO, Duration::MAX] {
        for key in ["timed", "never"] {
            let got = store.incr(key, 1, OnMissing::Create(Expiry::After(invalid))).await;
            let what = format!("incr of an existing counter with Create(After({invalid:?}))");
            ensure_kind(got, ErrorKind::InvalidArgument, &what)?;
        }
    }
    store.holds("never", "10").await?;
    store.is_persistent("never").await?;
    store.has_ttl("timed", HUNDRED_SECONDS, created).await
}

pub(crate) async fn incr_02_the_ttl_is_kept<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const ROUNDS: usize = 250;
    let store = cx.store().await;
    let ttl = Duration::from_secs(77);
    let set = store.put_for("k", "5", ttl).await?;
    cx.pass(cx.noticeable()).await;
    gives(&store, "k", 1, CREATE, 6).await?;
    store.has_ttl("k", ttl, set).await?;
    gives(&store, "k", -1, OnMissing::Refuse, 5).await?;
    store.has_ttl("k", ttl, set).await?;
    gives(&store, "k", 0, CREATE, 5).await?;
    store.has_ttl("k", ttl, set).await?;
    gives(&store, "k", 10_000_000, CREATE, 10_000_005).await?;
    store.has_ttl("k", ttl, set).await?;

    store.put_for("short", "5", cx.short()).await?;
    gives(&store, "short", 1, CREATE, 6).await?;
    cx.outlive(cx.short()).await;
    store.lacks("short").await?;
    Box::pin(increments(cx)).await?;
    // Increments that race with an `expire`: in every order the counter has a TTL afterwards.
    let key = |round: usize| format!("race {round}");
    let keys: Vec<String> = (0..ROUNDS).map(key).collect();
    let entries: Vec<(&str, Bytes)> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from_static(b"5")))
        .collect();
    store.set_many(&entries, Expiry::Never).await?;
    let handles = [store.clone(), cx.second(&store)];
    race(4, ROUNDS, move |racer, round| {
        let store = handles[racer % 2].clone();
        let key = key(round);
        async move {
            if (racer + round) % 4 == 0 {
                store.expire(&key, Expiry::After(HUNDRED_SECONDS)).await?;
            } else {
                store.incr(&key, 1, OnMissing::Refuse).await?;
            }
            Ok(())
        }
    })
    .await?;
    for key in &keys {
        store.holds(key, "8").await?;
        let ttl = store.ttl(key).await?;
        ensure!(
            matches!(ttl, Ttl::Remaining(_)),
            "ttl of {key:?} after an incr and an expire at the same time: got {ttl:?}"
        );
    }
    Ok(())
}

pub(crate) async fn incr_03_any_delta<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    gives(&store, "k", -7, CREATE, -7).await?;
    store.holds("k", "-7").await?;
    gives(&store, "k", 10, CREATE, 3).await?;
    gives(&store, "k", -3, CREATE, 0).await?;
    store.holds("k", "0").await?;
    gives(&store, "k", -1, CREATE, -1).await?;
    gives(&store, "zero", 0, CREATE, 0).await?;
    store.holds("zero", "0").await?;
    for (key, delta) in [("min", i64::MIN), ("max", i64::MAX)] {
        gives(&store, key, delta, CREATE, delta).await?;
        store.holds(key, delta.to_string()).await?;
        gives(&store, key, 0, CREATE, delta).await?;
    }
    gives(&store, "max", i64::MIN, CREATE, -1).await?;
    gives(&store, "min", i64::MAX, CREATE, -1).await?;
    // Floating point would round 2^53 + 1.
    gives(&store, "exact", 9_007_199_254_740_992, CREATE, 9_007_199_254_740_992).await?;
    gives(&store, "exact", 1, CREATE, 9_007_199_254_740_993).await
}

pub(crate) async fn incr_04_the_text_is_canonical<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let sums: [(&str, i64, &str); 7] = [
        ("-1", 1, "0"),
        ("9", 1, "10"),
        ("10", -1, "9"),
        ("0", -10, "-10"),
        ("999999999999", 1, "1000000000000"),
        ("-100", 99, "-1"),
        ("9223372036854775806", 1, "9223372036854775807"),
    ];
    for (before, delta, after) in sums {
        store.put("k", before).await?;
        gives(&store, "k", delta, CREATE, after.parse::<i64>().ok()).await?;
        store.holds("k", after).await?;
    }
    Ok(())
}

/// Checks that incrementing each value fails with `Data` and leaves the value and the TTL
/// unchanged.
async fn are_data_errors<H: Harness>(cx: &Context<'_, H>, cases: &[(&'static [u8], &[i64])]) -> Checked {
    let store = cx.store().await;
    let mut written = Vec::new();
    for (number, (value, deltas)) in cases.iter().enumerate() {
        let (persistent, timed) = (format!("persistent {number}"), format!("timed {number}"));
        store.write(&persistent, *value, SetOptions::new()).await?;
        let set = store.put_for(&timed, *value, HUNDRED_SECONDS).await?;
        written.push((persistent, timed, set, value, deltas));
    }
    cx.pass(cx.noticeable()).await;
    for (persistent, timed, set, value, deltas) in written {
        for on_missing in [
            CREATE,
            OnMissing::Create(Expiry::After(Duration::from_secs(5))),
            OnMissing::Refuse,
        ] {
            for &delta in *deltas {
                for key in [&persistent, &timed] {
                    let what = format!("incr of \"{}\" by {delta}", value.escape_ascii());
                    ensure_kind(store.incr(key, delta, on_missing).await, ErrorKind::Data, &what)?;
                    store.holds(key, value).await?;
                }
                store.is_persistent(&persistent).await?;
                store.has_ttl(&timed, HUNDRED_SECONDS, set).await?;
            }
        }
    }
    Ok(())
}

pub(crate) async fn incr_05_what_is_no_integer_is_a_data_error<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const ZEROS: [u8; 99] = [b'0'; 99];
    const ONES: [u8; 100] = [b'1'; 100];
    let texts: [&[u8]; 29] = [
        b"",
        b" 1",
        b"1 ",
        b"+1",
        b"01",
        b"-0",
        b"1.0",
        b"1e3",
        b"0x10",
        b"abc",
        b"-",
        b"--1",
        b"-01",
        b"00",
        b"1\n",
        b"1\0",
        b"1_000",
        b"\xd9\xa1",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"\t1",
        b"1\t",
        b"\r1",
        b"1,000",
        // 1 modulo 2^64, and modulo 2^128.
        b"18446744073709551617",
        b"340282366920938463463374607431768211457",
        b"a text that is longer than any number, and longer than what a store may hold inside its index",
        &ZEROS,
        &ONES,
    ];
    are_data_errors(cx, &texts.map(|text| (text, &[1, 0][..]))).await
}

pub(crate) async fn incr_06_overflow_is_a_data_error<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let cases: [(&[u8], &[i64]); 4] = [
        (b"9223372036854775807", &[1, i64::MAX]),
        (b"-9223372036854775808", &[-1, i64::MIN]),
        (b"1", &[i64::MAX]),
        (b"-1", &[i64::MIN]),
    ];
    are_data_errors(cx, &cases).await
}

pub(crate) async fn incr_07_no_increment_is_lost<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const TASKS: usize = 8;
    const EACH: usize = 500;
    for (key, start) in [("missing", None), ("there", Some(0))] {
        let store = cx.store().await;
        if let Some(start) = start {
            store.put(key, i64::to_string(&start)).await?;
        }
        let racing = [store.clone(), cx.second(&store)];
        let sums = race(TASKS, EACH, move |task, _| {
            let store = racing[task % 2].clone();
            async move { Ok(store.incr(key, 1, CREATE).await?) }
        })
        .await?;
        store.holds(key, "4000").await?;
        // Each sum must be answered exactly once. Two equal sums mean that an increment was lost.
        let mut sums: Vec<Option<i64>> = sums.into_iter().flatten().collect();
        sums.sort_unstable();
        ensure!(
            sums.iter().copied().eq((1..=4000).map(Some)),
            "of {TASKS} tasks with {EACH} increments each, two were told the same sum"
        );
    }
    restarts_once(cx).await
}

/// Checks increments that race for counters that have expired and were not swept. Only one of them
/// starts again at zero.
async fn restarts_once<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const TASKS: usize = 4;
    const ROUNDS: usize = 250;
    let store = cx.store().await;
    let key = |round: usize| format!("expired {round}");
    let keys: Vec<String> = (0..ROUNDS).map(key).collect();
    let entries: Vec<(&str, Bytes)> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from_static(b"5")))
        .collect();
    store.set_many(&entries, Expiry::After(cx.short())).await?;
    cx.outlive(cx.short()).await;
    let racing = [store.clone(), cx.second(&store)];
    let sums = race(TASKS, ROUNDS, move |task, round| {
        let store = racing[task % 2].clone();
        let key = key(round);
        async move { Ok(store.incr(&key, 1, CREATE).await?) }
    })
    .await?;
    for round in 0..ROUNDS {
        let mut sums: Vec<Option<i64>> = sums.iter().map(|task| task[round]).collect();
        sums.sort_unstable();
        ensure_eq!(
            sums,
            [Some(1), Some(2), Some(3), Some(4)],
            "sums of {TASKS} increments of an expired counter, round {round}"
        );
    }
    Ok(())
}

pub(crate) async fn incr_08_refuse_leaves_no_counter_behind<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const RACERS: usize = 4;
    const ROUNDS: usize = 300;
    let store = cx.store().await;
    let virtual_time = cx.virtual_time().cloned();
    // Real time cannot be controlled that precisely. Each key expires at some time in its round,
    // and the racers count until it has expired.
    let ttl = Duration::from_millis(2);
    let key = |round: usize| format!("counter {round}");
    let racing = store.clone();
    race(RACERS, ROUNDS, move |racer, round| {
        let (store, time) = (racing.clone(), virtual_time.clone());
        let key = key(round);
        async move {
            if racer == 0 {
                store.put_for(&key, "5", ttl).await?;
            }
            let mut seen = false;
            let begun = Instant::now();
            for attempt in 0..1000 {
                if racer == 0
                    && attempt == round % 8
                    && let Some(time) = &time
                {
                    time.advance(ttl * 2);
                }
                match store.incr(&key, 1, OnMissing::Refuse).await? {
                    Some(_) => seen = true,
                    // The racer that set the key knows that it has expired. The other racers may
                    // have run before it existed.
                    None if seen || racer == 0 || attempt > 20 || begun.elapsed() > ttl * 50 => break,
                    None => {}
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    })
    .await?;
    cx.outlive(ttl).await;
    for round in 0..ROUNDS {
        let left = store.ttl(&key(round)).await?;
        ensure_eq!(
            left,
            Ttl::Missing,
            "ttl of a counter that ended while it was counted, round {round}"
        );
    }
    Ok(())
}
