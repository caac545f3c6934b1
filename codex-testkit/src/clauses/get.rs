//! GET.

use std::{iter::zip, time::Duration};

use bytes::Bytes;
use codex_traits::{
    Capability, Condition, ErrorKind, Expiry, KvBackend, KvBackendExt, OnMissing, Pattern, SetOptions, SetOutcome, Ttl,
};
use futures_util::future::try_join_all;

use super::matrix::{for_each, reads, values};
use crate::{
    Foreign, Harness,
    cases::{
        keys,
        values::{FEW_LENGTHS, LENGTHS, TEXTS},
    },
    context::{Context, Store},
    failure::{Checked, Failure, ensure, ensure_eq, ensure_kind, ensure_same, show},
};

pub(crate) async fn get_01_missing_key_is_none<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    ensure_eq!(store.get("never set").await?, None, "get of a key that was never set");
    store.put("set", "1").await?;
    ensure_eq!(store.get("never set").await?, None, "get beside a key that is there");
    store.del(&["set"]).await?;
    ensure_eq!(store.get("set").await?, None, "get of a key that was removed");
    Ok(())
}

pub(crate) async fn get_02_values_come_back_byte_for_byte<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let all: Vec<u8> = (0..=255).collect();
    store.put("all", all.clone()).await?;
    store.holds("all", &all).await?;
    for byte in 0..=255_u8 {
        store.put("one", vec![byte]).await?;
        store.holds("one", [byte]).await?;
    }
    for value in [&b""[..], b"\0", b"\r\n", b"$-1\r\n", b" a ", b"nil", b"\xff\xfe\xc3"] {
        store.put("odd", value).await?;
        store.holds("odd", value).await?;
    }
    for text in TEXTS {
        store.put("text", text).await?;
        store.holds("text", text).await?;
        store
            .set_many(&[("text", Bytes::from_static(text))], Expiry::Never)
            .await?;
        store.holds("text", text).await?;
    }
    Box::pin(values(cx, &LENGTHS)).await?;
    if store.capabilities().contains(Capability::LargeValues) {
        // A pattern of 251 bytes, a prime, does not align with any buffer size.
        let pattern: Vec<u8> = (0..251).collect();
        let large: Bytes = pattern.iter().copied().cycle().take(64 << 20).collect();
        store.put("large", large.clone()).await?;
        let got = store.get("large").await?;
        ensure!(
            got.as_ref() == Some(&large),
            "64 MiB did not come back as they were: got {:?} bytes",
            got.map(|value| value.len())
        );
    }
    Ok(())
}

pub(crate) async fn get_03_empty_value_is_not_a_missing_one<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("empty", "").await?;
    store.holds("empty", "").await?;
    ensure_eq!(
        store.get_many(&["empty", "missing"]).await?,
        [Some(Bytes::new()), None],
        "get_many of an empty value and a missing one"
    );
    store.is_persistent("empty").await?;
    ensure!(store.exists("empty").await?, "a key with an empty value does not exist");
    ensure_eq!(store.del(&["empty"]).await?, 1, "del of a key with an empty value");
    store.lacks("empty").await
}

pub(crate) async fn get_04_reading_keeps_the_ttl<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let ttl = Duration::from_secs(100);
    let set = store.put_for("k", "v", ttl).await?;
    store.put("persistent", "v").await?;
    cx.pass(cx.noticeable()).await;
    for key in ["k", "persistent"] {
        store.holds(key, "v").await?;
        store.get_many(&[key, key]).await?;
        store.ttl(key).await?;
    }
    store.keys(&Pattern::all(), 10).await?;
    store.has_ttl("k", ttl, set).await?;
    store.is_persistent("persistent").await?;
    if cx.virtual_time().is_some() {
        // A store may refresh what is read shortly before its end.
        let keys = ["get", "get_many", "get_with_ttl", "ttl", "scan"];
        let mut set = Vec::new();
        for key in keys {
            set.push(store.put_for(key, "v", ttl).await?);
        }
        cx.pass(ttl.saturating_sub(Duration::from_millis(300))).await;
        store.get("get").await?;
        store.get_many(&["get_many"]).await?;
        store.get_with_ttl("get_with_ttl").await?;
        store.ttl("ttl").await?;
        store.keys(&Pattern::glob("scan"), 10).await?;
        for (key, set) in keys.into_iter().zip(set) {
            store.has_ttl(key, ttl, set).await?;
        }
    }
    for_each(cx, &FEW_LENGTHS, |length| reads(cx, &store, length)).await
}

pub(crate) async fn get_05_a_key_is_any_utf8_text<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let long = "k".repeat(1 << 20);
    let longer = format!("{long}2");
    let keys = [
        "",
        " ",
        "  ",
        "a b",
        " a",
        "a ",
        "a",
        "A",
        "a\0",
        "a\0b",
        "\0",
        "a\r\nb",
        "a\tb",
        "*",
        "a*",
        "a?",
        "[a]",
        "\\a",
        "a\\",
        "{a}",
        "{a}b",
        "\"a\"",
        "'",
        "%00",
        "%20",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "SS",
        "ﬁ",
        "fi",
        "İ",
        "i",
        "日本",
        "🦀",
        "\u{feff}",
        "\u{feff}a",
        &long,
        &longer,
    ];
    // The values are short, because a store may refuse a value that is longer than the longest key.
    for (number, key) in keys.iter().enumerate() {
        store.lacks(key).await?;
        store.put(key, format!("value {number}")).await?;
    }
    // Read only after all writes: if the store confuses keys, they have overwritten each other.
    for (number, key) in keys.iter().enumerate() {
        store.holds(key, format!("value {number}")).await?;
    }
    let found = store.keys(&Pattern::all(), 1000).await?;
    for key in keys {
        ensure!(
            found.contains(key),
            "scan left out the key {}",
            crate::failure::show(&key)
        );
    }
    ensure_eq!(found.len(), keys.len(), "number of keys that scan found");
    ensure_eq!(store.del(&keys).await?, keys.len() as u64, "del of all of them");
    for (class, keys) in keys::classes() {
        Box::pin(keys_are_apart(cx, class, &keys)).await?;
    }
    Ok(())
}

/// Checks that every verb affects only the key that it names, and no other key of the class.
async fn keys_are_apart<H: Harness>(cx: &Context<'_, H>, class: &str, keys: &[String]) -> Checked {
    const TTL: Duration = Duration::from_secs(100);
    let store = cx.store().await;
    let other = cx.second(&store);
    let value = |number: usize| Bytes::from(number.to_string());
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<(&str, Bytes)> = names.iter().enumerate().map(|(at, key)| (*key, value(at))).collect();

    for (at, key) in names.iter().enumerate() {
        let options = SetOptions::if_absent();
        let outcome = store.set(key, value(at), options).await?;
        ensure_eq!(
            outcome,
            SetOutcome::Written,
            "set(IfAbsent) of {} among {class}",
            show(key)
        );
    }
    has_values(&other, class, &names, value, "set").await?;
    other.set_many(&entries, Expiry::Never).await?;
    has_values(&store, class, &names, value, "set_many").await?;
    let found = store.keys(&Pattern::all(), 10).await?;
    let missed = names.iter().filter(|key| !found.contains(**key)).count();
    ensure!(
        missed == 0 && found.len() == names.len(),
        "scan of {class} found {} of {} keys, {missed} of those that are there are missing",
        found.len(),
        names.len()
    );

    // Each verb changes the keys in turn. The other keys are checked after each round.
    for (at, key) in names.iter().enumerate() {
        ensure!(
            store.expire(key, Expiry::After(TTL)).await?,
            "expire of {} among {class}",
            show(key)
        );
        let later = names.get(at + 1..).unwrap_or_default().iter().take(3);
        for (key, ttl) in zip(later.clone(), try_join_all(later.map(|key| other.ttl(key))).await?) {
            ensure_eq!(
                ttl,
                Ttl::Persistent,
                "ttl of {} among {class}, before its expire",
                show(key)
            );
        }
        let sum = other.incr(key, 1000, OnMissing::Refuse).await?;
        ensure_eq!(
            sum,
            i64::try_from(at + 1000).ok(),
            "incr of {} among {class}",
            show(key)
        );
    }
    has_values(&other, class, &names, |at| value(at + 1000), "incr").await?;
    for (at, key) in names.iter().enumerate() {
        let condition = Condition::IfEquals(value(at + 1000));
        let options = SetOptions::new().with_condition(condition);
        let outcome = store.set(key, value(at), options).await?;
        ensure_eq!(
            outcome,
            SetOutcome::Written,
            "set(IfEquals) of {} among {class}",
            show(key)
        );
    }
    has_values(&store, class, &names, value, "set(IfEquals)").await?;

    second_ones_are_removed(&store, &other, class, &names).await?;
    // The key as a prefix pattern must find the key, and every other key that begins with it.
    let stayed = || names.iter().skip(1).step_by(2);
    for (at, key) in names.iter().enumerate().skip(1).step_by(2) {
        let found = store.keys(&Pattern::prefix(key), 100).await?;
        let begin_with_it = stayed().filter(|name| name.starts_with(key));
        ensure!(
            begin_with_it.clone().all(|name| found.contains(*name)) && found.len() == begin_with_it.count(),
            "scan by the prefix {} of {class} found {} keys, and not exactly those that begin with it",
            show(key),
            found.len()
        );
        let left = value(at);
        ensure_same(
            other.get(key).await?.as_ref(),
            Some(&left),
            &format!("get of {} among {class}", show(key)),
        )?;
    }
    Ok(())
}

/// Removes every second key, with the removing verbs in turn, and checks that the other keys stay.
async fn second_ones_are_removed<B: KvBackend>(
    store: &Store<B>,
    other: &Store<B>,
    class: &str,
    names: &[&str],
) -> Checked {
    let value = |number: usize| Bytes::from(number.to_string());
    for (at, key) in names.iter().enumerate().step_by(2) {
        let removed = match at % 6 {
            0 => store.del(&[key]).await? == 1,
            2 => store.del_if_equals(key, &value(at)).await?,
            _ => store.expire(key, Expiry::After(Duration::ZERO)).await?,
        };
        ensure!(removed, "removing {} among {class}: it was not there", show(key));
        let got = other.get(key).await?;
        ensure_eq!(got, None, "get of {} among {class} after it was removed", show(key));
    }
    for (at, (key, got)) in zip(names, gets(store, names).await?).enumerate() {
        let expected = (at % 2 == 1).then(|| value(at));
        ensure_eq!(
            got,
            expected,
            "get of {} among {class} after every second was removed",
            show(key)
        );
    }
    Ok(())
}

async fn has_values<B: KvBackend>(
    store: &Store<B>,
    class: &str,
    keys: &[&str],
    value: impl Fn(usize) -> Bytes + Send + Sync,
    after: &str,
) -> Checked {
    let many = store.get_many(keys).await?;
    ensure_eq!(many.len(), keys.len(), "number of answers of get_many of {class}");
    for (verb, answers) in [("get_many", many), ("get", gets(store, keys).await?)] {
        for (at, (key, got)) in zip(keys, answers).enumerate() {
            let what = format!("{verb} of {} among {class}, after {after} of each", show(key));
            ensure_same(got.as_ref(), Some(&value(at)), &what)?;
        }
    }
    Ok(())
}

/// Reads each key with its own `get`. The calls run concurrently, because a clause has a time limit
/// and a call can take 20 ms.
async fn gets<B: KvBackend>(store: &Store<B>, keys: &[&str]) -> Checked<Vec<Option<Bytes>>> {
    Ok(try_join_all(keys.iter().map(|key| store.get(key))).await?)
}

pub(crate) async fn get_06_another_type_is_a_data_error<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let list = Foreign::List { key: "list".to_owned() };
    if !cx.harness.plant(store.backend(), &list).await {
        return Err(Failure::NotApplicable("the harness cannot plant a key of another type"));
    }
    ensure_kind(store.get("list").await, ErrorKind::Data, "get of a list")?;
    ensure!(
        cx.harness.is_planted(store.backend(), &list).await,
        "get of a list removed the list, or `Harness::is_planted` does not see it"
    );
    // The list is neither a missing key nor an empty value, so none of these calls replaces it.
    for on_missing in [OnMissing::Create(Expiry::Never), OnMissing::Refuse] {
        let what = format!("incr of a list with {on_missing:?}");
        ensure_kind(store.incr("list", 1, on_missing).await, ErrorKind::Data, &what)?;
    }
    store.refused("list", "1", SetOptions::if_absent()).await?;
    let empty = SetOptions::new().with_condition(Condition::IfEquals(Bytes::new()));
    // These two may fail, because they cannot compare the list with a value.
    let compared = store.set("list", Bytes::from_static(b"1"), empty).await;
    ensure!(
        !matches!(compared, Ok(SetOutcome::Written)),
        "set(IfEquals) of a list with the empty value: it was written"
    );
    let removed = store.del_if_equals("list", b"").await;
    ensure!(
        !matches!(removed, Ok(true)),
        "del_if_equals of a list with the empty value: it was removed"
    );
    ensure!(
        cx.harness.is_planted(store.backend(), &list).await,
        "incr, set(IfAbsent), set(IfEquals) or del_if_equals replaced a list"
    );
    Ok(())
}
