//! Clauses on single-flight computations.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_testkit::suite::{JoinHandle, sleep, spawn, yield_now};
use futures_util::future::{Either, select};
use tokio::sync::{Barrier, Notify};

use super::super::face::Cache;
use super::{
    super::{
        context::{Cx, clauses},
        watched::{Watch, Watched},
    },
    MINUTE,
    outdated::in_time,
};
use crate::{CacheError, ComputeError, KvBackend, SetOptions, Timeout};

clauses! {
    cverb_08_a_missing_value_is_computed_once {
        a_hit_is_returned_and_a_miss_is_computed_and_stored
        the_closure_runs_once_for_all_who_ask_at_once
        its_error_is_returned_to_all_and_nothing_is_stored
        an_error_is_not_given_to_who_asks_after_it
        a_dropped_caller_does_not_strand_the_others
        a_panicking_closure_does_not_strand_the_others
        a_value_stored_since_the_miss_is_not_computed
        another_writer_that_is_faster_is_believed
        a_zero_timeout_computes_and_stores_nothing
        a_value_without_a_form_is_an_error_for_all
        keys_and_versions_are_computed_apart
        callers_with_other_error_types_do_not_meet
        a_store_that_fails_midway_is_an_error
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the database is closed")]
pub(super) struct Closed;

async fn a_hit_is_returned_and_a_miss_is_computed_and_stored<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    let computed = cache
        .get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(1) })
        .await
        .unwrap();
    assert_eq!(computed, 1);
    // The second `get` looks for the value of a flight that has ended in between.
    assert_eq!(calls.take(), ["get", "get", "set"]);
    cx.assert_ttl("shop:1:k", MINUTE).await;
    let hit = cache
        .get_or_try_set_with("k", MINUTE, || async { Err::<u8, _>(Closed) })
        .await
        .unwrap();
    assert_eq!(hit, 1);
    assert_eq!(calls.take(), ["get"]);
    cache.set("null", &None::<u8>, Timeout::Default).await.unwrap();
    let null = cache
        .get_or_try_set_with("null", MINUTE, || async { Err::<Option<u8>, _>(Closed) })
        .await;
    assert_eq!(null.unwrap(), None);
}

async fn the_closure_runs_once_for_all_who_ask_at_once<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for round in 0..20 {
        let key = format!("k{round}");
        let (runs, barrier) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(32)));
        let callers: Vec<_> = (0..32)
            .map(|caller| {
                let (cache, key, runs, barrier) = (cache.clone(), key.clone(), Arc::clone(&runs), Arc::clone(&barrier));
                spawn(async move {
                    barrier.wait().await;
                    cache
                        .get_or_try_set_with(&key, MINUTE, || async {
                            runs.fetch_add(1, Ordering::Relaxed);
                            yield_now().await;
                            Ok::<usize, Closed>(caller)
                        })
                        .await
                        .unwrap()
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(Some(caller.await.unwrap()), cache.get(&key).await.unwrap());
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    }
}

pub(super) type Answer<T, E = Closed> = Result<T, ComputeError<E>>;

/// Returns a task that is inside its computation, and the gate that lets it end with `outcome`.
pub(super) async fn under_way<B: KvBackend, B2: KvBackend>(
    cx: &Cx<B>,
    cache: &Cache<B2>,
    outcome: Result<f64, Closed>,
) -> (JoinHandle<Answer<f64>>, Arc<Notify>) {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (cache, inside, wait) = (cache.clone(), Arc::clone(&entered), Arc::clone(&leave));
    assert_eq!(cx.stored("shop:1:k").await, None);
    let task = spawn(async move {
        cache
            .get_or_try_set_with("k", MINUTE, || async move {
                inside.notify_one();
                wait.notified().await;
                outcome
            })
            .await
    });
    entered.notified().await;
    (task, leave)
}

/// Returns tasks that wait for the running computation. `runs` counts their own computations.
async fn waiting<B: KvBackend>(
    (cache, calls): &(Cache<Watched<B>>, Watch),
    runs: &Arc<AtomicUsize>,
) -> Vec<JoinHandle<Answer<f64>>> {
    calls.take();
    let callers = (0..8)
        .map(|_| {
            let (cache, runs) = (cache.clone(), Arc::clone(runs));
            spawn(async move {
                cache
                    .get_or_try_set_with("k", MINUTE, || async move {
                        runs.fetch_add(1, Ordering::Relaxed);
                        Ok(2.0)
                    })
                    .await
            })
        })
        .collect();
    // All callers have called. There is no signal that the last of them is waiting.
    calls.reach(8).await;
    sleep(Duration::from_millis(100)).await;
    callers
}

async fn its_error_is_returned_to_all_and_nothing_is_stored<B: KvBackend>(cx: &Cx<B>) {
    let (counted, runs) = (cx.counted(), Arc::new(AtomicUsize::new(0)));
    let cache = &counted.0;
    let (first, leave) = under_way(cx, cache, Err(Closed)).await;
    let others = waiting(&counted, &runs).await;
    leave.notify_one();
    for caller in others.into_iter().chain([first]) {
        let Err(ComputeError::Compute(error)) = caller.await.unwrap() else {
            panic!("got a value although the computation had failed")
        };
        assert_eq!(*error, Closed);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert_eq!(cx.stored("shop:1:k").await, None);
    // The error is not cached: a later caller tries again.
    assert_eq!(
        cache
            .get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(3) })
            .await
            .unwrap(),
        3
    );
}

async fn an_error_is_not_given_to_who_asks_after_it<B: KvBackend>(cx: &Cx<B>) {
    let cache = &cx.cache();
    let (first, leave) = under_way(cx, cache, Err(Closed)).await;
    let mut slow = Box::pin(cache.get_or_try_set_with("k", MINUTE, || async { Ok::<f64, Closed>(2.0) }));
    // It waits, and is not polled again before the end, so it still belongs to the flight at the
    // next call.
    let moment = Box::pin(sleep(Duration::from_millis(100)));
    assert!(matches!(select(&mut slow, moment).await, Either::Right(_)));
    leave.notify_one();
    assert!(first.await.unwrap().is_err());
    let next = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<f64, Closed>(3.0) });
    assert!((next.await.unwrap() - 3.0).abs() < f64::EPSILON);
    assert!(matches!(slow.await, Err(ComputeError::Compute(_))));
}

async fn a_dropped_caller_does_not_strand_the_others<B: KvBackend>(cx: &Cx<B>) {
    let (counted, runs) = (cx.counted(), Arc::new(AtomicUsize::new(0)));
    let cache = &counted.0;
    let (first, _leave) = under_way(cx, cache, Ok(1.0)).await;
    let others = waiting(&counted, &runs).await;
    first.abort();
    for caller in others {
        assert!((caller.await.unwrap().unwrap() - 2.0).abs() < f64::EPSILON);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(first.await.unwrap_err().is_cancelled());
}

async fn a_panicking_closure_does_not_strand_the_others<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let panicking = cache.clone();
    let task = spawn(async move {
        panicking
            .get_or_try_set_with("k", MINUTE, || async { panic!("planted") as Result<u8, Closed> })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(
        cache
            .get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(1) })
            .await
            .unwrap(),
        1
    );
}

/// Ends another flight of the key between a caller's miss and the start of its own flight.
async fn a_value_stored_since_the_miss_is_not_computed<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    let backend = cx.backend.clone();
    calls.before("get", async {});
    calls.before("get", async move {
        let set = backend.set("shop:1:k", "7".into(), SetOptions::new()).await;
        assert!(set.unwrap().is_written());
    });
    let found = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<u8, Closed>(1) });
    assert_eq!(found.await.unwrap(), 7);
    assert_eq!(cache.stats().computations, 0);
}

async fn another_writer_that_is_faster_is_believed<B: KvBackend>(cx: &Cx<B>) {
    let (counted, runs) = (cx.counted(), Arc::new(AtomicUsize::new(0)));
    let cache = &counted.0;
    let (first, leave) = under_way(cx, cache, Ok(1.0)).await;
    let others = waiting(&counted, &runs).await;
    // Written by another process, because a write through this cache would make the computation
    // outdated.
    cx.cache().set("k", &7.0, Timeout::Never).await.unwrap();
    leave.notify_one();
    for caller in others.into_iter().chain([first]) {
        assert!((caller.await.unwrap().unwrap() - 7.0).abs() < f64::EPSILON);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    cx.assert_ttl("shop:1:k", None).await;
}

async fn a_zero_timeout_computes_and_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for value in [1, 2] {
        let computed = cache
            .get_or_try_set_with("k", Duration::ZERO, || async move { Ok::<_, Closed>(value) })
            .await;
        assert_eq!(computed.unwrap(), value);
        assert!(!cache.has_key("k").await.unwrap());
    }
}

async fn a_value_without_a_form_is_an_error_for_all<B: KvBackend>(cx: &Cx<B>) {
    let (counted, runs) = (cx.counted(), Arc::new(AtomicUsize::new(0)));
    let cache = &counted.0;
    let (first, leave) = under_way(cx, cache, Ok(f64::NAN)).await;
    let others = waiting(&counted, &runs).await;
    leave.notify_one();
    for caller in others.into_iter().chain([first]) {
        let Err(ComputeError::Cache(error)) = caller.await.unwrap() else {
            panic!("got a value although the computation had failed")
        };
        assert!(matches!(*error, CacheError::Codec(_)));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert_eq!(cx.stored("shop:1:k").await, None);
}

async fn keys_and_versions_are_computed_apart<B: KvBackend>(cx: &Cx<B>) {
    let cache = &cx.cache();
    let (first, leave) = under_way(cx, cache, Ok(1.0)).await;
    let groups = [cache.group("g").await.unwrap(), cache.group("h").await.unwrap()];
    let [of_group, inside] = groups;
    let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entering, leaving) = (Arc::clone(&entered), Arc::clone(&gate));
    let grouped = spawn(async move {
        let compute = || async move {
            entering.notify_one();
            leaving.notified().await;
            Ok::<_, Closed>(6)
        };
        inside.get_or_try_set_with("k", MINUTE, compute).await
    });
    in_time("a value of a group", entered.notified()).await;
    // If they shared a flight, they would wait for the running computation until `max_wait`.
    for key in ["other", "K", "k ", " k", "k:"] {
        let other = cache.get_or_try_set_with(key, MINUTE, || async { Ok::<_, Closed>(2) });
        assert_eq!(in_time("another key", other).await.unwrap(), 2, "{key:?}");
    }
    let view = cache.with_version(2);
    let version = view.get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(3) });
    assert_eq!(in_time("another version", version).await.unwrap(), 3);
    let group = of_group.get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(4) });
    assert_eq!(in_time("another group", group).await.unwrap(), 4);
    leave.notify_one();
    gate.notify_one();
    first.await.unwrap().unwrap();
    assert_eq!(grouped.await.unwrap().unwrap(), 6);
}

/// Fails the first, the second and each later call.
async fn a_store_that_fails_midway_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    let runs = AtomicUsize::new(0);
    let mut calls = 0;
    loop {
        watch.fail_after(calls);
        let compute = || async {
            runs.fetch_add(1, Ordering::Relaxed);
            Ok::<u8, Closed>(1)
        };
        let answer = cache.get_or_try_set_with("k", MINUTE, compute).await;
        watch.fail_after(usize::MAX);
        match answer {
            Ok(value) => break assert_eq!(value, 1),
            Err(ComputeError::Cache(error)) if matches!(*error, CacheError::Backend(_)) => {}
            Err(error) => panic!("{error:?} after {calls} calls"),
        }
        assert_eq!(cx.stored("shop:1:k").await, None);
        calls += 1;
        assert!(calls < 20, "it takes {calls} calls");
    }
    assert!(calls > 0);
    // Once when the write failed, and once when nothing failed.
    assert_eq!(
        runs.load(Ordering::Relaxed),
        2,
        "it was computed although the store could not be read"
    );
    assert_eq!(
        cx.stored("shop:1:k").await.unwrap(),
        "1",
        "a failed write was reported as done"
    );
}

async fn callers_with_other_error_types_do_not_meet<B: KvBackend>(cx: &Cx<B>) {
    let cache = &cx.cache();
    let (first, leave) = under_way(cx, cache, Err(Closed)).await;
    let other = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<f64, Infallible>(2.0) });
    let other: Answer<f64, Infallible> = in_time("a caller with another error type", other).await;
    assert!((other.unwrap() - 2.0).abs() < f64::EPSILON);
    leave.notify_one();
    assert!(matches!(first.await.unwrap(), Err(ComputeError::Compute(_))));
}
