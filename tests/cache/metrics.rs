//! Tests of the counts of a cache through the `metrics` facade.

use std::{convert::Infallible, time::Duration};

use codex_kv::{Cache, Timeout, memory::MemoryBackend};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

#[test]
fn stat_01_the_recorder_is_told_the_cache_and_no_key() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
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
