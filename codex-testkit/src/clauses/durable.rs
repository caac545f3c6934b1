//! Durability: stores that survive their process.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, OnMissing, Pattern, SetOptions};

use crate::{
    Harness,
    cases::lists,
    context::{Context, Stamp, Store},
    failure::{Checked, Failure, ensure, ensure_eq},
    killed_writer::{check, write_and_kill},
};

const HUNDRED_SECONDS: Duration = Duration::from_secs(100);

/// Closes the store of `store`, runs `meanwhile`, and reopens it.
async fn reopened<H: Harness>(
    cx: &Context<'_, H>,
    store: Store<H::Backend>,
    meanwhile: impl Future<Output = Checked> + Send,
) -> Checked<Store<H::Backend>> {
    let Some(opening) = cx.harness.reopen_from_storage(store.into_backend()?) else {
        return Err(Failure::NotApplicable(
            "the harness cannot close a store and open it again",
        ));
    };
    meanwhile.await?;
    Ok(cx.adopt(opening.await))
}

/// A key with its value and its time to live.
struct Kept {
    key: &'static str,
    value: Bytes,
    ttl: Option<(Duration, Stamp)>,
}

/// Writes with every verb that a backend offers, and returns the entries that must exist
/// afterwards.
async fn write_all<B: KvBackend>(store: &Store<B>, short: Duration) -> Checked<Vec<Kept>> {
    let mut kept = Vec::new();
    let mut keep = |key, value: &'static str, ttl| {
        kept.push(Kept {
            key,
            value: Bytes::from_static(value.as_bytes()),
            ttl,
        });
    };
    let ttl = HUNDRED_SECONDS;
    store.put("set", "1").await?;
    keep("set", "1", None);
    store.put("empty", "").await?;
    keep("empty", "", None);
    let at = store.put_for("timed", "1", ttl).await?;
    keep("timed", "1", Some((ttl, at)));
    store.put("replaced", "old").await?;
    store.put("replaced", "new").await?;
    keep("replaced", "new", None);
    store.write("absent", "1", SetOptions::if_absent()).await?;
    keep("absent", "1", None);
    let at = store.put_for("compared", "old", ttl).await?;
    let equal = SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static(b"old")));
    store.write("compared", "new", equal.with_expiry(Expiry::Keep)).await?;
    keep("compared", "new", Some((ttl, at)));
    store.put_for("refused", "1", ttl).await?;
    let at = store.put_for("refused", "2", ttl * 2).await?;
    store.refused("refused", "3", SetOptions::if_absent()).await?;
    keep("refused", "2", Some((ttl * 2, at)));
    store.put("counted", "41").await?;
    store.incr("counted", 1, OnMissing::Refuse).await?;
    keep("counted", "42", None);
    let create = OnMissing::Create(Expiry::After(ttl));
    let (_, at) = store.timed(store.incr("created", 7, create)).await?;
    keep("created", "7", Some((ttl, at)));
    let entries = ["many", "more"].map(|key| (key, Bytes::from_static(b"1")));
    let ((), at) = store.timed(store.set_many(&entries, Expiry::After(ttl))).await?;
    keep("many", "1", Some((ttl, at)));
    keep("more", "1", Some((ttl, at)));
    // Changes to only the time to live are writes too.
    store.put_for("persisted", "1", short).await?;
    store.expire("persisted", Expiry::Never).await?;
    keep("persisted", "1", None);
    store.put_for("prolonged", "1", short).await?;
    let (_, at) = store.timed(store.expire("prolonged", Expiry::After(ttl))).await?;
    keep("prolonged", "1", Some((ttl, at)));
    store.put("limited", "1").await?;
    let (_, at) = store.timed(store.expire("limited", Expiry::After(ttl))).await?;
    keep("limited", "1", Some((ttl, at)));
    // Keys and values that a file of lines or of texts would not hold.
    store.put("", "1").await?;
    keep("", "1", None);
    for key in ["two\nlines", "tab\t", "nul\0", "a,b;c=\"d\"", "é", " "] {
        store.put(key, "two\nlines\0").await?;
        keep(key, "two\nlines\0", None);
    }
    // Writes with the other conditions and expiries.
    store.put("present", "old").await?;
    store.write("present", "new", SetOptions::if_present()).await?;
    keep("present", "new", None);
    let at = store.put_for("kept", "old", ttl).await?;
    store
        .write("kept", "new", SetOptions::new().with_expiry(Expiry::Keep))
        .await?;
    keep("kept", "new", Some((ttl, at)));
    let exact = Duration::from_millis(123_456);
    let at = store.put_for("exact", "1", exact).await?;
    keep("exact", "1", Some((exact, at)));
    // These keys are gone immediately, or after `short`.
    for key in ["del", "del_if_equals", "expire", "matching"] {
        store.put(key, "1").await?;
    }
    store.del(&["del"]).await?;
    store.del_if_equals("del_if_equals", b"1").await?;
    store.expire("expire", Expiry::After(Duration::ZERO)).await?;
    store.del_matching(&Pattern::glob("matching")).await?;
    store.put_for("ends", "1", short).await?;
    store.put("shortened", "1").await?;
    store.expire("shortened", Expiry::After(short)).await?;
    Ok(kept)
}

pub(crate) async fn dur_01_a_reopened_store_has_everything<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let mut store = cx.store().await;
    let large: Bytes = (0..=250).cycle().take(1 << 20).collect();
    store.put("large", large.clone()).await?;
    let kept = write_all(&store, cx.short()).await?;
    // More keys than a store loads in one step.
    let more = lists::keys("more", 2500);
    store.fill(&more).await?;
    // Twice, because the first reopening may lose the data that it reads.
    for _ in 0..2 {
        store = reopened(cx, store, async {
            cx.outlive(cx.short()).await;
            Ok(())
        })
        .await?;
        for gone in ["ends", "shortened", "del", "del_if_equals", "expire", "matching"] {
            store.lacks(gone).await?;
        }
        for Kept { key, value, ttl } in &kept {
            store.holds(key, value).await?;
            match ttl {
                None => store.is_persistent(key).await?,
                Some((ttl, at)) => store.has_ttl(key, *ttl, *at).await?,
            }
        }
        store.holds("large", &large).await?;
        let found = store.keys(&Pattern::all(), 10).await?;
        ensure_eq!(
            found.len(),
            kept.len() + 1 + more.len(),
            "number of keys after the store was opened again"
        );
        for key in &more {
            ensure!(
                found.contains(key),
                "scan left out {key:?} after the store was opened again"
            );
        }
    }
    // A deadline from before the close must still hold after the store is reopened.
    let at = store.put_for("later", "1", cx.short()).await?;
    let store = reopened(cx, store, async { Ok(()) }).await?;
    if cx.virtual_time().is_some() {
        store.has_ttl("later", cx.short(), at).await?;
    }
    cx.outlive(cx.short()).await;
    store.lacks("later").await
}

pub(crate) async fn dur_02_an_unclean_end_loses_no_answered_write<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let mut store = cx.store().await;
    store.put("before", "1").await?;
    // Each kill happens at another moment, on a file that the previous kill left unclean.
    for (round, writes) in [40, 97, 251].into_iter().enumerate() {
        let Some(command) = cx.harness.killable_writer(store.backend()) else {
            return Err(Failure::NotApplicable("the harness has no process that can be killed"));
        };
        let mut answered = None;
        store = reopened(cx, store, async {
            answered = Some(write_and_kill(command, round, writes).await?);
            Ok(())
        })
        .await?;
        if let Some(answered) = answered {
            check(&store, &answered).await?;
        }
        store.holds("before", "1").await?;
        // The store accepts writes as before.
        store.put("after", round.to_string()).await?;
        store.holds("after", round.to_string()).await?;
    }
    Ok(())
}
