//! Clauses on loaders in a single process.

use std::{
    collections::{BTreeSet, HashMap},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_testkit::suite::{JoinHandle, sleep, spawn, yield_now};
use futures_util::future::{Either, select};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Barrier, Notify, Semaphore};

pub(super) use super::lease::{
    load_06_with_a_lease_one_process_computes, load_07_a_deleted_or_replaced_key_voids_the_lease,
    load_08_the_placeholder_is_never_handed_out,
};
pub(super) use super::load_many::load_10_many_keys_at_once;
use super::{
    super::context::{Cx, clauses},
    MINUTE,
    compute::Closed,
};
use crate::{CacheError, ComputeError, KvBackend, LoadState, Loaded, Loader, LoaderBuilder, Ttl};

clauses! {
    load_01_a_key_is_computed_once_per_process {
        one_computation_for_all_who_ask_at_once
        a_dropped_caller_stops_nothing
        a_panic_strands_nobody
        asking_for_its_own_key_is_an_error
        asking_another_loader_for_a_key_of_the_same_name_is_no_error
        other_keys_are_computed_apart
    }
    load_02_fresh_stale_missing {
        a_fresh_value_is_not_computed_again
        a_refresh_outdates_the_running_computation
        a_stale_value_is_answered_at_once_and_refreshed_once
        after_that_callers_wait
        an_invalidated_value_is_computed_anew
        a_refresh_does_not_replace_what_another_program_stored
    }
    load_03_the_state_is_told {
        the_state_and_the_age_are_told
        callers_who_waited_are_told_that_it_was_computed
    }
    load_04_freshness_comes_from_the_remaining_ttl {
        what_is_stored_is_plain_json
        freshness_is_the_remaining_ttl
        a_hit_is_one_round_trip
        a_value_that_is_stale_at_once_is_stored
    }
    load_05_a_failed_computation_leaves_the_stale_value {
        a_failed_refresh_leaves_the_stale_value
        without_a_value_the_error_is_returned_to_all
        a_refresh_on_demand_that_fails_leaves_the_value
        a_store_that_fails_midway_is_an_error_of_a_loader
    }
    load_09_jitter_spreads_deadlines {
        jitter_spreads_deadlines
        a_setting_that_cannot_work_is_an_error
    }
}

/// Calls the loader in a task on a runtime, for suites on any executor.
pub(super) async fn get<T, B>(loader: &Loader<T, Closed, B>, key: &str) -> Result<Loaded<T>, ComputeError<Closed>>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    B: KvBackend,
{
    bounded(asked(loader, key)).await
}

/// Awaits a task that must not wait for other callers. If the loader makes it wait, the clause
/// fails instead of hanging.
pub(super) async fn bounded<T>(task: JoinHandle<T>) -> T {
    let bound = pin!(sleep(Duration::from_secs(30)));
    match select(task, bound).await {
        Either::Left((outcome, _)) => outcome.unwrap(),
        Either::Right(_) => panic!("a call did not end within 30 s"),
    }
}

pub(super) fn asked<T, B>(
    loader: &Loader<T, Closed, B>,
    key: &str,
) -> JoinHandle<Result<Loaded<T>, ComputeError<Closed>>>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    B: KvBackend,
{
    let (loader, key) = (loader.clone(), key.to_owned());
    spawn(async move { loader.get(&key).await })
}

/// A load function that counts its runs and, once its gate is open, returns their number.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) runs: Arc<AtomicUsize>,
    pub(super) fails: Arc<AtomicBool>,
    /// The gate that each run waits for.
    pub(super) gate: Option<Arc<Notify>>,
    pub(super) entered: Arc<Notify>,
}

impl Source {
    pub(super) fn open() -> Self {
        Self {
            runs: Arc::default(),
            fails: Arc::default(),
            gate: None,
            entered: Arc::default(),
        }
    }

    pub(super) fn gated() -> Self {
        Self {
            gate: Some(Arc::default()),
            ..Self::open()
        }
    }

    pub(super) fn leave(&self) {
        self.gate.as_ref().unwrap().notify_one();
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(super) fn of<B: KvBackend>(&self, builder: LoaderBuilder<B>) -> Loader<usize, Closed, B> {
        let source = self.clone();
        builder.load(move |_| {
            let source = source.clone();
            async move {
                let run = source.runs.fetch_add(1, Ordering::SeqCst) + 1;
                source.entered.notify_one();
                match &source.gate {
                    Some(gate) => gate.notified().await,
                    None => yield_now().await,
                }
                if source.fails.load(Ordering::SeqCst) {
                    return Err(Closed);
                }
                Ok(run)
            }
        })
    }
}

/// Waits until a background task has made a condition true. This is a macro because the future of
/// an async closure cannot be bounded by `Send`.
macro_rules! until {
    ($what:literal, $holds:expr $(,)?) => {{
        let mut rounds = 0;
        while !$holds {
            rounds += 1;
            assert!(rounds < 2000, concat!($what, ": not within 10 s"));
            codex_testkit::suite::sleep(std::time::Duration::from_millis(5)).await;
        }
    }};
}
pub(super) use until;

async fn one_computation_for_all_who_ask_at_once<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let loader = source.of(cx.cache().loader("l").fresh_for(MINUTE));
    for round in 1..=20 {
        let barrier = Arc::new(Barrier::new(32));
        let callers: Vec<_> = (0..32)
            .map(|_| {
                let (loader, barrier) = (loader.clone(), Arc::clone(&barrier));
                spawn(async move {
                    barrier.wait().await;
                    loader.get(&format!("k{round}")).await
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().value, round);
        }
        assert_eq!(source.runs(), round);
    }
}

async fn a_dropped_caller_stops_nothing<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let cache = cx.cache();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE));
    let first = asked(&loader, "k");
    source.entered.notified().await;
    let second = asked(&loader, "k");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    source.leave();
    assert_eq!(second.await.unwrap().unwrap().value, 1);
    assert_eq!(source.runs(), 1);
    // A computation is not stopped even if no waiters remain.
    let only = asked(&loader, "alone");
    source.entered.notified().await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    source.leave();
    until!("a value whose only caller was dropped is stored", {
        cache.get::<usize>("alone").await.unwrap() == Some(2)
    });
}

async fn a_panic_strands_nobody<B: KvBackend>(cx: &Cx<B>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let builder = cx.cache().loader("l").fresh_for(MINUTE).lease(MINUTE);
    let loader: Loader<usize, Closed, _> = builder.load(move |_| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        // The first run panics in the function itself, the second in the future that it returns.
        assert_ne!(run, 0, "planted");
        async move {
            assert_ne!(run, 1, "planted");
            Ok(run)
        }
    });
    for _ in 0..2 {
        let answer = get(&loader, "k").await;
        assert!(matches!(answer, Err(ComputeError::Aborted)), "{answer:?}");
        assert_eq!(cx.stored("shop:1:k").await, None, "a panic left its lease behind");
    }
    assert_eq!(get(&loader, "k").await.unwrap().value, 2);
}

async fn asking_for_its_own_key_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    type Own<B> = Arc<Mutex<Option<Loader<usize, Closed, Arc<B>>>>>;
    let own: Own<B> = Arc::default();
    let inside = Arc::clone(&own);
    let loader = cx.cache().loader("l").load(move |key| {
        let own = inside.lock().unwrap().clone().unwrap();
        async move {
            let answer = own.get(&key).await;
            assert!(matches!(answer, Err(ComputeError::Cache(_))), "{answer:?}");
            Ok(2)
        }
    });
    *own.lock().unwrap() = Some(loader.clone());
    assert_eq!(get(&loader, "k").await.unwrap().value, 2);
    *own.lock().unwrap() = None;
}

async fn asking_another_loader_for_a_key_of_the_same_name_is_no_error<B: KvBackend>(cx: &Cx<B>) {
    let other = cx.builder().key_prefix("other").build().unwrap();
    let inner = Source::open().of(other.loader("inner").fresh_for(MINUTE));
    let outer = cx.cache().loader("outer").fresh_for(MINUTE).load(move |key| {
        let inner = inner.clone();
        async move { Ok::<_, Closed>(inner.get(&key).await.unwrap().value + 1) }
    });
    assert_eq!(get(&outer, "k").await.unwrap().value, 2);
}

async fn other_keys_are_computed_apart<B: KvBackend>(cx: &Cx<B>) {
    let (runs, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, inside) = (Arc::clone(&runs), Arc::clone(&gate));
    let builder = cx.cache().loader("l").fresh_for(MINUTE).max_wait(MINUTE * 60);
    let loader: Loader<String, Closed, _> = builder.load(move |key| {
        let gate = Arc::clone(&inside);
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(key)
        }
    });
    let keys = ["k", "K", " k", "k ", "k:", ""];
    let mut computing = Vec::new();
    for (at, key) in keys.into_iter().enumerate() {
        computing.push((key, asked(&loader, key)));
        until!(
            "another key is computed meanwhile",
            runs.load(Ordering::SeqCst) == at + 1
        );
    }
    gate.add_permits(keys.len());
    for (key, computing) in computing {
        assert_eq!(bounded(computing).await.unwrap().value, key);
    }
}

async fn a_fresh_value_is_not_computed_again<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let loader = source.of(cx.cache().loader("l").fresh_for(MINUTE).stale_for(MINUTE));
    assert_eq!(get(&loader, "k").await.unwrap().value, 1);
    for _ in 0..3 {
        let got = get(&loader, "k").await.unwrap();
        assert_eq!((got.value, got.state), (1, LoadState::Fresh));
    }
    assert_eq!(source.runs(), 1);
    // `refresh` computes anyway.
    let loader = loader.clone();
    let refreshed = spawn(async move { loader.refresh("k").await }).await.unwrap().unwrap();
    assert_eq!((refreshed.value, refreshed.state), (2, LoadState::Computed));
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "2");
}

async fn a_refresh_outdates_the_running_computation<B: KvBackend>(cx: &Cx<B>) {
    let (gates, runs) = (Arc::<[Notify; 2]>::default(), Arc::new(AtomicUsize::new(0)));
    let (inside, counted) = (Arc::clone(&gates), Arc::clone(&runs));
    let builder = cx.cache().loader("l").fresh_for(MINUTE);
    let loader: Loader<usize, Closed, _> = builder.load(move |_| {
        let (gates, run) = (Arc::clone(&inside), counted.fetch_add(1, Ordering::SeqCst));
        async move {
            gates[run].notified().await;
            Ok(run)
        }
    });
    let first = asked(&loader, "k");
    until!("the first computation begins", runs.load(Ordering::SeqCst) == 1);
    let refreshing = loader.clone();
    let refreshing = spawn(async move { refreshing.refresh("k").await });
    until!("the refresh computes anew", runs.load(Ordering::SeqCst) == 2);
    gates[0].notify_one();
    assert_eq!(first.await.unwrap().unwrap().value, 0);
    gates[1].notify_one();
    assert_eq!(refreshing.await.unwrap().unwrap().value, 1);
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "1");
}

async fn a_stale_value_is_answered_at_once_and_refreshed_once<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let fresh_for = cx.clock.short();
    let loader = source.of(cx.cache().loader("l").fresh_for(fresh_for).stale_for(MINUTE));
    source.leave();
    assert_eq!(get(&loader, "k").await.unwrap().value, 1);
    cx.clock.outlive(fresh_for).await;
    for _ in 0..8 {
        let got = get(&loader, "k").await.unwrap();
        assert_eq!((got.value, got.state), (1, LoadState::Stale));
    }
    until!("a refresh begins", source.runs() == 2);
    source.leave();
    until!("the refreshed value is answered", {
        get(&loader, "k").await.unwrap().value == 2
    });
}

async fn after_that_callers_wait<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let each = cx.clock.short() / 2;
    let loader = source.of(cx.cache().loader("l").fresh_for(each).stale_for(each));
    assert_eq!(get(&loader, "k").await.unwrap().value, 1);
    cx.clock.outlive(each * 2).await;
    let got = get(&loader, "k").await.unwrap();
    assert_eq!((got.value, got.state), (2, LoadState::Computed));
}

async fn an_invalidated_value_is_computed_anew<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let loader = source.of(cx.cache().loader("l").fresh_for(MINUTE).stale_for(MINUTE));
    assert_eq!(get(&loader, "k").await.unwrap().value, 1);
    assert!(loader.invalidate("k").await.unwrap());
    assert_eq!(cx.stored("shop:1:k").await, None);
    assert!(!loader.invalidate("k").await.unwrap());
    let got = get(&loader, "k").await.unwrap();
    assert_eq!((got.value, got.state), (2, LoadState::Computed));
}

/// Asserts that a refresh without a lease replaces only the value that was read before it.
async fn a_refresh_does_not_replace_what_another_program_stored<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let cache = cx.cache();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2));
    for newer in [Some("9"), None] {
        cache.set("k", &7, MINUTE).await.unwrap();
        let refused = cache.stats().refused_fills;
        assert_eq!(get(&loader, "k").await.unwrap().state, LoadState::Stale);
        source.entered.notified().await;
        match newer {
            Some(newer) => cx.put("shop:1:k", newer).await,
            None => assert_eq!(cx.backend.del(&["shop:1:k"]).await.unwrap(), 1),
        }
        source.leave();
        until!("the refresh ends", {
            cache.stats().refused_fills > refused || cx.stored("shop:1:k").await.as_deref() != newer.map(str::as_bytes)
        });
        assert_eq!(cx.stored("shop:1:k").await.as_deref(), newer.map(str::as_bytes));
    }
}

/// Asks in pairs, until the second caller of a pair has joined the computation of the first.
async fn callers_who_waited_are_told_that_it_was_computed<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let cache = cx.cache();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE));
    for round in 0..50 {
        let key = format!("k{round}");
        let first = asked(&loader, &key);
        source.entered.notified().await;
        let second = asked(&loader, &key);
        until!("both have looked", cache.stats().misses == 2 * (round + 1));
        sleep(Duration::from_millis(20)).await;
        source.leave();
        let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
        assert_eq!((first.state, first.value), (LoadState::Computed, second.value));
        if cache.stats().coalesced > 0 {
            assert_eq!((second.state, second.age), (LoadState::Computed, Duration::ZERO));
            return;
        }
    }
    panic!("no caller joined a running computation in 50 rounds")
}

async fn the_state_and_the_age_are_told<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let (fresh_for, stale_for) = (MINUTE * 10, MINUTE * 20);
    let loader = source.of(cx.cache().loader("l").fresh_for(fresh_for).stale_for(stale_for));
    let got = get(&loader, "k").await.unwrap();
    assert_eq!((got.state, got.age), (LoadState::Computed, Duration::ZERO));
    let slack = Duration::from_secs(30);
    let near = |age: Duration, expected: Duration| age + cx.clock.tolerance() >= expected && age <= expected + slack;
    let got = get(&loader, "k").await.unwrap();
    assert!(
        got.state == LoadState::Fresh && near(got.age, Duration::ZERO),
        "{got:?}"
    );
    // A shorter remaining time to live means a higher age.
    let age = MINUTE * 4;
    cx.backend
        .expire(
            "shop:1:k",
            crate::Expiry::After((fresh_for + stale_for).saturating_sub(age)),
        )
        .await
        .unwrap();
    let got = get(&loader, "k").await.unwrap();
    assert!(got.state == LoadState::Fresh && near(got.age, age), "{got:?}");
    let age = MINUTE * 12;
    cx.backend
        .expire(
            "shop:1:k",
            crate::Expiry::After((fresh_for + stale_for).saturating_sub(age)),
        )
        .await
        .unwrap();
    let got = get(&loader, "k").await.unwrap();
    assert!(got.state == LoadState::Stale && near(got.age, age), "{got:?}");
    // The age of a value without a time to live is unknown.
    cx.put("shop:1:k", "7").await;
    let got = get(&loader, "k").await.unwrap();
    assert_eq!((got.state, got.age), (LoadState::Fresh, Duration::ZERO));
}

async fn what_is_stored_is_plain_json<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let loader: Loader<HashMap<String, String>, Closed, _> = cache
        .loader("l")
        .fresh_for(MINUTE)
        .stale_for(MINUTE * 2)
        .load(|key| async move { Ok(HashMap::from([("für".to_owned(), key)])) });
    get(&loader, "k").await.unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "{\"für\":\"k\"}".as_bytes());
    cx.assert_ttl("shop:1:k", MINUTE * 3).await;
    // Without `fresh_for`, the cache's default timeout is the freshness.
    for default in [Some(MINUTE), None] {
        let cache = cx
            .builder()
            .key_prefix("other")
            .default_timeout(default)
            .build()
            .unwrap();
        get(&Source::open().of(cache.loader("l")), "k").await.unwrap();
        cx.assert_ttl("other:1:k", default).await;
        assert!(cache.delete("k").await.unwrap());
    }
}

async fn freshness_is_the_remaining_ttl<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let cache = cx.cache();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2));
    // Values that another program stored.
    for (timeout, state) in [
        (Some(MINUTE * 3), LoadState::Fresh),
        (Some(MINUTE * 100), LoadState::Fresh),
        (None, LoadState::Fresh),
        (Some(MINUTE), LoadState::Stale),
        // The end of the freshness is stale; a running clock has passed it.
        (Some(MINUTE * 2), LoadState::Stale),
        (
            Some(MINUTE * 2 + Duration::from_millis(if cx.is_virtual { 1 } else { 30_000 })),
            LoadState::Fresh,
        ),
    ] {
        cache.set("k", &7, timeout).await.unwrap();
        let got = get(&loader, "k").await.unwrap();
        assert_eq!((got.value, got.state), (7, state), "{timeout:?}");
    }
    source.leave();
}

async fn a_hit_is_one_round_trip<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    let loader = Source::open().of(cache.loader("l").fresh_for(MINUTE));
    get(&loader, "k").await.unwrap();
    calls.take();
    get(&loader, "k").await.unwrap();
    assert_eq!(calls.take(), ["get_with_ttl"]);
    assert!(matches!(cx.backend.ttl("shop:1:k").await, Ok(Ttl::Remaining(_))));
}

async fn a_value_that_is_stale_at_once_is_stored<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let loader = source.of(cx.cache().loader("l").fresh_for(Duration::ZERO).stale_for(MINUTE));
    source.leave();
    assert_eq!(get(&loader, "k").await.unwrap().state, LoadState::Computed);
    cx.assert_ttl("shop:1:k", MINUTE).await;
    let got = get(&loader, "k").await.unwrap();
    assert_eq!((got.value, got.state), (1, LoadState::Stale));
    source.leave();
}

async fn a_refresh_on_demand_that_fails_leaves_the_value<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let cache = cx.cache();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE));
    cache.set("k", &7, MINUTE * 2).await.unwrap();
    source.fails.store(true, Ordering::SeqCst);
    let refreshing = loader.clone();
    let answer = bounded(spawn(async move { refreshing.refresh("k").await })).await;
    assert!(matches!(answer, Err(ComputeError::Compute(_))), "{answer:?}");
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "7");
    assert_eq!(get(&loader, "k").await.unwrap().state, LoadState::Fresh);
    // A refresh that succeeds renews the time to live.
    source.fails.store(false, Ordering::SeqCst);
    assert!(cache.touch("k", MINUTE).await.unwrap());
    let refreshing = loader.clone();
    let got = bounded(spawn(async move { refreshing.refresh("k").await }))
        .await
        .unwrap();
    assert_eq!((got.value, got.state), (2, LoadState::Computed));
    cx.assert_ttl("shop:1:k", MINUTE * 2).await;
}

/// Fails the first, the second and each later call, with a lease and without.
async fn a_store_that_fails_midway_is_an_error_of_a_loader<B: KvBackend>(cx: &Cx<B>) {
    for lease in [None, Some(MINUTE)] {
        let (cache, watch) = cx.counted();
        let mut builder = cache.loader("l").fresh_for(MINUTE);
        if let Some(lease) = lease {
            builder = builder.lease(lease);
        }
        let source = Source::open();
        let loader = source.of(builder);
        let mut calls = 0;
        loop {
            let key = format!("{}{calls}", if lease.is_some() { "leased" } else { "plain" });
            watch.fail_after(calls);
            let answer = get(&loader, &key).await;
            watch.fail_after(usize::MAX);
            match answer {
                Ok(_) => {
                    assert!(
                        cx.stored(&cache.make_key(&key)).await.is_some(),
                        "a failed write was reported as done"
                    );
                    break;
                }
                Err(ComputeError::Cache(error)) if matches!(*error, CacheError::Backend(_)) => {}
                Err(error) => panic!("{error:?} after {calls} calls"),
            }
            calls += 1;
            assert!(calls < 20, "it takes {calls} calls");
        }
        assert!(calls > 0);
        // It computes only after the reads and the claim.
        let before = 1 + usize::from(lease.is_some());
        assert!(
            source.runs() + before <= calls,
            "it was computed although the store could not be read or claimed"
        );
        cache.set("there", &1, MINUTE).await.unwrap();
        // With a lease, a placeholder is looked for in a second call.
        watch.fail_after(usize::from(lease.is_some()));
        assert!(matches!(cache.has_key("there").await, Err(CacheError::Backend(_))));
        watch.fail_after(0);
        assert!(matches!(
            cache.touch("there", MINUTE).await,
            Err(CacheError::Backend(_))
        ));
        assert!(matches!(loader.invalidate("k").await, Err(CacheError::Backend(_))));
        let many = loader.clone();
        let answer = bounded(spawn(async move { many.get_many(["a", "b"]).await })).await;
        assert!(
            matches!(&answer, Err(ComputeError::Cache(error)) if matches!(**error, CacheError::Backend(_))),
            "{answer:?}"
        );
    }
}

async fn a_failed_refresh_leaves_the_stale_value<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let cache = cx.cache();
    cache.set("k", &7, MINUTE).await.unwrap();
    let builder = cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2);
    let loader = source.of(builder.retry_after(Duration::MAX));
    source.fails.store(true, Ordering::SeqCst);
    let errors = cache.stats().errors;
    for _ in 0..20 {
        let got = get(&loader, "k").await.unwrap();
        assert_eq!((got.value, got.state), (7, LoadState::Stale));
        until!("the refresh fails", cache.stats().errors > errors);
        // Wait until the task has recorded the time of the next attempt.
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(
        source.runs(),
        1,
        "a failed refresh was tried again before `retry_after`"
    );
    // Another key is refreshed nevertheless.
    cache.set("other", &7, MINUTE).await.unwrap();
    assert_eq!(get(&loader, "other").await.unwrap().value, 7);
    until!("the other key is refreshed", source.runs() == 2);
    // With a short `retry_after` the refresh is retried.
    let builder = cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2);
    let loader = source.of(builder.retry_after(Duration::from_millis(1)));
    until!("it is tried again", {
        assert_eq!(get(&loader, "k").await.unwrap().value, 7);
        // The number of a later run is never the stale value.
        source.runs() > 7
    });
    source.fails.store(false, Ordering::SeqCst);
    until!("it succeeds in the end", {
        get(&loader, "k").await.unwrap().value != 7
    });
}

async fn without_a_value_the_error_is_returned_to_all<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    source.fails.store(true, Ordering::SeqCst);
    let loader = source.of(cx.cache().loader("l").fresh_for(MINUTE).stale_for(MINUTE).lease(MINUTE));
    let callers: Vec<_> = (0..8).map(|_| asked(&loader, "k")).collect();
    source.entered.notified().await;
    // All callers have called. There is no signal that the last of them is waiting.
    sleep(Duration::from_millis(100)).await;
    source.leave();
    for caller in callers {
        let answer = caller.await.unwrap();
        assert!(matches!(answer, Err(ComputeError::Compute(_))), "{answer:?}");
    }
    assert_eq!(source.runs(), 1);
    assert_eq!(cx.stored("shop:1:k").await, None);
    // The next caller retries at once.
    source.fails.store(false, Ordering::SeqCst);
    source.leave();
    assert_eq!(get(&loader, "k").await.unwrap().value, 2);
}

async fn jitter_spreads_deadlines<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    let (fresh_for, stale_for) = (MINUTE * 100, MINUTE * 100);
    let builder = cx.cache().loader("l").fresh_for(fresh_for).stale_for(stale_for);
    let loader = source.of(builder.jitter(0.5));
    let mut deadlines = BTreeSet::new();
    for number in 0..40 {
        let key = format!("k{number}");
        get(&loader, &key).await.unwrap();
        let Ttl::Remaining(remaining) = cx.backend.ttl(&format!("shop:1:{key}")).await.unwrap() else {
            panic!("a value without a time to live")
        };
        // Only the freshness is shortened. A running clock may have taken some seconds.
        let least = (stale_for + fresh_for.mul_f64(0.5)).saturating_sub(Duration::from_secs(30));
        assert!((least..=fresh_for + stale_for).contains(&remaining), "{remaining:?}");
        deadlines.insert(remaining.as_secs() / 60);
    }
    assert!(deadlines.len() > 10, "the deadlines are not spread: {deadlines:?}");
    // The greatest fraction may take all of the freshness, and none of the rest.
    let builder = cx.cache().loader("l").fresh_for(fresh_for).stale_for(stale_for);
    let loader = source.of(builder.jitter(1.0));
    get(&loader, "all").await.unwrap();
    let ttl = cx.backend.ttl("shop:1:all").await.unwrap();
    let least = stale_for.saturating_sub(Duration::from_secs(30));
    assert!(
        matches!(ttl, Ttl::Remaining(remaining) if (least..=fresh_for + stale_for).contains(&remaining)),
        "{ttl:?}"
    );
}

async fn a_setting_that_cannot_work_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let builders = [
        cache.loader("l").jitter(1.5),
        cache.loader("l").jitter(-0.1),
        cache.loader("l").jitter(f64::NAN),
        cache.loader("l").lease(Duration::ZERO),
        cache.loader("l").fresh_for(Duration::MAX),
    ];
    for builder in builders {
        let answer = get(&Source::open().of(builder), "k").await;
        let Err(ComputeError::Cache(error)) = answer else {
            panic!("an invalid setting was accepted: {answer:?}")
        };
        assert!(matches!(*error, CacheError::InvalidArgument(_)));
    }
}
