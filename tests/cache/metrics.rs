//! Tests of the counts of a cache through the `metrics` facade.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use codex_kv::{Cache, Error, ErrorKind, Outage, Timeout, memory::MemoryBackend};
use codex_testkit::doubles::MockBackend;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// Runs `work` with a recorder of its own.
fn recorded(work: impl Future<Output = ()>) -> Snapshotter {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(work);
    });
    recorder.snapshotter()
}

#[test]
fn stat_01_the_recorder_is_told_the_cache_and_no_key() {
    let snapshotter = recorded(async {
        let builder = Cache::builder(MemoryBackend::new()).key_prefix("shop").name("basket");
        let cache = builder.build().unwrap();
        cache.set("hunter2", &1, Timeout::Default).await.unwrap();
        cache.get::<u8>("hunter2").await.unwrap();
        cache.get::<u8>("missing").await.unwrap();
        cache.get::<String>("hunter2").await.unwrap_err();
        let loader = cache
            .loader("report")
            .fresh_for(Duration::from_secs(60))
            .load(|key| async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                Ok::<_, Infallible>(key)
            });
        loader.get("secret").await.unwrap();
    });
    let counted: Vec<(String, DebugValue)> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let (_, key) = key.into_parts();
            let labels: Vec<String> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            (format!("{} {}", key.name(), labels.join(" ")), value)
        })
        .collect();
    let names: Vec<&str> = counted.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join("\n");
    assert!(!names.contains("hunter2") && !names.contains("secret"), "{names}");
    let count = |name: &str| match counted.iter().find(|(counted, _)| counted == name) {
        Some((_, DebugValue::Counter(count))) => *count,
        other => panic!("{name}: {other:?} in\n{names}"),
    };
    assert_eq!(count("codex.cache.reads cache=basket result=hit"), 2);
    assert_eq!(count("codex.cache.reads cache=basket result=miss"), 2);
    assert_eq!(count("codex.cache.errors cache=basket"), 1);
    assert_eq!(count("codex.cache.computations cache=basket"), 1);
    let duration = counted
        .iter()
        .find(|(name, _)| name == "codex.cache.compute.duration cache=basket");
    let Some((_, DebugValue::Histogram(durations))) = duration else {
        panic!("{names}")
    };
    assert!(
        durations.len() == 1 && durations[0].into_inner() >= 0.001,
        "{durations:?}"
    );
}

#[test]
fn stat_01_the_recorder_is_told_every_count() {
    let snapshotter = recorded(async {
        let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
        let minute = Duration::from_secs(60);
        let compute = || async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(1)
        };
        let (first, second) = tokio::join!(
            cache.get_or_try_set_with("k", minute, compute),
            cache.get_or_try_set_with("k", minute, compute)
        );
        assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
        let deleting = || async {
            cache.delete("refused").await.unwrap();
            Ok::<_, Infallible>(1)
        };
        cache.get_or_try_set_with("refused", minute, deleting).await.unwrap();
        let loader = cache.loader("l").fresh_for(minute).stale_for(minute * 2);
        let loader = loader.load(|_| async { Ok::<_, Infallible>(1) });
        cache.set("stale", &7, minute).await.unwrap();
        assert_eq!(loader.get("stale").await.unwrap().value, 7);

        let mut backend = MockBackend::new();
        let down = |_: &str| Err(Error::new(ErrorKind::Connection, "get", "the store cannot be reached"));
        backend.expect_get().returning(down);
        let cache = Cache::builder(backend).key_prefix("shop").on_outage(Outage::Miss);
        assert_eq!(cache.build().unwrap().get::<u8>("k").await.unwrap(), None);
    });
    let counts: HashMap<String, u64> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            let labels = key.key().labels().map(metrics::Label::value);
            let name = [key.key().name()]
                .into_iter()
                .chain(labels)
                .collect::<Vec<_>>()
                .join(" ");
            match value {
                DebugValue::Counter(count) => Some((name, count)),
                _ => None,
            }
        })
        .collect();
    for (name, count) in [
        ("codex.cache.reads shop stale", 1),
        ("codex.cache.coalesced shop", 1),
        ("codex.cache.refused_fills shop", 1),
        ("codex.cache.outage_reads shop", 1),
        ("codex.cache.errors shop", 1),
    ] {
        assert_eq!(counts.get(name), Some(&count), "{name} in {counts:?}");
    }
}
