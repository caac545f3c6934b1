//! SET, mostly without a condition.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, SetOptions, Ttl};

use super::{
    alternate::agrees_with_the_model,
    matrix::{When, for_each, sets, sets_of_the_same_value, values},
};
use crate::{
    Harness,
    cases::{durations::FRACTIONS, values as lengths},
    context::{Context, Store},
    failure::{Checked, Failure, ensure, ensure_eq, ensure_kind, ensure_same},
    runtime::race,
};

const HUNDRED_SECONDS: Duration = Duration::from_secs(100);

pub(crate) async fn set_01_a_set_replaces_the_value<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for (round, length) in [3, 100_000, 1, 0, 1 << 20, 3, 2, 0, 1].into_iter().enumerate() {
        let value = vec![b'a' + u8::try_from(round).unwrap_or(0); length];
        store.put("k", value.clone()).await?;
        store.holds("k", value).await?;
    }
    // Replaces each length with every other length.
    for from in lengths::FEW_LENGTHS {
        for to in lengths::FEW_LENGTHS {
            store.put("k", lengths::letters(from, 0)).await?;
            store.put("k", lengths::bytes(to, 1)).await?;
            let got = store.get("k").await?;
            let expected = lengths::bytes(to, 1);
            ensure_same(
                got.as_ref(),
                Some(&expected),
                &format!("get after {to} bytes replaced {from} bytes"),
            )?;
        }
    }
    // A value that differs slightly is another value, on the same key and on another key.
    for length in [65, 4096, lengths::LARGE] {
        let held = lengths::letters(length, 0);
        store.put("held", held.clone()).await?;
        for near in lengths::near(&held) {
            store.put("k", held.clone()).await?;
            store.put("k", near.value.clone()).await?;
            let got = store.get("k").await?;
            let what = format!("get after a value replaced one where {}", near.how);
            ensure_same(got.as_ref(), Some(&near.value), &what)?;
        }
        store.holds("held", held).await?;
    }
    Ok(())
}

pub(crate) async fn set_02_never_clears_the_ttl<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let ttl = cx.short();
    store.put_for("k", "1", ttl).await?;
    store.put("k", "2").await?;
    store.is_persistent("k").await?;
    cx.outlive(ttl).await;
    store.holds("k", "2").await?;
    store.is_persistent("k").await
}

pub(crate) async fn set_03_after_replaces_the_ttl<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("k", "0").await?;
    for seconds in [100, 1000, 50, 70] {
        let ttl = Duration::from_secs(seconds);
        let set = store.put_for("k", "v", ttl).await?;
        store.has_ttl("k", ttl, set).await?;
    }
    // The shorter time to live must take effect.
    store.put_for("k", "v", cx.short()).await?;
    cx.outlive(cx.short()).await;
    store.lacks("k").await
}

pub(crate) async fn set_04_keep_keeps_the_ttl<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let keep = || SetOptions::new().with_expiry(Expiry::Keep);
    let set = store.put_for("k", "1", HUNDRED_SECONDS).await?;
    cx.pass(cx.noticeable()).await;
    store.write("k", "2", keep()).await?;
    store.holds("k", "2").await?;
    store.has_ttl("k", HUNDRED_SECONDS, set).await?;

    store.write("missing", "1", keep()).await?;
    store.is_persistent("missing").await?;
    store.write("missing", "2", keep()).await?;
    store.is_persistent("missing").await?;

    store.put_for("expired", "1", cx.short()).await?;
    cx.outlive(cx.short()).await;
    store.write("expired", "2", keep()).await?;
    store.is_persistent("expired").await?;

    store.put_for("deleted", "1", HUNDRED_SECONDS).await?;
    store.del(&["deleted"]).await?;
    store.write("deleted", "2", keep()).await?;
    store.is_persistent("deleted").await?;
    // A store that keeps the rest of the time, rounded up, would prolong it with each call.
    let set = store.put_for("often", "0", HUNDRED_SECONDS).await?;
    for number in 1..10 {
        store.write("often", number.to_string(), keep()).await?;
    }
    store.has_ttl("often", HUNDRED_SECONDS, set).await?;
    let lengths = [0, 1, 4096, lengths::LARGE * 2];
    for_each(cx, &lengths, |length| sets(cx, &store, &[When::Always], length)).await?;
    Box::pin(sets_of_the_same_value(cx, &store, &[When::Always])).await?;
    keeps_what_expire_gives(cx, &store).await
}

/// Checks sets with `Keep` that race with an `expire`. In every order the key has the time to live
/// of `expire` afterwards.
async fn keeps_what_expire_gives<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>) -> Checked {
    const ROUNDS: usize = 250;
    let key = |round: usize| format!("race {round}");
    let keys: Vec<String> = (0..ROUNDS).map(key).collect();
    store.fill(&keys).await?;
    let handles = [store.clone(), cx.second(store)];
    race(4, ROUNDS, move |racer, round| {
        let store = handles[racer % 2].clone();
        let key = key(round);
        async move {
            if (racer + round) % 4 == 0 {
                store.expire(&key, Expiry::After(HUNDRED_SECONDS)).await?;
            } else {
                store
                    .write(&key, "new", SetOptions::new().with_expiry(Expiry::Keep))
                    .await?;
            }
            Ok(())
        }
    })
    .await?;
    for key in &keys {
        store.holds(key, "new").await?;
        let ttl = store.ttl(key).await?;
        ensure!(
            matches!(ttl, Ttl::Remaining(_)),
            "ttl of {key:?} after a set with Keep and an expire at the same time: got {ttl:?}"
        );
    }
    Ok(())
}

pub(crate) async fn set_05_clones_share_and_strangers_do_not<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let one = cx.store().await;
    let stranger = cx.store().await;
    one.put("k", "1").await?;
    stranger.lacks("k").await?;
    stranger.put("k", "other").await?;
    one.holds("k", "1").await?;
    ensure_eq!(
        stranger.del_matching(&Pattern::all()).await?,
        1,
        "del_matching in another store"
    );
    one.holds("k", "1").await?;

    let Some(second) = cx.harness.reopen(one.backend()) else {
        return Err(Failure::NotApplicable("the harness gives no second handle on a store"));
    };
    let second = cx.adopt(second);
    second.holds("k", "1").await?;
    // The handles take turns, so that a handle that caches would answer with a stale value.
    for round in 0..100 {
        let (writer, reader) = if round % 2 == 0 {
            (&one, &second)
        } else {
            (&second, &one)
        };
        writer.put("k", round.to_string()).await?;
        reader.holds("k", round.to_string()).await?;
        let set = writer.put_for("timed", "v", HUNDRED_SECONDS).await?;
        reader.has_ttl("timed", HUNDRED_SECONDS, set).await?;
        ensure_eq!(reader.del(&["timed"]).await?, 1, "del of what the other handle wrote");
        writer.lacks("timed").await?;
    }
    drop(one);
    second.holds("k", "99").await?;
    // Released first, because a server may have only two free databases.
    drop((second, stranger));
    for seed in 0..6 {
        Box::pin(agrees_with_the_model(cx, seed, 450)).await?;
    }
    Ok(())
}

/// Returns every kind of condition. `IfEquals` occurs with the value `1`, which the existing keys
/// hold, and with another.
fn conditions() -> [Condition; 5] {
    [
        Condition::Always,
        Condition::IfAbsent,
        Condition::IfPresent,
        Condition::IfEquals(Bytes::from_static(b"1")),
        Condition::IfEquals(Bytes::from_static(b"2")),
    ]
}

/// Checks that sets with `expiry` fail with `InvalidArgument` under any condition, on a key with a
/// TTL, a key without one, and a missing key.
async fn is_invalid<B: KvBackend>(store: &Store<B>, expiry: Expiry, what: &str) -> Checked {
    let set = store.put_for("timed", "1", HUNDRED_SECONDS).await?;
    store.put("persistent", "1").await?;
    for condition in conditions() {
        for key in ["timed", "persistent", "missing"] {
            let options = SetOptions::new().with_condition(condition.clone()).with_expiry(expiry);
            let got = store.set(key, Bytes::from_static(b"new"), options).await;
            ensure_kind(
                got,
                ErrorKind::InvalidArgument,
                &format!("set {what} with {condition:?} on {key:?}"),
            )?;
        }
        store.holds("timed", "1").await?;
        store.has_ttl("timed", HUNDRED_SECONDS, set).await?;
        store.holds("persistent", "1").await?;
        store.is_persistent("persistent").await?;
        store.lacks("missing").await?;
    }
    let entries = [
        ("timed", Bytes::from_static(b"new")),
        ("missing", Bytes::from_static(b"new")),
    ];
    let got = store.set_many(&entries, expiry).await;
    ensure_kind(got, ErrorKind::InvalidArgument, &format!("set_many {what}"))?;
    store.holds("timed", "1").await?;
    store.has_ttl("timed", HUNDRED_SECONDS, set).await?;
    store.lacks("missing").await
}

pub(crate) async fn set_06_zero_is_invalid<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    is_invalid(&store, Expiry::After(Duration::ZERO), "for no time").await
}

pub(crate) async fn set_07_under_a_millisecond_is_one<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let millisecond = Duration::from_millis(1);
    for nanos in [1, 999, 1_000, 500_000, 999_999] {
        store.put_for("k", "v", Duration::from_nanos(nanos)).await?;
        if cx.virtual_time().is_some() {
            // In real time the key may already have expired.
            store.holds("k", "v").await?;
            ensure_eq!(
                store.ttl("k").await?,
                Ttl::Remaining(millisecond),
                "ttl after a set for {nanos} ns"
            );
        } else {
            let ttl = store.ttl("k").await?;
            ensure!(
                ttl == Ttl::Missing || matches!(ttl, Ttl::Remaining(rest) if rest <= millisecond),
                "ttl after a set for {nanos} ns: expected at most 1 ms, got {ttl:?}"
            );
        }
        cx.outlive(millisecond).await;
        store.lacks("k").await?;
    }
    Ok(())
}

/// Slightly less than the limit of Redis, whose deadlines are milliseconds since 1970 in a signed
/// 64-bit integer. 2^42 ms are 139 years.
pub(crate) const LONGEST: Duration = Duration::from_millis(i64::MAX.unsigned_abs() - (1 << 42));

/// Durations that a store with deadlines counted from 1970 cannot hold.
pub(crate) const TOO_LONG: [Duration; 4] = [
    Duration::from_millis(i64::MAX.unsigned_abs()),
    // The limit plus 1, which a cast would wrap to the most negative number, and one that a cast
    // would wrap to a short duration.
    Duration::from_millis(i64::MAX.unsigned_abs() + 1),
    Duration::new(u64::MAX / 1000 + 100, 0),
    Duration::MAX,
];

pub(crate) async fn set_08_the_longest_duration_is_taken<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for ttl in [Duration::from_secs(400 * 365 * 86_400), LONGEST] {
        let set = store.put_for("long", "v", ttl).await?;
        store.holds("long", "v").await?;
        store.has_ttl("long", ttl, set).await?;
        // Every other verb that writes takes it too.
        let options = SetOptions::expires_after(ttl);
        store.del(&["absent", "created"]).await?;
        let set = store
            .write("absent", "v", options.clone().with_condition(Condition::IfAbsent))
            .await?;
        store.has_ttl("absent", ttl, set).await?;
        store.put("present", "v").await?;
        for condition in [Condition::IfPresent, Condition::IfEquals(Bytes::from_static(b"v"))] {
            let set = store
                .write("present", "v", options.clone().with_condition(condition))
                .await?;
            store.has_ttl("present", ttl, set).await?;
        }
        let entries = [("many", Bytes::from_static(b"v"))];
        let ((), set) = store.timed(store.set_many(&entries, Expiry::After(ttl))).await?;
        store.has_ttl("many", ttl, set).await?;
        let create = OnMissing::Create(Expiry::After(ttl));
        let (_, set) = store.timed(store.incr("created", 1, create)).await?;
        store.has_ttl("created", ttl, set).await?;
    }
    for ttl in TOO_LONG {
        is_invalid(&store, Expiry::After(ttl), &format!("for {ttl:?}")).await?;
    }
    Ok(())
}

pub(crate) async fn set_09_a_set_that_does_nothing_changes_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let set = store.put_for("timed", "1", HUNDRED_SECONDS).await?;
    store.put("persistent", "1").await?;
    cx.pass(cx.noticeable()).await;
    let refusing = [Condition::IfAbsent, Condition::IfEquals(Bytes::from_static(b"other"))];
    for condition in refusing {
        for expiry in [Expiry::Never, Expiry::After(Duration::from_secs(5)), Expiry::Keep] {
            for key in ["timed", "persistent"] {
                let options = SetOptions::new().with_condition(condition.clone()).with_expiry(expiry);
                store.refused(key, "new", options).await?;
            }
            store.holds("timed", "1").await?;
            store.has_ttl("timed", HUNDRED_SECONDS, set).await?;
            store.holds("persistent", "1").await?;
            store.is_persistent("persistent").await?;
        }
    }
    for failing in [Duration::ZERO, Duration::MAX] {
        for key in ["timed", "persistent"] {
            let got = store
                .set(key, Bytes::from_static(b"new"), SetOptions::expires_after(failing))
                .await;
            ensure_kind(got, ErrorKind::InvalidArgument, &format!("set for {failing:?}"))?;
        }
        store.holds("timed", "1").await?;
        store.has_ttl("timed", HUNDRED_SECONDS, set).await?;
        store.holds("persistent", "1").await?;
        store.is_persistent("persistent").await?;
    }
    Ok(())
}

/// Checks that a store keeps a large value exactly, or refuses it with an error and keeps the
/// previous value.
async fn is_exact_or_refused<B: KvBackend>(store: &Store<B>, reader: &Store<B>, length: usize, way: &str) -> Checked {
    let (old, large) = (Bytes::from_static(b"old"), lengths::bytes(length, way.len()));
    store.put("large", old.clone()).await?;
    let written = match way {
        "set" => store.set("large", large.clone(), SetOptions::new()).await.map(drop),
        "set(IfEquals)" => {
            let options = SetOptions::new().with_condition(Condition::IfEquals(old.clone()));
            store.set("large", large.clone(), options).await.map(drop)
        }
        _ => store.set_many(&[("large", large.clone())], Expiry::Never).await,
    };
    let what = format!("{way} of {} MiB", length >> 20);
    // A refusal is an error. A value whose write succeeded must be stored to the last byte.
    let expected = if written.is_ok() { &large } else { &old };
    let got = reader.get("large").await?;
    ensure_same(
        got.as_ref(),
        Some(expected),
        &format!("get after {what}, which answered {:?}", written.is_ok()),
    )?;
    let many = reader.get_many(&["large"]).await?;
    ensure_same(
        many.first().and_then(Option::as_ref),
        Some(expected),
        &format!("get_many after {what}"),
    )
}

pub(crate) async fn set_10_nothing_is_cut_or_rounded_down<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    for (ttl, rounded) in FRACTIONS {
        for way in ["set", "set(IfAbsent)", "set(IfEquals)", "set_many", "expire", "incr"] {
            let key = format!("{way} for {ttl:?}");
            let options = SetOptions::expires_after(ttl);
            let call = async {
                match way {
                    "set" => store.set(&key, Bytes::new(), options).await.map(drop),
                    "set(IfAbsent)" => {
                        let options = options.with_condition(Condition::IfAbsent);
                        store.set(&key, Bytes::new(), options).await.map(drop)
                    }
                    "set(IfEquals)" => {
                        let options = options.with_condition(Condition::IfEquals(Bytes::new()));
                        store.set(&key, Bytes::new(), SetOptions::new()).await.map(drop)?;
                        store.set(&key, Bytes::new(), options).await.map(drop)
                    }
                    "set_many" => store.set_many(&[(&key, Bytes::new())], Expiry::After(ttl)).await,
                    "expire" => {
                        store.set(&key, Bytes::new(), SetOptions::new()).await.map(drop)?;
                        store.expire(&key, Expiry::After(ttl)).await.map(drop)
                    }
                    _ => store
                        .incr(&key, 1, OnMissing::Create(Expiry::After(ttl)))
                        .await
                        .map(drop),
                }
            };
            let ((), given) = store.timed(call).await?;
            if cx.virtual_time().is_some() {
                ensure_eq!(store.ttl(&key).await?, Ttl::Remaining(rounded), "ttl after {key}");
            } else if rounded > cx.short() * 2 {
                store.has_ttl(&key, rounded, given).await?;
            }
        }
    }
    for length in [4 << 20, 16 << 20] {
        for way in ["set", "set(IfEquals)", "set_many"] {
            Box::pin(is_exact_or_refused(&store, &other, length, way)).await?;
        }
    }
    // Every store accepts these lengths.
    Box::pin(values(cx, &[(1 << 20) - 1, 1 << 20])).await
}
