//! Conditional writes: comparing and writing in one step.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, SetOptions, SetOutcome};
use futures_util::future::try_join_all;

use super::matrix::{When, for_each, sets, sets_of_the_same_value};
use crate::{
    Harness,
    cases::values::{COMPARED_LENGTHS, LARGE, letters, near},
    context::{Context, Store},
    failure::{Checked, ensure, ensure_eq},
    runtime::race,
};

const HUNDRED_SECONDS: Duration = Duration::from_secs(100);
const RACERS: usize = 16;
const ROUNDS: usize = 1000;

/// The number of rounds of a race that comes beside another one.
const FEW_ROUNDS: usize = 250;

fn if_equals(expected: &'static str) -> SetOptions {
    SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static(expected.as_bytes())))
}

/// The expiries of a set.
const EXPIRIES: [Expiry; 3] = [Expiry::Never, Expiry::After(Duration::from_secs(50)), Expiry::Keep];

pub(crate) async fn cond_01_if_absent_writes_once<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.write("new", "1", SetOptions::if_absent()).await?;
    store.holds("new", "1").await?;
    store.is_persistent("new").await?;
    let with_ttl = SetOptions::if_absent().with_expiry(HUNDRED_SECONDS);
    let set = store.write("timed", "1", with_ttl).await?;
    store.has_ttl("timed", HUNDRED_SECONDS, set).await?;

    cx.pass(cx.noticeable()).await;
    for expiry in EXPIRIES.into_iter().chain([Expiry::After(HUNDRED_SECONDS)]) {
        for key in ["new", "timed"] {
            // A set is refused even if the new value equals the stored value.
            for value in ["1", "2"] {
                store
                    .refused(key, value, SetOptions::if_absent().with_expiry(expiry))
                    .await?;
            }
        }
        store.holds("new", "1").await?;
        store.is_persistent("new").await?;
        store.holds("timed", "1").await?;
        store.has_ttl("timed", HUNDRED_SECONDS, set).await?;
    }
    for_each(cx, &[65, LARGE * 2], |length| {
        sets(cx, &store, &[When::IfAbsent], length)
    })
    .await
}

pub(crate) async fn cond_02_if_absent_writes_over_an_expired_key<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let keys = ["never", "after", "keep"];
    for key in keys {
        store.put_for(key, "old", cx.short()).await?;
    }
    cx.outlive(cx.short()).await;
    // Nothing has read the keys since, so a store that removes expired keys on access still has
    // them.
    store.write("never", "new", SetOptions::if_absent()).await?;
    let with_ttl = SetOptions::if_absent().with_expiry(HUNDRED_SECONDS);
    let set = store.write("after", "new", with_ttl).await?;
    store
        .write("keep", "new", SetOptions::if_absent().with_expiry(Expiry::Keep))
        .await?;
    for key in keys {
        store.holds(key, "new").await?;
    }
    store.is_persistent("never").await?;
    store.has_ttl("after", HUNDRED_SECONDS, set).await?;
    store.is_persistent("keep").await?;
    cx.outlive(cx.short()).await;
    for key in keys {
        store.holds(key, "new").await?;
    }
    // A lock whose holder has died is taken over in this way, so the takeover has one winner too.
    let keys: Vec<String> = (0..FEW_ROUNDS).map(|round| format!("takeover {round}")).collect();
    let old: Vec<(&str, Bytes)> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from_static(b"old")))
        .collect();
    store.set_many(&old, Expiry::After(cx.short())).await?;
    cx.outlive(cx.short()).await;
    let other = cx.second(&store);
    has_one_winner([&store, &other], Condition::IfAbsent, "takeover", FEW_ROUNDS).await
}

pub(crate) async fn cond_03_if_present_creates_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    creates_nothing(cx, &store, &SetOptions::if_present()).await?;
    // In every order of a set and a removal, the key is gone afterwards.
    let other = cx.second(&store);
    let key = |round: usize| format!("race {round}");
    let keys: Vec<String> = (0..FEW_ROUNDS).map(key).collect();
    store.fill(&keys).await?;
    race(4, FEW_ROUNDS, {
        let handles = [store.clone(), other];
        move |racer, round| {
            let store = handles[racer % 2].clone();
            let key = key(round);
            async move {
                if (racer + round) % 4 == 0 {
                    // Either verb removes the key.
                    if round % 2 == 0 {
                        store.del(&[&key]).await?;
                    } else {
                        store.expire(&key, Expiry::After(Duration::ZERO)).await?;
                    }
                } else {
                    let _ = store
                        .set(&key, Bytes::from_static(b"new"), SetOptions::if_present())
                        .await?;
                }
                Ok(())
            }
        }
    })
    .await?;
    for key in &keys {
        store.lacks(key).await?;
    }
    Ok(())
}

/// Checks that a set with this condition is refused on a missing, a removed and an expired key,
/// with any expiry, and creates no key.
async fn creates_nothing<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, options: &SetOptions) -> Checked {
    for expiry in EXPIRIES {
        let options = options.clone().with_expiry(expiry);
        store.refused("missing", "1", options.clone()).await?;
        store.lacks("missing").await?;
        store.put("removed", "0").await?;
        store.del(&["removed"]).await?;
        store.refused("removed", "1", options.clone()).await?;
        store.lacks("removed").await?;
        store.put_for("expired", "0", cx.short()).await?;
        cx.outlive(cx.short()).await;
        store.refused("expired", "1", options).await?;
        store.lacks("expired").await?;
    }
    Ok(())
}

pub(crate) async fn cond_04_if_present_writes_on_a_present_key<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put_for("k", "1", HUNDRED_SECONDS).await?;
    store.write("k", "2", SetOptions::if_present()).await?;
    store.holds("k", "2").await?;
    store.is_persistent("k").await?;

    let with_ttl = SetOptions::if_present().with_expiry(HUNDRED_SECONDS);
    let set = store.write("k", "3", with_ttl).await?;
    store.holds("k", "3").await?;
    store.has_ttl("k", HUNDRED_SECONDS, set).await?;

    cx.pass(cx.noticeable()).await;
    store
        .write("k", "4", SetOptions::if_present().with_expiry(Expiry::Keep))
        .await?;
    store.holds("k", "4").await?;
    store.has_ttl("k", HUNDRED_SECONDS, set).await?;

    store.put("empty", "").await?;
    store.write("empty", "1", SetOptions::if_present()).await?;
    store.holds("empty", "1").await?;
    let lengths = [0, 1, 4096, LARGE * 2];
    for_each(cx, &lengths, |length| sets(cx, &store, &[When::IfPresent], length)).await?;
    Box::pin(sets_of_the_same_value(cx, &store, &[When::IfPresent])).await
}

pub(crate) async fn cond_05_if_equals_compares_bytes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let lookalikes: [(&[u8], &[&[u8]]); 11] = [
        (b"5", &[b"05", b"5 ", b" 5", b"5.0", b"+5", b"5\0", b"", b"\x05"]),
        (b"05", &[b"5"]),
        (b"", &[b"\0", b" ", b"nil", b"0"]),
        (b"abc", &[b"ABC", b"ab", b"abcd", b"abd", b"bbc"]),
        (
            b"\xff\x00",
            &[b"\xff", b"\xff\x00\x00", b"\xfe\x00", b"\xef\xbf\xbd\x00"],
        ),
        (b"e\xcc\x81", &[b"\xc3\xa9"]),
        (b"10", &[b"1e1", b"10.0", b"0x0a", b"010", b"1_0"]),
        (b"0", &[b"-0", b"+0", b"00", b"0.0", b"", b"false"]),
        (b"-0", &[b"0", b"-0.0"]),
        (b"{\"a\":1}", &[b"{\"a\": 1}", b"{ \"a\":1}", b"{\"a\":1.0}"]),
        (b"a\nb", &[b"a\r\nb", b"a b", b"a\rb"]),
    ];
    for (held, others) in lookalikes {
        let held = Bytes::from_static(held);
        let set = store.put_for("k", held.clone(), HUNDRED_SECONDS).await?;
        for other in others {
            let condition = Condition::IfEquals(Bytes::from_static(other));
            store
                .refused("k", "new", SetOptions::new().with_condition(condition))
                .await?;
            store.holds("k", &held).await?;
            store.has_ttl("k", HUNDRED_SECONDS, set).await?;
        }
        let equal = SetOptions::new().with_condition(Condition::IfEquals(held.clone()));
        store.write("k", "new", equal.clone()).await?;
        store.holds("k", "new").await?;
        store.is_persistent("k").await?;
        // A second comparison with the old value must fail.
        store.refused("k", "newer", equal).await?;
    }
    store.refused("missing", "new", if_equals("")).await?;
    store.lacks("missing").await
}

pub(crate) async fn cond_06_if_equals_creates_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    // "0" is the value of the expired key.
    for expected in ["0", "", "1"] {
        creates_nothing(cx, &store, &if_equals(expected)).await?;
    }
    Ok(())
}

/// Checks that exactly one racer wrote in each round, and that its value is stored. The racers
/// share two handles, because a lock of the handle is no lock of the store.
async fn has_one_winner<B: KvBackend>(
    handles: [&Store<B>; 2],
    condition: Condition,
    what: &'static str,
    rounds: usize,
) -> Checked {
    let store = handles[0];
    let racing = handles.map(Store::clone);
    let key = move |round: usize| format!("{what} {round}");
    let outcomes = race(RACERS, rounds, move |racer, round| {
        let (store, condition) = (racing[racer % 2].clone(), condition.clone());
        let key = key(round);
        async move {
            let options = SetOptions::new().with_condition(condition);
            Ok(store.set(&key, racer.to_string().into(), options).await?)
        }
    })
    .await?;
    let mut winners = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let won = |racer: &usize| outcomes[*racer].get(round) == Some(&SetOutcome::Written);
        let told: Vec<usize> = (0..RACERS).filter(won).collect();
        ensure!(
            told.len() == 1,
            "{what}, round {round}: {} of {RACERS} racers were told Written",
            told.len()
        );
        winners.push((key(round), told[0].to_string()));
    }
    // Several at a time, because a clause has a time limit and a call can take 20 ms.
    for winners in winners.chunks(RACERS) {
        try_join_all(winners.iter().map(|(key, winner)| store.holds(key, winner.clone()))).await?;
    }
    Ok(())
}

pub(crate) async fn cond_07_of_many_racers_one_wins<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    has_one_winner([&store, &other], Condition::IfAbsent, "IfAbsent", ROUNDS).await?;
    let keys: Vec<String> = (0..ROUNDS).map(|round| format!("IfEquals {round}")).collect();
    let old = Bytes::from_static(b"old");
    let entries: Vec<(&str, Bytes)> = keys.iter().map(|key| (key.as_str(), old.clone())).collect();
    store.set_many(&entries, Expiry::Never).await?;
    has_one_winner([&store, &other], Condition::IfEquals(old), "IfEquals", ROUNDS).await
}

pub(crate) async fn cond_08_del_if_equals_is_one_step<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let set = store.put_for("k", "05", HUNDRED_SECONDS).await?;
    for other in [&b"5"[..], b"", b"05 ", b"06", b"04", b"05\0"] {
        ensure_eq!(
            store.del_if_equals("k", other).await?,
            false,
            "del_if_equals with another value"
        );
        store.holds("k", "05").await?;
        store.has_ttl("k", HUNDRED_SECONDS, set).await?;
    }
    ensure_eq!(
        store.del_if_equals("k", b"05").await?,
        true,
        "del_if_equals with the value"
    );
    store.lacks("k").await?;
    ensure_eq!(
        store.del_if_equals("k", b"05").await?,
        false,
        "del_if_equals of a removed key"
    );
    ensure_eq!(
        store.del_if_equals("missing", b"").await?,
        false,
        "del_if_equals of a missing key"
    );
    store.put("empty", "").await?;
    ensure_eq!(
        store.del_if_equals("empty", b"x").await?,
        false,
        "del_if_equals of an empty value"
    );
    ensure_eq!(
        store.del_if_equals("empty", b"").await?,
        true,
        "del_if_equals of an empty value"
    );
    store.put_for("expired", "v", cx.short()).await?;
    cx.outlive(cx.short()).await;
    ensure_eq!(
        store.del_if_equals("expired", b"v").await?,
        false,
        "del_if_equals of an expired key"
    );

    // One writer races three tasks that remove the old value. In every order the new value must
    // stay, and at most one task may have removed the old value.
    let key = |round: usize| format!("race {round}");
    let keys: Vec<String> = (0..ROUNDS).map(key).collect();
    let old: Vec<(&str, Bytes)> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::from_static(b"old")))
        .collect();
    store.set_many(&old, Expiry::Never).await?;
    let racing = [store.clone(), cx.second(&store)];
    let removed = race(4, ROUNDS, move |racer, round| {
        let store = racing[racer / 2].clone();
        let key = key(round);
        async move {
            // The racers take turns as the writer.
            if (racer + round) % 4 == 0 {
                store.put(&key, "new").await?;
                return Ok(false);
            }
            Ok(store.del_if_equals(&key, b"old").await?)
        }
    })
    .await?;
    for (round, key) in keys.iter().enumerate() {
        let count = removed.iter().filter(|answers| answers[round]).count();
        ensure!(
            count <= 1,
            "{count} tasks were told that they removed the one old value of {key:?}"
        );
        store.holds(key, "new").await?;
    }
    Ok(())
}

pub(crate) async fn cond_09_if_equals_treats_the_ttl_as_any_set<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const COMPARED: &[When] = &[When::IfEqual, When::IfUnequal];
    // Runs several conditions side by side, to compare their effects.
    const BESIDE: &[When] = &[When::Always, When::IfEqual, When::IfPresent];
    let cases = [
        (COMPARED, 0),
        (COMPARED, 1),
        (COMPARED, 65),
        (COMPARED, 4096),
        (COMPARED, LARGE * 2),
        (BESIDE, 64),
    ];
    let store = cx.store().await;
    for_each(cx, &cases, |(conditions, length)| sets(cx, &store, conditions, length)).await?;
    // A lease is renewed in this way.
    Box::pin(sets_of_the_same_value(cx, &store, COMPARED)).await
}

pub(crate) async fn cond_10_equality_is_of_all_bytes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    for length in COMPARED_LENGTHS {
        let held = letters(length, 0);
        let key = format!("{length} bytes");
        let set = store.put_for(&key, held.clone(), HUNDRED_SECONDS).await?;
        for (number, near) in near(&held).enumerate() {
            let caller = if number % 2 == 0 { &store } else { &other };
            let condition = Condition::IfEquals(near.value.clone());
            let options = SetOptions::new().with_condition(condition);
            let outcome = caller.set(&key, Bytes::from_static(b"new"), options).await?;
            ensure_eq!(outcome, SetOutcome::Refused, "set(IfEquals) where {}", near.how);
            let removed = caller.del_if_equals(&key, &near.value).await?;
            ensure_eq!(removed, false, "del_if_equals where {}", near.how);
        }
        other.holds(&key, &held).await?;
        store.has_ttl(&key, HUNDRED_SECONDS, set).await?;

        let equal = SetOptions::new().with_condition(Condition::IfEquals(held.clone()));
        let outcome = other.set(&key, letters(length, 1), equal).await?;
        ensure_eq!(outcome, SetOutcome::Written, "set(IfEquals) with all {length} bytes");
        store.holds(&key, letters(length, 1)).await?;
        let removed = store.del_if_equals(&key, &held).await?;
        ensure_eq!(
            removed,
            false,
            "del_if_equals with the {length} bytes that were there before"
        );
        let removed = store.del_if_equals(&key, &letters(length, 1)).await?;
        ensure_eq!(removed, true, "del_if_equals with all {length} bytes");
        other.lacks(&key).await?;
    }
    compares_beyond_a_mebibyte(&store).await
}

/// Checks the comparison of a value that the store may refuse.
async fn compares_beyond_a_mebibyte<B: KvBackend>(store: &Store<B>) -> Checked {
    let held = letters((2 << 20) + 1, 0);
    if store.set("long", held.clone(), SetOptions::new()).await.is_err() {
        return Ok(());
    }
    for place in [0, 1 << 20, held.len() - 1] {
        let mut near = held.to_vec();
        near[place] ^= 1;
        let condition = Condition::IfEquals(near.clone().into());
        let options = SetOptions::new().with_condition(condition);
        let outcome = store.set("long", Bytes::from_static(b"new"), options).await?;
        let what = format!("where byte {place} of {} differs", held.len());
        ensure_eq!(outcome, SetOutcome::Refused, "set(IfEquals) {what}");
        ensure_eq!(store.del_if_equals("long", &near).await?, false, "del_if_equals {what}");
    }
    ensure_eq!(
        store.del_if_equals("long", &held).await?,
        true,
        "del_if_equals with all {} bytes",
        held.len()
    );
    Ok(())
}
