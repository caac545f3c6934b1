//! Tests of loaders and of reads during an outage, on a store in memory whose calls are observed.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_kv::{
    Cache, CacheError, CodecError, ComputeError, Error, ErrorKind, Expiry, Json, KvBackend as _, LoadState, Loader,
    Outage, Result, Serializer, SetOptions, memory::MemoryBackend,
};
use codex_testkit::doubles::{Intercepted, Interceptor, Reply, Request, Verb};
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Notify;

const MINUTE: Duration = Duration::from_secs(60);

/// Fails calls, and records how many run at the same time.
#[derive(Debug, Clone, Default)]
struct Watch(Arc<State>);

#[derive(Debug, Default)]
struct State {
    refuses_writes: AtomicBool,
    refuses_all: AtomicBool,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Interceptor for Watch {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let state = &self.0;
        let running = state.running.fetch_add(1, Ordering::SeqCst) + 1;
        state.most.fetch_max(running, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let is_refused = state.refuses_all.load(Ordering::SeqCst)
            || request.verb() == Verb::Set && state.refuses_writes.load(Ordering::SeqCst);
        let outcome = if is_refused {
            Err(Error::new(ErrorKind::Server, "set", "the memory limit is reached"))
        } else {
            call.await
        };
        state.running.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

type Watched = Intercepted<MemoryBackend, Watch>;

fn watched() -> (Watched, Watch) {
    let watch = Watch::default();
    let backend = Intercepted::with_interceptor(MemoryBackend::new(), watch.clone());
    (backend, watch)
}

fn cache(outage: Option<Outage>) -> (Cache<Watched>, Watch) {
    let (backend, watch) = watched();
    let mut builder = Cache::builder(backend).key_prefix("shop");
    if let Some(outage) = outage {
        builder = builder.on_outage(outage);
    }
    (builder.build().unwrap(), watch)
}

#[tokio::test]
async fn load_05_a_refresh_that_cannot_be_stored_waits_for_the_next_attempt() {
    for outage in [None, Some(Outage::Miss)] {
        let (cache, watch) = cache(outage);
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        let loader = cache
            .loader("l")
            .fresh_for(MINUTE)
            .stale_for(MINUTE * 60)
            .retry_after(MINUTE * 60)
            .load(move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                async { Ok::<_, Infallible>(1) }
            });
        let stale = SetOptions::new().with_expiry(Expiry::After(MINUTE * 30));
        let stored = cache.backend().set("shop:1:k", "7".into(), stale).await.unwrap();
        assert!(stored.is_written());
        watch.0.refuses_writes.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            let found = loader.get("k").await.unwrap();
            assert_eq!((found.value, found.state), (7, LoadState::Stale));
            while cache.stats().errors == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{outage:?}");
    }
}

/// A format whose values can be read only under their own keys.
#[derive(Debug)]
struct Bound;

impl Serializer for Bound {
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> std::result::Result<Bytes, CodecError> {
        Json.serialize(value)
    }

    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> std::result::Result<T, CodecError> {
        Json.deserialize(stored)
    }

    fn serialize_for<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> std::result::Result<Bytes, CodecError> {
        Ok([key.as_bytes(), &Json.serialize(value)?].concat().into())
    }

    fn deserialize_for<T: DeserializeOwned>(&self, key: &str, stored: &[u8]) -> std::result::Result<T, CodecError> {
        let own = stored.strip_prefix(key.as_bytes());
        Json.deserialize(own.ok_or_else(|| CodecError::decode::<T>("expected a value of this key"))?)
    }
}

#[tokio::test]
async fn load_10_a_group_that_is_invalidated_during_a_batch_returns_its_values() {
    let builder = Cache::builder(MemoryBackend::new()).key_prefix("shop");
    let cache = builder.serializer(Bound).build().unwrap();
    let group = cache.group("g").await.unwrap();
    let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entering, leaving) = (Arc::clone(&entered), Arc::clone(&gate));
    let loader = group.loader("l").load(|_| async { Ok::<_, Infallible>(1) });
    let loader = loader.batch(move |keys| {
        let (entering, leaving) = (Arc::clone(&entering), Arc::clone(&leaving));
        async move {
            entering.notify_one();
            leaving.notified().await;
            Ok(keys.into_iter().map(|key| (key, 2)))
        }
    });
    let call = tokio::spawn(async move { loader.get_many(["a", "b"]).await });
    entered.notified().await;
    group.invalidate().await.unwrap();
    gate.notify_one();
    let got = call.await.unwrap().unwrap();
    assert_eq!((got["a"].value, got["b"].value), (2, 2));
}

#[tokio::test]
async fn load_10_a_batch_makes_a_bounded_number_of_calls_at_the_same_time() {
    let (cache, watch) = cache(None);
    let loader = cache
        .loader("l")
        .lease(MINUTE)
        .load(|_| async { Ok::<_, Infallible>(1) })
        .batch(|keys| async move { Ok(keys.into_iter().map(|key| (key, 2))) });
    let keys = (0..1000).map(|number| number.to_string());
    assert_eq!(loader.get_many(keys).await.unwrap().len(), 1000);
    let most = watch.0.most.load(Ordering::SeqCst);
    assert!((2..=256).contains(&most), "{most} calls at the same time");
}

/// A value that panics when it is encoded.
#[derive(Debug, Deserialize)]
struct Broken;

impl Serialize for Broken {
    fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        panic!("planted");
    }
}

#[tokio::test]
async fn load_10_a_value_whose_encoding_panics_leaves_no_lease() {
    let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
    let loader = cache
        .loader("l")
        .lease(MINUTE)
        .load(|_| async { Ok::<_, Infallible>(Broken) })
        .batch(|keys| async move { Ok(keys.into_iter().map(|key| (key, Broken))) });
    assert!(matches!(loader.get_many(["a", "b"]).await, Err(ComputeError::Aborted)));
    assert!(matches!(loader.get("c").await, Err(ComputeError::Aborted)));
    for key in ["shop:1:a", "shop:1:b", "shop:1:c"] {
        assert_eq!(cache.backend().get(key).await.unwrap(), None, "{key}");
    }
}

#[test]
fn load_10_a_batch_whose_runtime_ends_is_an_error() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
    let entered = Arc::new(AtomicBool::new(false));
    let entering = Arc::clone(&entered);
    let loader = cache.loader("l").load(|_| async { Ok::<_, Infallible>(1) });
    let loader = loader.batch(move |_| {
        entering.store(true, Ordering::SeqCst);
        pending::<std::result::Result<Vec<(String, i32)>, Infallible>>()
    });
    let off_a_runtime = loader.get_many(["a"]).now_or_never().unwrap();
    assert!(
        matches!(&off_a_runtime, Err(ComputeError::Cache(error)) if matches!(**error, CacheError::InvalidArgument(_))),
        "{off_a_runtime:?}"
    );
    let mut call = Box::pin(loader.get_many(["a"]));
    let guard = runtime.enter();
    assert!(call.as_mut().now_or_never().is_none());
    while !entered.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(guard);
    drop(runtime);
    let outcome = call.now_or_never().unwrap();
    assert!(matches!(outcome, Err(ComputeError::Aborted)), "{outcome:?}");
}

#[tokio::test]
async fn a_value_that_was_added_is_the_one_last_seen() {
    let (cache, watch) = cache(Some(Outage::Stale));
    cache.set("k", &1, MINUTE).await.unwrap();
    // The value expires unseen.
    cache.backend().del(&["shop:1:k"]).await.unwrap();
    assert!(cache.add("k", &2, MINUTE).await.unwrap());
    assert!(cache.add_bytes("raw", "3", MINUTE).await.unwrap());
    cache.get_or_set("or", 4, MINUTE).await.unwrap();
    let computed = cache.get_or_try_set_with("computed", MINUTE, || async { Ok::<_, Infallible>(5) });
    computed.await.unwrap();
    watch.0.refuses_all.store(true, Ordering::SeqCst);
    for (key, value) in [("k", 2), ("raw", 3), ("or", 4), ("computed", 5)] {
        assert_eq!(cache.get::<u8>(key).await.unwrap(), Some(value), "{key}");
    }
}

#[tokio::test]
async fn stat_01_a_read_during_an_outage_counts_once() {
    for outage in [Outage::Miss, Outage::Stale] {
        let (cache, watch) = cache(Some(outage));
        watch.0.refuses_all.store(true, Ordering::SeqCst);
        let computed = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<_, Infallible>(1) });
        assert_eq!(computed.await.unwrap(), 1);
        assert_eq!(cache.stats().outage_reads, 1, "{outage:?}");
        let loader = cache.loader("l").load(|_| async { Ok::<_, Infallible>(1) });
        assert_eq!(loader.get("k").await.unwrap().value, 1);
        assert_eq!(cache.stats().outage_reads, 2, "{outage:?}");
    }
}

/// Two keys whose functions request each other would wait for each other.
#[tokio::test]
async fn load_01_a_circle_of_keys_is_an_error() {
    type Circle = Loader<u8, String, MemoryBackend>;
    for is_batch in [false, true] {
        let circle: Arc<OnceLock<Circle>> = Arc::default();
        let next = |circle: &Arc<OnceLock<Circle>>, key: &str| {
            let (circle, next) = (Arc::clone(circle), if key == "a" { "b" } else { "a" });
            async move {
                let found = circle.get().unwrap().get_many([next]).await;
                found
                    .map(|found| found[next].value)
                    .map_err(|error| format!("{error:?}"))
            }
        };
        let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
        let inside = Arc::clone(&circle);
        let mut loader = cache.loader("l").load(move |key| next(&inside, &key));
        if is_batch {
            let inside = Arc::clone(&circle);
            loader = loader.batch(move |keys: Vec<String>| {
                let value = next(&inside, &keys[0]);
                async move { value.await.map(|value| keys.into_iter().map(move |key| (key, value))) }
            });
        }
        circle.set(loader).unwrap();
        let loader = circle.get().unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), loader.get_many(["a"])).await;
        let Err(ComputeError::Compute(error)) = answer.unwrap() else {
            panic!("expected an error, with a batch function: {is_batch}")
        };
        assert!(error.contains("requested its own key"), "{error}");
    }
}

#[tokio::test]
async fn load_06_a_value_that_the_store_refuses_leaves_no_lease() {
    let backend = MemoryBackend::builder().max_bytes(1 << 20).build().unwrap();
    let cache = Cache::builder(backend.clone()).key_prefix("shop").build().unwrap();
    let is_large = Arc::new(AtomicBool::new(true));
    let large = Arc::clone(&is_large);
    let loader = cache.loader("l").lease(MINUTE).stale_for(MINUTE * 10).load(move |_| {
        let length = if large.load(Ordering::SeqCst) { 2 << 20 } else { 1 };
        async move { Ok::<_, Infallible>("x".repeat(length)) }
    });
    for stored in [None, Some("\"old\"")] {
        if let Some(stored) = stored {
            cache.set_bytes("k", stored, MINUTE).await.unwrap();
        }
        is_large.store(true, Ordering::SeqCst);
        assert!(matches!(loader.refresh("k").await, Err(ComputeError::Cache(_))));
        let left = backend.get("shop:1:k").await.unwrap();
        assert_eq!(left.as_deref(), stored.map(str::as_bytes));
        is_large.store(false, Ordering::SeqCst);
        let answer = tokio::time::timeout(Duration::from_secs(5), loader.refresh("k")).await;
        assert_eq!(answer.unwrap().unwrap().value, "x");
    }
}

#[tokio::test(start_paused = true)]
async fn load_05_a_failed_refresh_waits_five_seconds_unless_set() {
    let (cache, _) = cache(None);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let loader = cache
        .loader("l")
        .fresh_for(MINUTE)
        .stale_for(MINUTE * 60)
        .load(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Err::<u8, _>(std::fmt::Error) }
        });
    cache.set("k", &7, MINUTE * 30).await.unwrap();
    for _ in 0..40 {
        assert_eq!(loader.get("k").await.unwrap().value, 7);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // In 20 s.
    let runs = runs.load(Ordering::SeqCst);
    assert!((3..=5).contains(&runs), "{runs} attempts in 20 s");
}
