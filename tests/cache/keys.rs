//! Tests of keys.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_kv::{
    Cache, CacheBuilder, Error, ErrorKind, KvBackend, Outage, Timeout, memory::MemoryBackend, namespaced_key,
};
use codex_testkit::doubles::MockBackend;
use proptest::prelude::*;
use serde::Deserialize;
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::with_default,
};

#[derive(Deserialize)]
struct Golden {
    session_keys: Vec<Namespaced>,
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

/// A subscriber that counts warnings and records their text.
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

/// Returns how many warnings a new cache logs for this key, read twice and at another version.
fn warnings_for(key: &str) -> usize {
    warnings_of(Cache::builder(MemoryBackend::new()).key_prefix("shop"), key)
}

fn warnings_of(builder: CacheBuilder<MemoryBackend>, key: &str) -> usize {
    let warnings = Warnings::default();
    // With a single subscriber, `tracing` asks only the thread that reaches an event first, and may
    // then disable the event for all threads.
    let _second = Dispatch::new(warnings.clone());
    with_default(warnings.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = builder.build().unwrap();
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

#[test]
fn ckey_03_every_part_of_a_key_is_checked() {
    let builder = || Cache::builder(MemoryBackend::new());
    assert_eq!(warnings_of(builder().key_prefix("my shop"), "user:42"), 1);
    assert_eq!(warnings_of(builder().key_prefix("p".repeat(241)), "user:42"), 1);
    assert_eq!(warnings_of(builder().key_prefix("p".repeat(240)), "user:42"), 0);
    let with = |function: fn(&str, i64, &str) -> String| builder().key_prefix("my shop").key_function(function);
    assert_eq!(warnings_of(with(|_, _, key| format!("odd {key}")), "user:42"), 1);
    assert_eq!(warnings_of(with(|_, version, _| version.to_string()), "not used"), 0);
}

/// Logs a read that an outage answered, and a refresh that failed.
#[test]
fn stat_01_no_log_shows_a_key() {
    let warnings = Warnings::default();
    // With a single subscriber, `tracing` asks only the thread that reaches an event first.
    let _second = Dispatch::new(warnings.clone());
    with_default(warnings.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut backend = MockBackend::new();
            let down = |_: &str| Err(Error::new(ErrorKind::Connection, "get", "the store cannot be reached"));
            backend.expect_get().returning(down);
            let cache = Cache::builder(backend).key_prefix("shop").on_outage(Outage::Miss);
            assert_eq!(cache.build().unwrap().get::<u8>("hunter2").await.unwrap(), None);

            let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
            let minute = Duration::from_secs(60);
            cache.set("hunter2", &7, minute).await.unwrap();
            let loader = cache.loader("l").fresh_for(minute).stale_for(minute * 2);
            let loader = loader.load(|_| async { Err::<u8, _>(fmt::Error) });
            assert_eq!(loader.get("hunter2").await.unwrap().value, 7);
            while cache.stats().errors == 0 {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        });
    });
    let text = warnings.text.lock().unwrap();
    assert!(
        warnings.count.load(Ordering::Relaxed) >= 2 && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn group_01_no_debug_form_shows_the_name_of_a_group() {
    let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
    let group = cache.group("hunter2").await.unwrap();
    assert!(!format!("{group:?}").contains("hunter2"), "{group:?}");
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
