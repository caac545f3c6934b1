//! DEL.

use std::time::Duration;

use codex_traits::{Expiry, KvBackend, Pattern, SetOptions};

use crate::{
    Harness,
    cases::lists::{self, COUNTS},
    context::{Context, Store},
    failure::{Checked, ensure, ensure_eq},
};

pub(crate) async fn del_01_counts_what_was_there<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("a", "1").await?;
    store.put_for("b", "1", Duration::from_secs(100)).await?;
    store.put("kept", "1").await?;
    store.put_for("expired", "1", cx.short()).await?;
    store.put_for("seen expired", "1", cx.short()).await?;
    cx.outlive(cx.short()).await;
    store.lacks("seen expired").await?;
    let keys = ["missing", "a", "expired", "b", "seen expired"];
    ensure_eq!(
        store.del(&keys).await?,
        2,
        "del of two keys, two expired ones and a missing one"
    );
    ensure_eq!(store.del(&keys).await?, 0, "del of them again");
    for key in keys {
        store.lacks(key).await?;
    }
    store.holds("kept", "1").await?;
    ensure_eq!(store.del(&["kept"]).await?, 1, "del of one key");
    Ok(())
}

pub(crate) async fn del_02_a_key_named_twice_counts_once<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("a", "1").await?;
    store.put("b", "1").await?;
    ensure_eq!(
        store.del(&["a", "a", "b", "x"]).await?,
        2,
        "del of a a b x, where a and b are there"
    );
    store.put("a", "1").await?;
    ensure_eq!(
        store.del(&["x", "a", "x", "a", "a"]).await?,
        1,
        "del of x a x a a, where a is there"
    );
    ensure_eq!(store.del(&["x", "x"]).await?, 0, "del of x x, where neither is there");
    Ok(())
}

pub(crate) async fn del_03_no_keys_is_zero<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    ensure_eq!(store.del(&[]).await?, 0, "del of no keys in an empty store");
    store.put("", "1").await?;
    store.put("a", "1").await?;
    ensure_eq!(store.del(&[]).await?, 0, "del of no keys");
    store.holds("", "1").await?;
    store.holds("a", "1").await
}

pub(crate) async fn del_04_ten_thousand_keys_in_one_call<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let keys: Vec<String> = (0..10_000).map(|number| format!("key {number}")).collect();
    store.fill(&keys).await?;
    store.put("kept", "1").await?;
    // A fifth of the named keys are missing.
    let missing: Vec<String> = (0..2_500).map(|number| format!("missing {number}")).collect();
    let asked: Vec<&str> = keys.iter().chain(&missing).map(String::as_str).collect();
    ensure_eq!(
        store.del(&asked).await?,
        10_000,
        "del of 10,000 keys and 2,500 missing ones"
    );
    let left = store.keys(&Pattern::all(), 1000).await?;
    ensure_eq!(left.into_iter().collect::<Vec<_>>(), ["kept"], "what is left");
    Ok(())
}

pub(crate) async fn del_05_a_removed_key_has_no_ttl_afterwards<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let ttl = cx.short();
    let keys = ["set", "keep", "absent", "many", "del_if_equals", "expire", "matching"];
    for key in keys {
        store.put_for(key, "old", ttl).await?;
    }
    store.del(&["set", "keep", "absent", "many"]).await?;
    store.del_if_equals("del_if_equals", b"old").await?;
    store.expire("expire", Expiry::After(Duration::ZERO)).await?;
    store.del_matching(&Pattern::glob("matching")).await?;
    for key in keys {
        store.lacks(key).await?;
        let options = match key {
            "keep" => SetOptions::new().with_expiry(Expiry::Keep),
            "absent" => SetOptions::if_absent(),
            _ => SetOptions::new(),
        };
        store.write(key, "new", options).await?;
        store.is_persistent(key).await?;
    }
    cx.outlive(ttl).await;
    for key in keys {
        store.holds(key, "new").await?;
        store.is_persistent(key).await?;
    }
    Ok(())
}

pub(crate) async fn del_06_the_last_of_many_is_removed_too<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    for count in COUNTS {
        let keys = lists::keys("key", count);
        let kept = lists::keys("kept", count.min(3));
        store.fill(&keys).await?;
        store.fill(&kept).await?;
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let removed = store.del(&names).await?;
        ensure_eq!(removed, count as u64, "del of {count} keys");
        are_gone(&other, &names, &format!("del of {count} keys")).await?;
        ensure_eq!(store.del(&names).await?, 0, "del of {count} keys that were removed");

        // The list has duplicates, with missing keys in between.
        store.fill(&keys).await?;
        let missing = lists::keys("missing", count.min(50));
        let mut places: Vec<&str> = lists::with_duplicates(count).into_iter().map(|at| names[at]).collect();
        for (at, key) in missing.iter().enumerate() {
            places.insert((at * 7).min(places.len()), key);
        }
        let removed = other.del(&places).await?;
        ensure_eq!(
            removed,
            count as u64,
            "del of {count} keys, many of them named twice, with missing ones between"
        );
        are_gone(
            &store,
            &names,
            &format!("del of {count} keys, many of them named twice"),
        )
        .await?;
        for key in &kept {
            store.holds(key, key).await?;
        }
        ensure_eq!(
            store.del(&refs(&kept)).await?,
            kept.len() as u64,
            "del of those that were kept"
        );
    }
    Ok(())
}

fn refs(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Checks that `get_many`, and every other read of the first and last keys, reports that the keys
/// are gone.
async fn are_gone<B: KvBackend>(store: &Store<B>, keys: &[&str], after: &str) -> Checked {
    let left = store.get_many(keys).await?;
    let left: Vec<usize> = left
        .iter()
        .enumerate()
        .filter(|(_, got)| got.is_some())
        .map(|(at, _)| at)
        .collect();
    ensure!(
        left.is_empty(),
        "{} keys are still there after {after}, the first at place {}",
        left.len(),
        left[0]
    );
    let ends = keys.iter().take(3).chain(keys.iter().rev().take(3));
    for key in ends {
        store.lacks(key).await?;
    }
    Ok(())
}
