//! GET.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Capability, ErrorKind, KvBackend, KvBackendExt, Pattern};

use crate::{
    Foreign, Harness,
    context::Context,
    failure::{Checked, Failure, ensure, ensure_eq, ensure_kind},
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
    if store.capabilities().contains(Capability::LargeValues) {
        // A run of 251, a prime, repeats out of step with every buffer size.
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
    store.is_persistent("persistent").await
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
    for key in keys {
        store.lacks(key).await?;
        store.put(key, format!("value of {} {}", key.len(), key)).await?;
    }
    // Only now: keys that the store takes for one another have overwritten each other.
    for key in keys {
        store.holds(key, format!("value of {} {}", key.len(), key)).await?;
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
    Ok(())
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
    Ok(())
}
