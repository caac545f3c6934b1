//! Keys.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_kv::{Cache, KvBackend, Timeout, memory::MemoryBackend, namespaced_key};
use proptest::prelude::*;
use serde::Deserialize;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::with_default,
};

use crate::support::Cx;

#[derive(Deserialize)]
struct Golden {
    keys: Vec<Stored>,
    session_keys: Vec<Namespaced>,
}

#[derive(Deserialize)]
struct Stored {
    key_prefix: String,
    version: i64,
    key: String,
    redis_key: String,
}

#[derive(Deserialize)]
struct Namespaced {
    project: String,
    prefix: String,
    session_key: String,
    redis_key: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../data/cache.json")).unwrap()
}

clauses! {
    ckey_01_stored_key_is_prefix_version_and_key
    ckey_01_versions_are_signed_integers
    ckey_02_prefixes_and_versions_never_meet
    ckey_03_a_long_key_is_used_as_it_is
    ckey_04_a_key_function_can_be_given
}

async fn ckey_01_stored_key_is_prefix_version_and_key<B: KvBackend + Clone>(cx: &Cx<B>) {
    let keys = golden().keys;
    assert_eq!(keys.len(), 6);
    for (number, golden) in keys.iter().enumerate() {
        let cache = cx
            .builder()
            .key_prefix(&*golden.key_prefix)
            .version(golden.version)
            .build()
            .unwrap();
        assert_eq!(cache.make_key(&golden.key), golden.redis_key);
        cache.set(&golden.key, &number, Timeout::Default).await.unwrap();
        assert_eq!(cx.stored(&golden.redis_key).await.unwrap(), number.to_string());
    }
}

async fn ckey_01_versions_are_signed_integers<B: KvBackend + Clone>(cx: &Cx<B>) {
    for version in [i64::MIN, -1, 0, 10, i64::MAX] {
        let cache = cx.cache().with_version(version);
        cache.set("k", &version, Timeout::Default).await.unwrap();
        assert_eq!(
            cx.stored(&format!("shop:{version}:k")).await.unwrap(),
            version.to_string()
        );
        assert_eq!(cache.version(), version);
    }
}

async fn ckey_02_prefixes_and_versions_never_meet<B: KvBackend + Clone>(cx: &Cx<B>) {
    let mut caches = Vec::new();
    for prefix in ["app", "app2", "a*b", "axb", "a?b", "a[x]b", "a\\b", ""] {
        let cache = cx.builder().key_prefix(prefix).build().unwrap();
        caches.extend([cache.with_version(2), cache.with_version(11), cache]);
    }
    for (number, cache) in caches.iter().enumerate() {
        assert_eq!(cache.get::<usize>("k").await.unwrap(), None);
        cache.set("k", &number, Timeout::Default).await.unwrap();
    }
    for (number, cache) in caches.iter().enumerate() {
        assert_eq!(cache.get::<usize>("k").await.unwrap(), Some(number));
    }
    for (number, cache) in caches.iter().enumerate() {
        assert_eq!(cache.get::<usize>("k").await.unwrap(), Some(number));
        assert!(cache.delete("k").await.unwrap());
    }
}

async fn ckey_03_a_long_key_is_used_as_it_is<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    for key in [
        "k".repeat(300),
        "é".repeat(64),
        "k".repeat(121),
        "tab\tnew\nline nul\0".to_owned(),
    ] {
        cache.set(&key, &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<u8>(&key).await.unwrap(), Some(1));
        assert_eq!(cx.stored(&format!("shop:1:{key}")).await.unwrap(), "1");
    }
}

async fn ckey_04_a_key_function_can_be_given<B: KvBackend + Clone>(cx: &Cx<B>) {
    let function = |prefix: &str, version: i64, key: &str| format!("{key}@{version}/{prefix}");
    let cache = cx.builder().key_prefix("shop").key_function(function).build().unwrap();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cache
        .with_version(2)
        .set_many([("k", 2)], Timeout::Default)
        .await
        .unwrap();
    assert_eq!(cx.stored("k@1/shop").await.unwrap(), "1");
    assert_eq!(cx.stored("k@2/shop").await.unwrap(), "2");
    assert_eq!(cache.make_key("k"), "k@1/shop");
    assert_eq!(cache.get_many::<u8>(["k"]).await.unwrap()["k"], 1);
}

#[test]
fn ckey_05_namespaced_key_joins_what_is_not_empty() {
    let keys = golden().session_keys;
    assert_eq!(keys.len(), 5);
    for golden in keys {
        assert_eq!(
            namespaced_key(&golden.project, &golden.prefix, &golden.session_key),
            golden.redis_key
        );
    }
}

/// Counts warnings and keeps their text.
#[derive(Clone, Default)]
struct Warnings {
    count: Arc<AtomicUsize>,
    text: Arc<Mutex<String>>,
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        struct Text<'a>(&'a mut String);
        impl Visit for Text<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
                write!(self.0, "{field}={value:?} ").unwrap();
            }
        }
        event.record(&mut Text(&mut self.text.lock().unwrap()));
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// How many warnings a new cache gives for this key, asked for twice and at another version.
fn warnings_for(key: &str) -> usize {
    let warnings = Warnings::default();
    with_default(warnings.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
            cache.set(key, &1, Timeout::Default).await.unwrap();
            assert!(cache.has_key(key).await.unwrap());
            cache.clone().with_version(2).delete_many([key]).await.unwrap();
        });
    });
    let text = warnings.text.lock().unwrap();
    assert!(!text.contains(key.trim()), "{text}");
    warnings.count.load(Ordering::Relaxed)
}

#[test]
fn ckey_03_an_odd_key_is_warned_about_once_and_never_shown() {
    // `shop:1:` makes the first of each pair 250 characters long, and the second 251.
    for plain in ["k".repeat(243), "ü".repeat(243), "user:42".to_owned()] {
        assert_eq!(warnings_for(&plain), 0, "{plain}");
    }
    for odd in ["k".repeat(244), "ü".repeat(244), "k".repeat(300)] {
        assert_eq!(warnings_for(&odd), 1, "{odd}");
    }
    for odd in [
        "with space",
        "tab\tbed",
        "null\0ed",
        "delete\u{7f}d",
        "next\u{85}line",
        "ü\u{a0}ber",
        "line\nfeed",
    ] {
        assert_eq!(warnings_for(odd), 1, "{odd:?}");
    }
}

proptest! {
    #[test]
    fn ckey_01_any_text_is_joined_as_it_is(prefix in ".{0,40}", version: i64, key in ".{0,200}") {
        let cache = Cache::builder(MemoryBackend::new()).key_prefix(&*prefix).version(version).build().unwrap();
        let expected = format!("{prefix}:{version}:{key}");
        prop_assert_eq!(cache.make_key(&key), &*expected);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            cache.set(&key, &0, Duration::from_secs(1)).await.unwrap();
            assert!(cache.backend().get(&expected).await.unwrap().is_some());
        });
    }
}
