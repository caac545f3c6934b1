//! The wall clock, and the clocks of several handles.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, OnMissing, SetOptions, SetOutcome};

use super::{HUNDRED_SECONDS, expire};
use crate::{
    Harness, WallShift,
    context::{Context, Stamp, Store},
    failure::{Checked, Failure, ensure, ensure_eq},
};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn exp_12_the_wall_clock_changes_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let Some(time) = cx.virtual_time() else {
        return Err(Failure::NotApplicable("the store's clock cannot be moved"));
    };
    for shift in [WallShift::Back(HOUR), WallShift::Forward(HOUR)] {
        let store = cx.store().await;
        let set = store.put_for("before", "v", HUNDRED_SECONDS).await?;
        store.put("persistent", "v").await?;
        if !time.shift_wall_clock(shift) {
            return Err(Failure::NotApplicable("the store has no wall clock"));
        }
        store.has_ttl("before", HUNDRED_SECONDS, set).await?;
        store.holds("before", "v").await?;
        store.is_persistent("persistent").await?;
        let after = store.put_for("after", "v", HUNDRED_SECONDS).await?;
        store.has_ttl("after", HUNDRED_SECONDS, after).await?;
        let outcome = store.set("before", "w".into(), SetOptions::if_absent()).await?;
        ensure_eq!(outcome, SetOutcome::Refused, "IfAbsent on a key that is there");

        cx.pass(HUNDRED_SECONDS / 2).await;
        store.has_ttl("before", HUNDRED_SECONDS, set).await?;
        store.has_ttl("after", HUNDRED_SECONDS, after).await?;
        cx.outlive(HUNDRED_SECONDS / 2).await;
        store.lacks("before").await?;
        store.lacks("after").await?;
        store.holds("persistent", "v").await?;
    }
    Ok(())
}

/// The ways to give a key a time to live.
const WAYS: [&str; 8] = [
    "set",
    "set(IfAbsent)",
    "set(IfEquals)",
    "set(IfEquals) with Keep",
    "set_many",
    "incr",
    "expire",
    "expire twice",
];

/// Gives `key` this time to live.
async fn give<B: KvBackend>(store: &Store<B>, way: &str, key: &str, ttl: Duration) -> Checked<Stamp> {
    let held = || Condition::IfEquals(Bytes::from_static(b"1"));
    let options = SetOptions::expires_after(ttl);
    Ok(match way {
        "set" => store.put_for(key, "1", ttl).await?,
        "set(IfAbsent)" => {
            store
                .write(key, "1", options.with_condition(Condition::IfAbsent))
                .await?
        }
        "set(IfEquals)" => {
            store.put(key, "1").await?;
            store.write(key, "1", options.with_condition(held())).await?
        }
        "set(IfEquals) with Keep" => {
            let given = store.put_for(key, "1", ttl).await?;
            let keep = SetOptions::new().with_condition(held()).with_expiry(Expiry::Keep);
            store.write(key, "1", keep).await?;
            given
        }
        "set_many" => {
            let entries = [(key, Bytes::from_static(b"1"))];
            store.timed(store.set_many(&entries, Expiry::After(ttl))).await?.1
        }
        "incr" => {
            store
                .timed(store.incr(key, 1, OnMissing::Create(Expiry::After(ttl))))
                .await?
                .1
        }
        "expire" => {
            store.put(key, "1").await?;
            expire(store, key, Expiry::After(ttl)).await?
        }
        _ => {
            store.put_for(key, "1", ttl / 2).await?;
            expire(store, key, Expiry::After(ttl)).await?
        }
    })
}

pub(crate) async fn exp_13_every_handle_has_the_same_time<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const HANDLES: [&str; 3] = ["the first handle", "a second handle", "a handle that was opened later"];
    let first = cx.store().await;
    let open = |store: &Store<H::Backend>| {
        let opened = cx.harness.reopen(store.backend()).map(|backend| cx.adopt(backend));
        opened.ok_or(Failure::NotApplicable("the harness gives no second handle on a store"))
    };
    let second = open(&first)?;
    // Time passes before the third handle is opened, so that a handle that counts from its own
    // opening is off by this time.
    let apart = if cx.virtual_time().is_some() {
        HOUR
    } else {
        cx.noticeable()
    };
    cx.pass(apart).await;
    let third = open(&second)?;
    let handles = [&first, &second, &third];
    if cx.virtual_time().is_none() {
        return agree_in_real_time(cx, &handles, &HANDLES).await;
    }
    let ttl = cx.short() * 3;
    let given = give_through_all(&handles, &HANDLES, ttl).await?;
    have_ttl(&handles, &given, ttl).await?;
    let millisecond = Duration::from_millis(1);
    cx.pass(ttl.saturating_sub(millisecond * 3)).await;
    for before in [3, 2, 1] {
        for (key, _) in &given {
            for (handle, name) in handles.iter().zip(HANDLES) {
                let got = handle.get(key).await?;
                ensure!(
                    got.is_some(),
                    "{key}: {before} ms before its end {name} does not see it"
                );
            }
        }
        cx.pass(millisecond).await;
    }
    cx.pass(cx.tolerance()).await;
    for (key, _) in &given {
        for (handle, name) in handles.iter().zip(HANDLES) {
            let got = handle.get(key).await?;
            ensure!(
                got.is_none(),
                "{key}: {:?} after its end {name} still sees it",
                cx.tolerance()
            );
            handle.lacks(key).await?;
        }
    }
    Ok(())
}

/// A key, and the moment at which it was given its time to live.
type Given = (String, Stamp);

/// Gives keys this time to live in every way, through every handle.
async fn give_through_all<B: KvBackend>(handles: &[&Store<B>], names: &[&str], ttl: Duration) -> Checked<Vec<Given>> {
    let mut given = Vec::new();
    for way in WAYS {
        for (handle, name) in handles.iter().zip(names) {
            let key = format!("{way} through {name} for {ttl:?}");
            let at = give(handle, way, &key, ttl).await?;
            given.push((key, at));
        }
    }
    Ok(given)
}

/// Checks that every handle reports the remainder of `ttl` for each key.
async fn have_ttl<B: KvBackend>(handles: &[&Store<B>], given: &[Given], ttl: Duration) -> Checked {
    for (key, at) in given {
        for handle in handles {
            handle.holds(key, "1").await?;
            handle.has_ttl(key, ttl, *at).await?;
        }
    }
    Ok(())
}

/// Waits for expiries in real time. The times to live are checked on other keys, because on a busy
/// machine a key can expire before every handle has read it.
async fn agree_in_real_time<H: Harness>(
    cx: &Context<'_, H>,
    handles: &[&Store<H::Backend>],
    names: &[&str],
) -> Checked {
    const TTL: Duration = Duration::from_secs(1);
    let given = give_through_all(handles, names, HUNDRED_SECONDS).await?;
    have_ttl(handles, &given, HUNDRED_SECONDS).await?;
    for (key, at) in give_through_all(handles, names, TTL).await? {
        ends_on_all(cx, handles, names, &key, TTL, at).await?;
    }
    Ok(())
}

/// Checks that every handle sees the key until its expiry, and that no handle sees it much later.
async fn ends_on_all<H: Harness>(
    cx: &Context<'_, H>,
    handles: &[&Store<H::Backend>],
    names: &[&str],
    key: &str,
    ttl: Duration,
    given: Stamp,
) -> Checked {
    let mut alive: Vec<usize> = (0..handles.len()).collect();
    while !alive.is_empty() {
        let mut still = Vec::new();
        for at in alive {
            let (got, asked) = handles[at].timed(handles[at].get(key)).await?;
            let most = asked.after.saturating_sub(given.before);
            let least = asked.before.saturating_sub(given.after);
            if got.is_none() {
                ensure!(
                    most + Duration::from_millis(1) >= ttl,
                    "{key}: after at most {most:?} of {ttl:?} {} does not see it",
                    names[at]
                );
            } else {
                ensure!(
                    least <= ttl + cx.tolerance(),
                    "{key}: {least:?} after it was given {ttl:?} {} still sees it",
                    names[at]
                );
                still.push(at);
            }
        }
        alive = still;
        cx.pass(Duration::from_millis(1)).await;
    }
    Ok(())
}
