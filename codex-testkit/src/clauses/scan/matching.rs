//! Scans and removals by pattern.

use std::{collections::BTreeSet, time::Duration};

use codex_traits::{KvBackend, Pattern, Ttl};

use super::{has_all, named};
use crate::{
    Foreign, Harness,
    context::Context,
    failure::{Checked, Failure, ensure, ensure_eq},
};

pub(crate) async fn scan_09_keys_that_are_not_utf8_are_left_alone<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let texts: [&[u8]; 4] = [b"app:\xff", b"\xc3", b"app:\xed\xa0\x80", b"app:1\xc0\x80"];
    let foreign = texts.map(|key| Foreign::NonUtf8Key { key: key.to_vec() });
    for foreign in &foreign {
        if !cx.harness.plant(store.backend(), foreign).await {
            return Err(Failure::NotApplicable(
                "the harness cannot plant a key that is not UTF-8",
            ));
        }
    }
    store.put("app:1", "v").await?;
    store.put("app:é", "v").await?;
    let expected: BTreeSet<String> = ["app:1", "app:é"].map(str::to_owned).into();
    ensure_eq!(store.keys(&Pattern::all(), 10).await?, expected, "keys");
    ensure_eq!(
        store.keys(&Pattern::prefix("app:"), 10).await?,
        expected,
        "keys with the prefix"
    );
    ensure_eq!(
        store.del_matching(&Pattern::prefix("app:")).await?,
        2,
        "del_matching of the prefix"
    );
    store.put("app:1", "v").await?;
    ensure_eq!(
        store.del_matching(&Pattern::all()).await?,
        1,
        "del_matching of everything"
    );
    store.lacks("app:1").await?;
    for foreign in &foreign {
        ensure!(
            cx.harness.is_planted(store.backend(), foreign).await,
            "a key that is not UTF-8 was removed, or `Harness::is_planted` does not see it"
        );
    }
    Ok(())
}

pub(crate) async fn scan_11_a_prefix_matches_by_bytes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let prefixes = [
        "",
        "app",
        "app2",
        "app:",
        "a*b",
        "a?b",
        "a[b",
        "a]b",
        "a[bc]d",
        "a\\b",
        "a^b",
        "a-b",
        "[^a]",
        "[a-c]",
        "*",
        "**",
        "?",
        "[",
        "]",
        "\\",
        "\\\\",
        "\\*",
        "^",
        "-",
        "a\0b",
        "é",
        "日本",
        "{a,b}",
        "!",
        "[!a]",
        "a b",
        "A",
        "z\u{10ffff}",
        "z\u{7f}",
    ];
    let mut keys: BTreeSet<String> = [
        "axb", "axb:", "abd", "acd", "b", "x", "a", "ab", "aap", "e\u{301}", "ap", "appp",
    ]
    .map(str::to_owned)
    .into();
    for prefix in prefixes {
        for rest in ["", "x", ":1", "*", "?", "🦀", "\u{10ffff}"] {
            keys.insert(format!("{prefix}{rest}"));
        }
    }
    store.fill(&keys).await?;
    for prefix in prefixes {
        let expected: BTreeSet<String> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        ensure_eq!(
            store.keys(&Pattern::prefix(prefix), 10).await?,
            expected,
            "keys with the prefix {prefix:?}"
        );
    }
    // A prefix may end in the middle of a character.
    let expected: BTreeSet<String> = keys
        .iter()
        .filter(|key| key.as_bytes().starts_with(b"\xe6\x97"))
        .cloned()
        .collect();
    ensure_eq!(
        store.keys(&Pattern::prefix(b"\xe6\x97"), 10).await?,
        expected,
        "keys with half a character as the prefix"
    );

    for prefix in prefixes.iter().rev() {
        let expected: BTreeSet<String> = keys.iter().filter(|key| key.starts_with(prefix)).cloned().collect();
        let removed = store.del_matching(&Pattern::prefix(prefix)).await?;
        ensure_eq!(removed, expected.len() as u64, "del_matching of the prefix {prefix:?}");
        keys.retain(|key| !expected.contains(key));
        ensure_eq!(
            store.keys(&Pattern::all(), 100).await?,
            keys,
            "what is left without the prefix {prefix:?}"
        );
    }
    Ok(())
}

pub(crate) async fn scan_12_del_matching_removes_what_matched<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let ttl = Duration::from_secs(1000);
    let store = cx.store().await;
    let (app, app2) = (named("app:", 60_000), named("app2:", 40_000));
    store.fill(&app).await?;
    store.fill(&app2).await?;
    let set = store.put_for("app", "timed", ttl).await?;
    store.put("xapp:", "v").await?;
    store.put_for("app:expired", "v", cx.short()).await?;
    cx.outlive(cx.short()).await;

    ensure_eq!(
        store.del_matching(&Pattern::prefix("none:")).await?,
        0,
        "del_matching of what is not there"
    );
    ensure_eq!(
        store.del_matching(&Pattern::prefix("app:")).await?,
        60_000,
        "del_matching of 60,000 among 100,002 keys"
    );
    ensure_eq!(
        store.keys(&Pattern::prefix("app:"), 1000).await?.len(),
        0,
        "number of keys that match, afterwards"
    );
    store.holds("app", "timed").await?;
    store.has_ttl("app", ttl, set).await?;
    store.holds("xapp:", "v").await?;
    let left = store.keys(&Pattern::all(), 1000).await?;
    ensure_eq!(left.len(), 40_002, "number of keys left");
    has_all(&left, &app2, "after the others were removed")?;
    for key in app2.iter().step_by(1000) {
        store.holds(key, key).await?;
        ensure_eq!(store.ttl(key).await?, Ttl::Persistent, "ttl of {key:?}");
    }
    ensure_eq!(
        store.del_matching(&Pattern::prefix("app:")).await?,
        0,
        "del_matching again"
    );
    Ok(())
}
