//! Clauses on loaders of many keys.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use codex_testkit::suite::{spawn, yield_now};
use serde::{Serialize, de::DeserializeOwned};

use super::super::face::Cache;
use super::{
    super::context::{Cx, clauses},
    MINUTE,
    compute::Closed,
    load::{Source, asked, bounded, until},
};
use crate::{ComputeError, KvBackend, LoadState, Loaded, Loader};

clauses! {
    load_10_many_keys_at_once {
        what_is_there_is_one_round_trip_and_what_is_missing_one_call
        a_batch_and_single_callers_compute_once
        stale_values_are_answered_and_refreshed
        a_key_without_a_value_keeps_no_lease
        without_a_batch_function_each_is_computed
        a_panic_in_a_batch_strands_nobody
        a_batch_that_asks_for_its_own_key_is_told
        a_batch_that_fails_is_an_error_and_stores_nothing
        a_batch_of_any_length_and_of_odd_keys
    }
}

async fn get_many<T, B, const N: usize>(
    loader: &Loader<T, Closed, B>,
    keys: [&str; N],
) -> Result<HashMap<String, Loaded<T>>, ComputeError<Closed>>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    B: KvBackend,
{
    let (loader, keys) = (loader.clone(), keys.map(str::to_owned));
    bounded(spawn(async move { loader.get_many(keys).await })).await
}

/// Returns a loader whose batch function records its calls and has no value for keys that begin
/// with `-`.
fn batched<B: KvBackend>(cache: &Cache<B>, calls: &Arc<Mutex<Vec<Vec<String>>>>) -> Loader<String, Closed, B> {
    let calls = Arc::clone(calls);
    cache
        .loader("l")
        .fresh_for(MINUTE)
        .load(|key| async move { Ok(format!("single {key}")) })
        .batch(move |keys| {
            calls.lock().unwrap().push(keys.clone());
            async move {
                yield_now().await;
                let known = keys.into_iter().filter(|key| !key.starts_with('-'));
                Ok(known
                    .map(|key| (key.clone(), format!("batch {key}")))
                    .collect::<Vec<_>>())
            }
        })
}

async fn what_is_there_is_one_round_trip_and_what_is_missing_one_call<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watched) = cx.counted();
    let batches = Arc::default();
    let loader = batched(&cache, &batches);
    let keys: Vec<String> = (0..20).map(|number| format!("k{number}")).collect();
    for key in &keys[..10] {
        cache.set(key, &format!("stored {key}"), MINUTE).await.unwrap();
    }
    watched.take();
    // Hold back the first value until all are requested, which proves that the requests run
    // concurrently.
    let all_asked = watched.clone();
    watched.before("get_with_ttl", async move { all_asked.reach(22).await });
    let (loading, mut asked_for) = (loader.clone(), keys.clone());
    asked_for.extend(["-unknown".to_owned(), "k1".to_owned(), "-none".to_owned()]);
    let call = spawn(async move { loading.get_many(asked_for).await });
    let got = bounded(call).await.unwrap();
    assert_eq!(got.len(), 20);
    for (number, key) in keys.iter().enumerate() {
        let (expected, state) = if number < 10 {
            (format!("stored {key}"), LoadState::Fresh)
        } else {
            (format!("batch {key}"), LoadState::Computed)
        };
        assert_eq!((&got[key].value, got[key].state), (&expected, state));
    }
    let batches: Vec<BTreeSet<String>> = batches
        .lock()
        .unwrap()
        .iter()
        .map(|keys| keys.iter().cloned().collect())
        .collect();
    let mut missing: BTreeSet<String> = keys[10..].iter().cloned().collect();
    missing.extend(["-unknown".to_owned(), "-none".to_owned()]);
    assert_eq!(batches, [missing]);
    // The computed values are stored; an empty list is not an error.
    assert_eq!(cache.get::<String>("k15").await.unwrap().unwrap(), "batch k15");
    assert!(get_many(&loader, []).await.unwrap().is_empty());
}

async fn a_batch_and_single_callers_compute_once<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let loader = source.of(cx.cache().loader("l").fresh_for(MINUTE));
    let batches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&batches);
    let loader = loader.batch(move |keys| {
        counted.fetch_add(keys.len(), Ordering::SeqCst);
        async move { Ok(keys.into_iter().map(|key| (key, 100))) }
    });
    let single = asked(&loader, "a");
    source.entered.notified().await;
    let many = loader.clone();
    let many = spawn(async move { many.get_many(["a", "b"]).await });
    until!("the batch computes what is not under way", {
        batches.load(Ordering::SeqCst) == 1
    });
    source.leave();
    let got = many.await.unwrap().unwrap();
    assert_eq!((got["a"].value, got["b"].value), (1, 100));
    assert_eq!(single.await.unwrap().unwrap().value, 1);
    assert_eq!((source.runs(), batches.load(Ordering::SeqCst)), (1, 1));
}

async fn stale_values_are_answered_and_refreshed<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let source = Source::open();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2));
    cache.set_many([("a", 70), ("b", 80)], MINUTE).await.unwrap();
    cache.set("c", &90, MINUTE * 3).await.unwrap();
    let got = get_many(&loader, ["a", "b", "c"]).await.unwrap();
    assert_eq!((got["a"].value, got["a"].state), (70, LoadState::Stale));
    assert_eq!((got["b"].value, got["b"].state), (80, LoadState::Stale));
    assert_eq!((got["c"].value, got["c"].state), (90, LoadState::Fresh));
    until!("both are refreshed", {
        let got = cache.get_many::<usize>(["a", "b"]).await.unwrap();
        got["a"] < 70 && got["b"] < 70
    });
    assert_eq!(source.runs(), 2);
}

async fn a_key_without_a_value_keeps_no_lease<B: KvBackend>(cx: &Cx<B>) {
    let calls: Arc<Mutex<Vec<Vec<String>>>> = Arc::default();
    let counted = Arc::clone(&calls);
    let builder = cx.cache().loader("l").fresh_for(MINUTE).lease(MINUTE);
    let loader = Source::open().of(builder).batch(move |keys| {
        counted.lock().unwrap().push(keys.clone());
        async move { Ok(keys.into_iter().filter(|key| key != "unknown").map(|key| (key, 7))) }
    });
    let got = get_many(&loader, ["a", "unknown", "a"]).await.unwrap();
    assert_eq!((got.len(), got["a"].value), (1, 7));
    assert_eq!(cx.stored("shop:1:unknown").await, None);
    assert_eq!(*calls.lock().unwrap(), [["a", "unknown"]]);
}

async fn without_a_batch_function_each_is_computed<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let loader = source.of(cx.cache().loader("l").fresh_for(MINUTE));
    let got = get_many(&loader, ["a", "b", "a"]).await.unwrap();
    assert_eq!((got.len(), source.runs()), (2, 2));
    let again = get_many(&loader, ["a", "b"]).await.unwrap();
    assert!(again.values().all(|got| got.state == LoadState::Fresh));
}

async fn a_panic_in_a_batch_strands_nobody<B: KvBackend>(cx: &Cx<B>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let builder = cx.cache().loader("l").fresh_for(MINUTE).lease(MINUTE);
    let loader = Source::open().of(builder).batch(move |keys| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        assert_ne!(run, 0, "planted");
        async move {
            assert_ne!(run, 1, "planted");
            Ok(keys.into_iter().map(|key| (key, 7)))
        }
    });
    for _ in 0..2 {
        let answer = get_many(&loader, ["a", "b"]).await;
        assert!(matches!(answer, Err(ComputeError::Aborted)), "{answer:?}");
        // The error of the first key is returned while the lease of the second is given back.
        for key in ["shop:1:a", "shop:1:b"] {
            until!("a panic leaves no lease behind", cx.stored(key).await.is_none());
        }
    }
    assert_eq!(get_many(&loader, ["a", "b"]).await.unwrap()["b"].value, 7);
}

async fn a_batch_that_asks_for_its_own_key_is_told<B: KvBackend>(cx: &Cx<B>) {
    type Own<B> = Arc<Mutex<Option<Loader<usize, Closed, Arc<B>>>>>;
    let own: Own<B> = Arc::default();
    let inside = Arc::clone(&own);
    let loader = Source::open().of(cx.cache().loader("l")).batch(move |keys| {
        let own = inside.lock().unwrap().clone().unwrap();
        async move {
            let answer = own.get(&keys[0]).await;
            assert!(matches!(answer, Err(ComputeError::Cache(_))), "{answer:?}");
            // Another key may be requested, even one with an empty name.
            assert_eq!(own.get("").await.unwrap().value, 1);
            Ok(keys.into_iter().map(|key| (key, 2)))
        }
    });
    *own.lock().unwrap() = Some(loader.clone());
    assert_eq!(get_many(&loader, ["a", "b"]).await.unwrap()["b"].value, 2);
    *own.lock().unwrap() = None;
}

async fn a_batch_that_fails_is_an_error_and_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let runs = Arc::new(AtomicUsize::new(0));
    let builder = cache.loader("l").fresh_for(MINUTE).lease(MINUTE);
    let loader = Source::open().of(builder).batch(move |keys| {
        let run = runs.fetch_add(1, Ordering::SeqCst);
        async move {
            if run == 0 {
                return Err(Closed);
            }
            Ok(keys.into_iter().map(|key| (key, 7)).collect::<Vec<_>>())
        }
    });
    cache.set("there", &1, MINUTE).await.unwrap();
    let answer = get_many(&loader, ["there", "a", "b"]).await;
    assert!(matches!(answer, Err(ComputeError::Compute(_))), "{answer:?}");
    for key in ["shop:1:a", "shop:1:b"] {
        until!("a failed batch leaves nothing behind", cx.stored(key).await.is_none());
    }
    let got = get_many(&loader, ["there", "a", "b"]).await.unwrap();
    assert_eq!((got["there"].value, got["a"].value, got["b"].value), (1, 7, 7));
}

async fn a_batch_of_any_length_and_of_odd_keys<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let loader: Loader<String, Closed, _> = cache
        .loader("l")
        .fresh_for(MINUTE)
        .load(|key| async move { Ok(key) })
        .batch(|keys| async move { Ok(keys.into_iter().map(|key| (key.clone(), key))) });
    let mut keys: Vec<String> = (0..1100).map(|number| number.to_string()).collect();
    keys.extend(["", " ", "a", "A", " a", "a ", "ü", "u\u{308}", "*"].map(str::to_owned));
    for state in [LoadState::Computed, LoadState::Fresh] {
        let (loading, asked) = (loader.clone(), keys.clone());
        let got = bounded(spawn(async move { loading.get_many(asked).await }))
            .await
            .unwrap();
        assert_eq!(got.len(), keys.len(), "{state:?}");
        for key in &keys {
            assert_eq!((&got[key].value, got[key].state), (key, state));
        }
    }
    for key in keys.iter().step_by(100).chain(keys.last()) {
        cx.assert_ttl(&cache.make_key(key), MINUTE).await;
    }
}
