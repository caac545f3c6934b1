//! Clauses on computed values that become outdated, and on bounded waits.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_testkit::suite::{sleep, spawn};
use futures_util::future::{BoxFuture, Either, FutureExt as _, select};
use tokio::sync::Notify;

use super::super::face::Cache;
use super::{
    super::context::{Cx, clauses},
    MINUTE,
    compute::{Closed, under_way},
    load::{Source, asked},
};
use crate::{KvBackend, Loader, SetOptions, Timeout};

clauses! {
    cverb_13_an_outdated_value_is_not_stored {
        a_value_that_was_deleted_or_replaced_meanwhile_is_not_stored
        a_caller_after_the_delete_computes_anew
        a_delete_waits_for_a_value_that_is_being_stored
        a_value_computed_during_the_delete_is_not_stored
        a_write_that_outlasts_the_delete_is_taken_back
        an_outdated_flight_ends_alone
        a_group_that_is_invalidated_meanwhile_stores_nothing
        a_group_that_is_cleared_meanwhile_stores_nothing
        a_clear_outdates_every_version_and_group
        a_loader_without_a_lease_stores_nothing_outdated
        other_keys_are_not_affected
    }
    cverb_14_no_wait_is_without_a_bound {
        a_computation_that_is_not_polled_delays_for_max_wait
        a_closure_may_ask_for_its_own_key
        a_delete_does_not_wait_for_a_task_that_is_not_polled
        a_loader_waits_no_longer_than_its_limit
        a_loader_waits_for_another_process_no_longer_than_its_limit
    }
}

type Verb<B> = fn(Cache<Arc<B>>) -> BoxFuture<'static, ()>;

/// Returns the verbs that delete or replace the value of `k`, and the stored value after each.
fn verbs<B: KvBackend>() -> Vec<(&'static str, Verb<B>, Option<&'static str>)> {
    vec![
        (
            "delete",
            |cache| async move { cache.delete("k").await.map(drop).unwrap() }.boxed(),
            None,
        ),
        (
            "delete_many",
            |cache| async move { cache.delete_many(["k"]).await.map(drop).unwrap() }.boxed(),
            None,
        ),
        (
            "delete_many of several",
            |cache| async move { cache.delete_many(["a", "b", "k"]).await.map(drop).unwrap() }.boxed(),
            None,
        ),
        (
            "set_many of several",
            |cache| async move { cache.set_many([("a", 1), ("k", 2)], MINUTE).await.unwrap() }.boxed(),
            Some("2"),
        ),
        (
            "incr_version of a value that another program stored",
            |cache| {
                async move {
                    let set = cache.backend().set("shop:1:k", "2".into(), SetOptions::new()).await;
                    assert!(set.unwrap().is_written());
                    cache.incr_version("k", 8).await.map(drop).unwrap();
                }
                .boxed()
            },
            None,
        ),
        (
            "touch(0)",
            |cache| async move { cache.touch("k", Duration::ZERO).await.map(drop).unwrap() }.boxed(),
            None,
        ),
        (
            "clear",
            |cache| async move { cache.clear().await.map(drop).unwrap() }.boxed(),
            None,
        ),
        (
            "set(0)",
            |cache| async move { cache.set("k", &2, Duration::ZERO).await.unwrap() }.boxed(),
            None,
        ),
        (
            "set",
            |cache| async move { cache.set("k", &2, MINUTE).await.unwrap() }.boxed(),
            Some("2"),
        ),
        (
            "set_many",
            |cache| async move { cache.set_many([("k", 2)], MINUTE).await.unwrap() }.boxed(),
            Some("2"),
        ),
        (
            "set_bytes",
            |cache| async move { cache.set_bytes("k", "2", MINUTE).await.unwrap() }.boxed(),
            Some("2"),
        ),
        (
            "add",
            |cache| async move { assert!(cache.add("k", &2, MINUTE).await.unwrap()) }.boxed(),
            Some("2"),
        ),
        (
            "set and delete by another program",
            |cache| {
                async move {
                    cache.set("k", &2, MINUTE).await.unwrap();
                    cache.backend().del(&["shop:1:k"]).await.map(drop).unwrap();
                }
                .boxed()
            },
            None,
        ),
        (
            "incr_version onto it",
            |cache| {
                async move {
                    let old = cache.with_version(0);
                    old.set("k", &2, MINUTE).await.unwrap();
                    old.incr_version("k", 1).await.map(drop).unwrap();
                }
                .boxed()
            },
            Some("2"),
        ),
    ]
}

async fn a_value_that_was_deleted_or_replaced_meanwhile_is_not_stored<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for (verb, act, after) in verbs() {
        let (first, leave) = under_way(cx, &cache, Ok(1.0)).await;
        act(cache.clone()).await;
        leave.notify_one();
        let answered = first.await.unwrap().unwrap();
        let stored = cx.stored("shop:1:k").await;
        assert_eq!(
            stored.as_deref(),
            after.map(str::as_bytes),
            "the stored value after {verb} during the computation"
        );
        assert!((answered - 1.0).abs() < f64::EPSILON, "{verb}: {answered}");
        let _ = cache.delete("k").await.unwrap();
    }
}

async fn a_caller_after_the_delete_computes_anew<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let (first, leave) = under_way(cx, &cache, Ok(1.0)).await;
    assert!(!cache.clone().delete("k").await.unwrap());
    let anew = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<f64, Closed>(2.0) });
    let Either::Left((anew, _)) = select(Box::pin(anew), Box::pin(sleep(Duration::from_secs(5)))).await else {
        panic!("a caller that asked after the delete waited for the computation from before it")
    };
    assert!((anew.unwrap() - 2.0).abs() < f64::EPSILON, "it got the outdated value");
    leave.notify_one();
    // The newer value is stored.
    first.await.unwrap().unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "2.0");
}

async fn a_delete_waits_for_a_value_that_is_being_stored<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    for round in 0..10 {
        // The delete begins while the value is being sent to the store.
        let (deleting, deleted) = (cache.clone(), Arc::new(Notify::new()));
        let done = Arc::clone(&deleted);
        calls.before("set", async move {
            spawn(async move {
                deleting.delete("k").await.unwrap();
                done.notify_one();
            });
            sleep(Duration::from_millis(20)).await;
        });
        let computed = cache.get_or_try_set_with("k", MINUTE, || async move { Ok::<_, Closed>(round) });
        assert_eq!(computed.await.unwrap(), round);
        deleted.notified().await;
        assert_eq!(cx.stored("shop:1:k").await, None, "an outdated value stayed");
    }
}

/// Begins a computation before the store has answered a delete: it may have read the old data.
async fn a_value_computed_during_the_delete_is_not_stored<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (computing, inside, wait) = (cache.clone(), Arc::clone(&entered), Arc::clone(&leave));
    let (sender, begun) = tokio::sync::oneshot::channel();
    calls.before("del", async move {
        let task = spawn(async move {
            let compute = || async move {
                inside.notify_one();
                wait.notified().await;
                Ok::<_, Closed>(1)
            };
            computing.get_or_try_set_with("k", MINUTE, compute).await
        });
        entered.notified().await;
        assert!(sender.send(task).is_ok());
    });
    cache.delete("k").await.unwrap();
    leave.notify_one();
    assert_eq!(begun.await.unwrap().await.unwrap().unwrap(), 1);
    assert_eq!(
        cx.stored("shop:1:k").await,
        None,
        "a value from before the delete was stored"
    );
}

async fn a_write_that_outlasts_the_delete_is_taken_back<B: KvBackend>(cx: &Cx<B>) {
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let builder = cx.face.cache(watched).key_prefix("shop");
    let cache = builder.max_wait(Duration::from_millis(100)).build().unwrap();
    let (sending, send) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, gate) = (Arc::clone(&sending), Arc::clone(&send));
    watch.before("set", async move {
        begun.notify_one();
        gate.notified().await;
    });
    let storing = cache.clone();
    let storing = spawn(async move {
        storing
            .get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(1) })
            .await
    });
    sending.notified().await;
    in_time("a delete", cache.delete("k")).await.unwrap();
    send.notify_one();
    assert_eq!(storing.await.unwrap().unwrap(), 1);
    assert_eq!(cx.stored("shop:1:k").await, None, "the late write stayed");
}

/// Checks that a computation from before a delete does not end the computation that replaced it.
async fn an_outdated_flight_ends_alone<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let (old, leave_old) = under_way(cx, &cache, Ok(1.0)).await;
    cache.delete("k").await.unwrap();
    let (new, leave_new) = under_way(cx, &cache, Ok(2.0)).await;
    leave_old.notify_one();
    assert!((old.await.unwrap().unwrap() - 1.0).abs() < f64::EPSILON);
    let joining = cache.clone();
    let joining = spawn(async move {
        joining
            .get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(3.0) })
            .await
    });
    // There is no signal that the caller is waiting.
    sleep(Duration::from_millis(100)).await;
    leave_new.notify_one();
    for caller in [new, joining] {
        assert!((caller.await.unwrap().unwrap() - 2.0).abs() < f64::EPSILON);
    }
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "2.0");
}

async fn a_group_that_is_cleared_meanwhile_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let group = cx.cache().group("g").await.unwrap();
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (computing, inside, wait) = (group.clone(), Arc::clone(&entered), Arc::clone(&leave));
    let first = spawn(async move {
        let compute = || async move {
            inside.notify_one();
            wait.notified().await;
            Ok::<_, Closed>(1)
        };
        computing.get_or_try_set_with("k", MINUTE, compute).await
    });
    entered.notified().await;
    group.clear().await.unwrap();
    leave.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(group.get::<u8>("k").await.unwrap(), None);
}

async fn a_group_that_is_invalidated_meanwhile_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let group = cache.group("g").await.unwrap();
    let old = group.make_key("k");
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (computing, inside, wait) = (group.clone(), Arc::clone(&entered), Arc::clone(&leave));
    let first = spawn(async move {
        computing
            .get_or_try_set_with("k", MINUTE, || async move {
                inside.notify_one();
                wait.notified().await;
                Ok::<_, Closed>(1)
            })
            .await
    });
    entered.notified().await;
    group.invalidate().await.unwrap();
    leave.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(cx.stored(&old).await, None);
    assert_eq!(group.get::<u8>("k").await.unwrap(), None);
}

/// Clears the cache while a value of another version and a value of a group are being computed.
async fn a_clear_outdates_every_version_and_group<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let group = cache.group("g").await.unwrap();
    let (of_version, of_group) = (Source::gated(), Source::gated());
    let version = of_version.of(cache.with_version(2).loader("l").fresh_for(MINUTE));
    let version = asked(&version, "k");
    let grouped = asked(&of_group.of(group.loader("l").fresh_for(MINUTE)), "k");
    of_version.entered.notified().await;
    of_group.entered.notified().await;
    cache.clear().await.unwrap();
    of_version.leave();
    of_group.leave();
    version.await.unwrap().unwrap();
    grouped.await.unwrap().unwrap();
    assert_eq!(cx.stored("shop:2:k").await, None, "another version");
    assert_eq!(cx.stored(&group.make_key("k")).await, None, "a group");
}

async fn a_loader_without_a_lease_stores_nothing_outdated<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for (verb, act, after) in verbs() {
        let source = Source::gated();
        let computing = asked(&source.of(cache.loader("l").fresh_for(MINUTE)), "k");
        source.entered.notified().await;
        act(cache.clone()).await;
        source.leave();
        assert_eq!(computing.await.unwrap().unwrap().value, 1, "{verb}");
        let stored = cx.stored("shop:1:k").await;
        assert_eq!(
            stored.as_deref(),
            after.map(str::as_bytes),
            "the stored value after {verb} while a loader computes"
        );
        let _ = cache.delete("k").await.unwrap();
    }
}

async fn other_keys_are_not_affected<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let (first, leave) = under_way(cx, &cache, Ok(1.0)).await;
    cache.delete("other").await.unwrap();
    cache.with_version(2).delete("k").await.unwrap();
    leave.notify_one();
    first.await.unwrap().unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "1.0");
}

/// Returns a cache with a short `max_wait`.
fn impatient<B: KvBackend>(cx: &Cx<B>) -> Cache<Arc<B>> {
    let builder = cx.builder().key_prefix("shop").max_wait(Duration::from_millis(100));
    builder.build().unwrap()
}

/// Fails if `call` takes much longer than the short wait.
pub(super) async fn in_time<T>(what: &str, call: impl Future<Output = T> + Send) -> T {
    match select(Box::pin(call), Box::pin(sleep(Duration::from_secs(8)))).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => panic!("{what} waited without a bound: max_wait is 100 ms"),
    }
}

async fn a_computation_that_is_not_polled_delays_for_max_wait<B: KvBackend>(cx: &Cx<B>) {
    let cache = impatient(cx);
    let mut stuck = Box::pin(cache.get_or_try_set_with("k", MINUTE, pending::<Result<u8, Closed>>));
    // From here on the computation is alive but not polled.
    assert!(matches!(
        select(&mut stuck, Box::pin(sleep(Duration::from_millis(200)))).await,
        Either::Right(_)
    ));
    let second = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(2) });
    assert_eq!(in_time("a second caller", second).await.unwrap(), 2);
    // Its value is stored and can be read without a wait.
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(2));
}

async fn a_closure_may_ask_for_its_own_key<B: KvBackend>(cx: &Cx<B>) {
    let cache = &impatient(cx);
    let outer = cache.get_or_try_set_with("k", MINUTE, || async move {
        let inner = cache.get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(1) });
        Ok::<_, Closed>(inner.await.unwrap() + 1)
    });
    // The inner value was stored first and wins.
    assert_eq!(in_time("a closure that asks for its own key", outer).await.unwrap(), 1);
}

async fn a_delete_does_not_wait_for_a_task_that_is_not_polled<B: KvBackend>(cx: &Cx<B>) {
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let builder = cx.face.cache(watched).key_prefix("shop");
    let cache = builder.max_wait(Duration::from_millis(100)).build().unwrap();
    watch.before("set", pending());
    let mut storing = Box::pin(cache.get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(1) }));
    assert!(matches!(
        select(&mut storing, Box::pin(sleep(Duration::from_millis(200)))).await,
        Either::Right(_)
    ));
    in_time("a delete", cache.delete("k")).await.unwrap();
    in_time("a set", cache.set("k", &3, Timeout::Default)).await.unwrap();
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(3));
}

async fn a_loader_waits_no_longer_than_its_limit<B: KvBackend>(cx: &Cx<B>) {
    let short = Duration::from_millis(100);
    // The limit of the loader itself, and that of its cache.
    for builder in [cx.cache().loader("l").max_wait(short), impatient(cx).loader("l")] {
        let (runs, entered, leave) = (
            Arc::new(AtomicUsize::new(0)),
            Arc::new(Notify::new()),
            Arc::new(Notify::new()),
        );
        let (counted, inside, gate) = (runs, Arc::clone(&entered), Arc::clone(&leave));
        let loader: Loader<usize, Closed, _> = builder.fresh_for(MINUTE).load(move |_| {
            let run = counted.fetch_add(1, Ordering::SeqCst);
            let (inside, gate) = (Arc::clone(&inside), Arc::clone(&gate));
            async move {
                if run == 0 {
                    inside.notify_one();
                    gate.notified().await;
                }
                Ok(run)
            }
        });
        let stuck = asked(&loader, "k");
        entered.notified().await;
        let second = in_time("a second caller of a loader", asked(&loader, "k")).await;
        assert_eq!(second.unwrap().unwrap().value, 1);
        leave.notify_one();
        stuck.await.unwrap().unwrap();
        cx.backend.del(&["shop:1:k"]).await.unwrap();
    }
}

async fn a_loader_waits_for_another_process_no_longer_than_its_limit<B: KvBackend>(cx: &Cx<B>) {
    let holder = Source::gated();
    let leased = |cache: Cache<Arc<B>>| cache.loader("l").fresh_for(MINUTE).lease(MINUTE * 10);
    let holding = asked(&holder.of(leased(cx.cache())), "k");
    holder.entered.notified().await;
    let other = Source::open().of(leased(cx.cache()).max_wait(Duration::from_millis(100)));
    let waited = in_time("a caller that waits for a lease", asked(&other, "k")).await;
    assert_eq!(waited.unwrap().unwrap().value, 1);
    holder.leave();
    holding.await.unwrap().unwrap();
}
