//! Expiry.

mod clocks;

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, SetOptions, Ttl};

pub(crate) use clocks::{exp_12_the_wall_clock_changes_nothing, exp_13_every_handle_has_the_same_time};

use super::matrix::{expires, for_each, reads};
use crate::{
    Harness,
    cases::{durations::MILLIS, lists, values::FEW_LENGTHS},
    clauses::set::{LONGEST, TOO_LONG},
    context::{Context, Stamp, Store},
    failure::{Checked, Failure, ensure, ensure_eq, ensure_kind, show},
    runtime::race,
};

const HUNDRED_SECONDS: Duration = Duration::from_secs(100);

/// Calls `expire`, which must find its key.
async fn expire<B: KvBackend>(store: &Store<B>, key: &str, expiry: Expiry) -> Checked<Stamp> {
    let (found, at) = store.timed(store.expire(key, expiry)).await?;
    ensure!(found, "expire({expiry:?}) of {}: expected true, got false", show(&key));
    Ok(at)
}

pub(crate) async fn exp_01_ttl_says_what_is_left<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    ensure_eq!(store.ttl("k").await?, Ttl::Missing, "ttl of a missing key");
    store.put("k", "v").await?;
    ensure_eq!(store.ttl("k").await?, Ttl::Persistent, "ttl of a key without one");
    let set = store.put_for("k", "v", HUNDRED_SECONDS).await?;
    let mut least = HUNDRED_SECONDS;
    for _ in 0..10 {
        let ttl = store.ttl("k").await?;
        let Ttl::Remaining(rest) = ttl else {
            return Err(Failure::Broken(format!("ttl of a key with one: got {ttl:?}")));
        };
        ensure!(rest <= least, "what is left grew from {least:?} to {rest:?}");
        ensure!(!rest.is_zero(), "what is left of a key that is there is zero");
        least = rest;
        store.has_ttl("k", HUNDRED_SECONDS, set).await?;
        cx.pass(cx.noticeable()).await;
    }
    ensure!(least < HUNDRED_SECONDS, "what is left never shrank");
    store.del(&["k"]).await?;
    ensure_eq!(store.ttl("k").await?, Ttl::Missing, "ttl of a removed key");
    store.put_for("k", "v", cx.short()).await?;
    cx.outlive(cx.short()).await;
    ensure_eq!(store.ttl("k").await?, Ttl::Missing, "ttl of an expired key");
    Box::pin(reads(cx, &store, 65)).await
}

pub(crate) async fn exp_02_never_early_and_hardly_late<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    long_ones_stay(cx, &store).await?;
    if cx.virtual_time().is_none() {
        for ttl in [Duration::from_millis(20), cx.short()] {
            ends_in_time(cx, &store, ttl).await?;
        }
        return Ok(());
    }
    let millisecond = Duration::from_millis(1);
    // At most two months, because the clock belongs to the harness, and the next clause continues
    // from this time. A 32-bit count of milliseconds overflows after 50 days.
    for millis in [2, 10, 999, 1000, 1001, 60_000, 60 * 86_400_000] {
        let ttl = Duration::from_millis(millis);
        store.put_for("k", "v", ttl).await?;
        cx.pass(ttl.saturating_sub(millisecond)).await;
        store.holds("k", "v").await?;
        cx.pass(millisecond + cx.tolerance()).await;
        ensure_eq!(store.get("k").await?, None, "get past the end of {ttl:?}");
    }
    Ok(())
}

/// Checks that keys stay whose time to live ends early if a timer counts in 31 or 32 bits.
async fn long_ones_stay<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>) -> Checked {
    let few = Duration::from_millis(5);
    let wholes = [
        Duration::from_millis(1 << 31),
        Duration::from_millis(1 << 32),
        Duration::from_secs(1 << 31),
        Duration::from_secs(1 << 32),
    ];
    let mut keys = Vec::new();
    for whole in wholes {
        let ttl = whole + few;
        let (set, expired) = (format!("set for {ttl:?}"), format!("expire after {ttl:?}"));
        store.put_for(&set, "v", ttl).await?;
        store.put(&expired, "v").await?;
        expire(store, &expired, Expiry::After(ttl)).await?;
        keys.extend([set, expired]);
    }
    cx.outlive(few).await;
    for key in &keys {
        store.holds(key, "v").await?;
    }
    Ok(())
}

/// Observes the expiry of a key in real time.
async fn ends_in_time<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, ttl: Duration) -> Checked {
    let set = store.put_for("k", "v", ttl).await?;
    loop {
        let (got, asked) = store.timed(store.get("k")).await?;
        if got.is_none() {
            // The write happened after its call began, and the read before its answer arrived.
            let most = asked.after.saturating_sub(set.before);
            ensure!(
                most + Duration::from_millis(1) >= ttl,
                "gone after at most {most:?} of {ttl:?}"
            );
            return Ok(());
        }
        let least = asked.before.saturating_sub(set.after);
        ensure!(
            least <= ttl + cx.tolerance(),
            "still there {least:?} after a set for {ttl:?}, with a granularity of {:?}",
            cx.tolerance()
        );
        cx.pass(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn exp_03_an_expired_key_is_gone_for_every_verb<H: Harness>(cx: &Context<'_, H>) -> Checked {
    // First immediately, before a sweeper can run, and then after a sweeper has had time to run.
    for rest in [Duration::ZERO, cx.short() * 5] {
        let store = cx.store().await;
        // A key for each verb, because the first access may remove it.
        let keys = [
            "get",
            "get_many",
            "ttl",
            "del",
            "del_if_equals",
            "expire after",
            "expire never",
            "expire keep",
            "expire zero",
            "create",
            "create for",
            "refuse",
            "if absent",
            "if present",
            "if equals",
            "keep",
            "scan",
            "del_matching",
        ];
        for key in keys {
            store.put_for(key, "5", cx.short()).await?;
        }
        let more = lists::keys("more", 300);
        let entries: Vec<(&str, Bytes)> = more
            .iter()
            .map(|key| (key.as_str(), Bytes::from_static(b"5")))
            .collect();
        store.set_many(&entries, Expiry::After(cx.short())).await?;
        cx.outlive(cx.short() + rest).await;

        long_lists_have_expired(&store, &more).await?;
        ensure_eq!(store.get("get").await?, None, "get");
        ensure_eq!(
            store.get_many(&["get_many", "get_many"]).await?,
            [None, None],
            "get_many"
        );
        ensure_eq!(store.ttl("ttl").await?, Ttl::Missing, "ttl");
        ensure_eq!(store.del(&["del"]).await?, 0, "del");
        ensure_eq!(
            store.del_if_equals("del_if_equals", b"5").await?,
            false,
            "del_if_equals"
        );
        for (key, expiry) in [
            ("expire after", Expiry::After(HUNDRED_SECONDS)),
            ("expire never", Expiry::Never),
            ("expire keep", Expiry::Keep),
            ("expire zero", Expiry::After(Duration::ZERO)),
        ] {
            ensure_eq!(store.expire(key, expiry).await?, false, "{key}");
            store.lacks(key).await?;
        }
        for pattern in [Pattern::all(), Pattern::glob("scan")] {
            ensure_eq!(
                store.keys(&pattern, 1000).await?.into_iter().collect::<Vec<_>>(),
                [""; 0],
                "scan"
            );
        }
        ensure_eq!(
            store.del_matching(&Pattern::glob("del_matching")).await?,
            0,
            "del_matching"
        );

        let sum = store.incr("create", 1, OnMissing::Create(Expiry::Never)).await?;
        ensure_eq!(sum, Some(1), "incr by 1 of a key that held 5");
        store.is_persistent("create").await?;
        let create = store.incr("create for", 1, OnMissing::Create(Expiry::After(HUNDRED_SECONDS)));
        let (sum, at) = store.timed(create).await?;
        ensure_eq!(sum, Some(1), "incr by 1 of a key that held 5");
        store.has_ttl("create for", HUNDRED_SECONDS, at).await?;
        ensure_eq!(
            store.incr("refuse", 1, OnMissing::Refuse).await?,
            None,
            "incr with Refuse"
        );
        store.lacks("refuse").await?;

        store.write("if absent", "new", SetOptions::if_absent()).await?;
        store.is_persistent("if absent").await?;
        store.refused("if present", "new", SetOptions::if_present()).await?;
        store.lacks("if present").await?;
        let equal = SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static(b"5")));
        store.refused("if equals", "new", equal).await?;
        store.lacks("if equals").await?;
        store
            .write("keep", "new", SetOptions::new().with_expiry(Expiry::Keep))
            .await?;
        store.is_persistent("keep").await?;
    }
    Ok(())
}

/// Checks expired keys in long lists, which a store may handle in another way than short lists.
async fn long_lists_have_expired<B: KvBackend>(store: &Store<B>, keys: &[String]) -> Checked {
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (first, second) = names.split_at(names.len() / 2);
    let got = store.get_many(first).await?;
    ensure_eq!(
        got.iter().flatten().count(),
        0,
        "number of values that get_many of {} expired keys found",
        first.len()
    );
    ensure_eq!(store.del(second).await?, 0, "del of {} expired keys", second.len());
    Ok(())
}

pub(crate) async fn exp_04_milliseconds_are_kept<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for millis in [1_500, 1_001, 2_999, 90_123] {
        let ttl = Duration::from_millis(millis);
        let set = store.put_for("k", "v", ttl).await?;
        store.has_ttl("k", ttl, set).await?;

        store.put("k", "v").await?;
        let set = expire(&store, "k", Expiry::After(ttl)).await?;
        store.has_ttl("k", ttl, set).await?;

        store.del(&["k"]).await?;
        let (_, set) = store
            .timed(store.incr("k", 1, OnMissing::Create(Expiry::After(ttl))))
            .await?;
        store.has_ttl("k", ttl, set).await?;

        let entries = [("k", Bytes::from_static(b"v"))];
        let ((), set) = store.timed(store.set_many(&entries, Expiry::After(ttl))).await?;
        store.has_ttl("k", ttl, set).await?;
    }
    for millis in MILLIS {
        Box::pin(keeps_millis(&store, Duration::from_millis(millis))).await?;
    }
    if cx.virtual_time().is_some() {
        store.put_for("k", "v", Duration::from_millis(1_500)).await?;
        cx.pass(Duration::from_millis(1_499)).await;
        store.holds("k", "v").await?;
        cx.pass(Duration::from_millis(2)).await;
        store.lacks("k").await?;
    }
    Ok(())
}

/// Checks that every verb with a duration keeps its milliseconds.
async fn keeps_millis<B: KvBackend>(store: &Store<B>, ttl: Duration) -> Checked {
    let key = |way: &str| format!("{way} for {ttl:?}");
    let options = || SetOptions::expires_after(ttl);
    let (absent, present, equal) = (key("set(IfAbsent)"), key("set(IfPresent)"), key("set(IfEquals)"));
    let (always, many, expired, created) = (key("set"), key("set_many"), key("expire"), key("incr"));
    let mut given = Vec::new();
    given.push((
        &absent,
        store
            .write(&absent, "1", options().with_condition(Condition::IfAbsent))
            .await?,
    ));
    for key in [&present, &equal, &expired] {
        store.put(key, "1").await?;
    }
    given.push((
        &present,
        store
            .write(&present, "2", options().with_condition(Condition::IfPresent))
            .await?,
    ));
    let held = Condition::IfEquals(Bytes::from_static(b"1"));
    given.push((&equal, store.write(&equal, "2", options().with_condition(held)).await?));
    given.push((&always, store.put_for(&always, "1", ttl).await?));
    let entries = [(many.as_str(), Bytes::from_static(b"1"))];
    given.push((
        &many,
        store.timed(store.set_many(&entries, Expiry::After(ttl))).await?.1,
    ));
    given.push((&expired, expire(store, &expired, Expiry::After(ttl)).await?));
    let create = OnMissing::Create(Expiry::After(ttl));
    given.push((&created, store.timed(store.incr(&created, 1, create)).await?.1));
    for (key, at) in given {
        store.has_ttl(key, ttl, at).await?;
    }
    Ok(())
}

pub(crate) async fn exp_05_expire_creates_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("removed", "v").await?;
    store.del(&["removed"]).await?;
    for key in ["missing", "removed"] {
        for expiry in [
            Expiry::After(HUNDRED_SECONDS),
            Expiry::After(Duration::ZERO),
            Expiry::Never,
            Expiry::Keep,
        ] {
            ensure_eq!(
                store.expire(key, expiry).await?,
                false,
                "expire({expiry:?}) of a missing key"
            );
            store.lacks(key).await?;
        }
        // The expiry must not be stored for a future key either.
        store.expire(key, Expiry::After(HUNDRED_SECONDS)).await?;
        store.put(key, "v").await?;
        store.is_persistent(key).await?;
        store.del(&[key]).await?;
    }
    ensure_eq!(store.keys(&Pattern::all(), 10).await?.len(), 0, "number of keys");
    brings_nothing_back(cx, &store).await
}

/// Checks that an `expire` that races with a removal or with a set brings no old value back.
async fn brings_nothing_back<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>) -> Checked {
    const ROUNDS: usize = 250;
    let key = |round: usize| format!("race {round}");
    let keys: Vec<String> = (0..ROUNDS).map(key).collect();
    store.fill(&keys).await?;
    let handles = [store.clone(), cx.second(store)];
    race(4, ROUNDS, move |racer, round| {
        let store = handles[racer % 2].clone();
        let key = key(round);
        async move {
            if (racer + round / 2) % 4 != 0 {
                store.expire(&key, Expiry::After(HUNDRED_SECONDS)).await?;
            } else if round % 2 == 0 {
                store.del(&[&key]).await?;
            } else {
                store.put(&key, "new").await?;
            }
            Ok(())
        }
    })
    .await?;
    for (round, key) in keys.iter().enumerate() {
        if round % 2 == 0 {
            store.lacks(key).await?;
        } else {
            store.holds(key, "new").await?;
        }
    }
    Ok(())
}

pub(crate) async fn exp_06_expire_zero_removes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("persistent", "v").await?;
    store.put_for("timed", "v", HUNDRED_SECONDS).await?;
    store.put("kept", "v").await?;
    for key in ["persistent", "timed"] {
        expire(&store, key, Expiry::After(Duration::ZERO)).await?;
        store.lacks(key).await?;
        ensure_eq!(
            store.expire(key, Expiry::After(Duration::ZERO)).await?,
            false,
            "expire(After(0)) of a key that it has removed"
        );
    }
    store.holds("kept", "v").await
}

pub(crate) async fn exp_07_expire_lengthens_and_shortens<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("k", "v").await?;
    for seconds in [100, 1000, 50, 70] {
        let ttl = Duration::from_secs(seconds);
        let at = expire(&store, "k", Expiry::After(ttl)).await?;
        store.has_ttl("k", ttl, at).await?;
        store.holds("k", "v").await?;
    }
    // A small change is a change too.
    for millis in [100_000, 100_400, 100_395, 99_990] {
        let ttl = Duration::from_millis(millis);
        let at = expire(&store, "k", Expiry::After(ttl)).await?;
        store.has_ttl("k", ttl, at).await?;
        let set = store.put_for("set", "v", ttl).await?;
        store.has_ttl("set", ttl, set).await?;
    }
    let at = expire(&store, "k", Expiry::After(HUNDRED_SECONDS)).await?;
    cx.pass(cx.noticeable()).await;
    expire(&store, "k", Expiry::Keep).await?;
    store.has_ttl("k", HUNDRED_SECONDS, at).await?;
    store.holds("k", "v").await?;

    expire(&store, "k", Expiry::After(cx.short())).await?;
    cx.outlive(cx.short()).await;
    store.lacks("k").await?;
    // First shorter, then longer: the first deadline must not take effect.
    store.put_for("k", "v", cx.short()).await?;
    let at = expire(&store, "k", Expiry::After(HUNDRED_SECONDS)).await?;
    cx.outlive(cx.short()).await;
    store.holds("k", "v").await?;
    store.has_ttl("k", HUNDRED_SECONDS, at).await?;
    if cx.virtual_time().is_some() {
        // Less than a millisecond is rounded up, as in a set. It is not zero, which would remove
        // the key.
        expire(&store, "k", Expiry::After(Duration::from_nanos(1))).await?;
        store.holds("k", "v").await?;
    }
    for_each(cx, &FEW_LENGTHS, |length| expires(cx, &store, length)).await
}

pub(crate) async fn exp_08_expire_never_persists<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put_for("timed", "v", HUNDRED_SECONDS).await?;
    store.put("persistent", "v").await?;
    for key in ["timed", "persistent"] {
        // The second time there is no TTL to clear.
        for _ in 0..2 {
            expire(&store, key, Expiry::Never).await?;
            store.is_persistent(key).await?;
            store.holds(key, "v").await?;
        }
        expire(&store, key, Expiry::Keep).await?;
        store.is_persistent(key).await?;
    }
    ensure_eq!(
        store.expire("missing", Expiry::Never).await?,
        false,
        "expire(Never) of a missing key"
    );
    store.lacks("missing").await
}

pub(crate) async fn exp_09_a_persisted_key_outlives_its_deadline<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put_for("k", "v", cx.short()).await?;
    expire(&store, "k", Expiry::Never).await?;
    for _ in 0..2 {
        cx.outlive(cx.short()).await;
        store.holds("k", "v").await?;
        store.is_persistent("k").await?;
    }
    Ok(())
}

pub(crate) async fn exp_10_an_old_deadline_spares_a_newer_value<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    // All calls before the wait must find the old values alive, even on a busy machine.
    let life = cx.short() * 6;
    let keys = [
        "longer",
        "never",
        "removed first",
        "removed by compare",
        "present",
        "many",
        "extended",
        "absent",
    ];
    for key in keys {
        store.put_for(key, "old", life).await?;
    }
    store.put_for("counter", "old", life).await?;
    let set = store.put_for("longer", "new", HUNDRED_SECONDS).await?;
    store.put("never", "new").await?;
    store.del(&["removed first"]).await?;
    store.put("removed first", "new").await?;
    store.del_if_equals("removed by compare", b"old").await?;
    store.put("removed by compare", "new").await?;
    store.write("present", "new", SetOptions::if_present()).await?;
    store
        .set_many(&[("many", Bytes::from_static(b"new"))], Expiry::Never)
        .await?;
    store
        .write("extended", "new", SetOptions::new().with_expiry(Expiry::Keep))
        .await?;
    expire(&store, "extended", Expiry::After(HUNDRED_SECONDS)).await?;
    store.del(&["absent", "counter"]).await?;
    store.write("absent", "new", SetOptions::if_absent()).await?;
    store.incr("counter", 1, OnMissing::Create(Expiry::Never)).await?;
    // Twice, because a sweeper may run late.
    for _ in 0..2 {
        cx.outlive(life).await;
        for key in keys {
            store.holds(key, "new").await?;
        }
        store.holds("counter", "1").await?;
    }
    store.has_ttl("longer", HUNDRED_SECONDS, set).await?;
    ensure_eq!(
        store.keys(&Pattern::all(), 10).await?.len(),
        keys.len() + 1,
        "number of keys"
    );
    Ok(())
}

pub(crate) async fn exp_11_too_long_is_invalid<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let set = store.put_for("timed", "v", HUNDRED_SECONDS).await?;
    store.put("persistent", "v").await?;
    cx.pass(cx.noticeable()).await;
    for ttl in TOO_LONG {
        for key in ["timed", "persistent", "missing"] {
            let got = store.expire(key, Expiry::After(ttl)).await;
            ensure_kind(
                got,
                ErrorKind::InvalidArgument,
                &format!("expire of {key:?} after {ttl:?}"),
            )?;
        }
        store.holds("timed", "v").await?;
        store.has_ttl("timed", HUNDRED_SECONDS, set).await?;
        store.holds("persistent", "v").await?;
        store.is_persistent("persistent").await?;

        let got = store.incr("counter", 1, OnMissing::Create(Expiry::After(ttl))).await;
        ensure_kind(
            got,
            ErrorKind::InvalidArgument,
            &format!("incr that creates for {ttl:?}"),
        )?;
        store.lacks("counter").await?;
    }
    let at = expire(&store, "timed", Expiry::After(LONGEST)).await?;
    store.holds("timed", "v").await?;
    store.has_ttl("timed", LONGEST, at).await
}
