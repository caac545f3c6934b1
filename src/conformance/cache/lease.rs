//! Clauses on leases: one computation across processes. A second cache on the same store stands for
//! another process.

use std::{sync::Arc, time::Duration};

use codex_testkit::suite::{sleep, spawn};
use futures_util::future::{BoxFuture, FutureExt as _};
use serde_json::Value;

use super::super::face::Cache;
use super::{
    super::context::{Cx, clauses},
    MINUTE,
    load::{Source, asked, get, until},
};
use crate::{CacheError, Expiry, KvBackend, LoadState, LoaderBuilder, SetOptions, Timeout};

clauses! {
    load_06_with_a_lease_one_process_computes {
        the_others_wait_for_the_holder
        the_others_get_the_stale_value
        of_many_processes_one_computes
        a_dead_holder_delays_by_at_most_the_lease
        a_holder_whose_lease_has_passed_stores_nothing
        a_stale_value_is_taken_over_after_the_lease
        a_failed_computation_gives_the_lease_back
        a_key_that_was_touched_is_not_blocked
        a_result_that_is_not_stored_gives_the_lease_back
        a_refresh_on_demand_claims_the_lease
    }
    load_07_a_deleted_or_replaced_key_voids_the_lease {
        a_missing_key_that_is_deleted_or_replaced
        a_stale_key_that_is_deleted_or_replaced
        a_value_that_was_replaced_by_its_like
    }
    load_08_the_placeholder_is_never_handed_out {
        no_verb_hands_the_placeholder_out
        a_value_that_is_being_refreshed_is_read_as_it_was
        white_space_behind_a_leased_value_stays
        only_a_loader_with_a_lease_writes_one
    }
}

/// Returns the builder of a loader in a separate process.
fn process<B: KvBackend>(cx: &Cx<B>) -> LoaderBuilder<Arc<B>> {
    cx.cache()
        .loader("l")
        .fresh_for(MINUTE)
        .stale_for(MINUTE * 60)
        .lease(MINUTE)
}

/// Stores a value that is stale to the loaders of [`process`].
async fn store_stale<B: KvBackend>(cx: &Cx<B>, json: &str) {
    let options = SetOptions::new().with_expiry(Expiry::After(MINUTE * 30));
    let outcome = cx.backend.set("shop:1:k", json.to_owned().into(), options).await;
    assert!(outcome.unwrap().is_written());
}

async fn the_others_wait_for_the_holder<B: KvBackend>(cx: &Cx<B>) {
    let (holder, other) = (Source::gated(), Source::open());
    let holding = asked(&holder.of(process(cx)), "k");
    holder.entered.notified().await;
    let waiting = asked(&other.of(process(cx)), "k");
    // The placeholder ends with the lease, whatever happens to its holder.
    cx.assert_ttl("shop:1:k", MINUTE).await;
    sleep(Duration::from_millis(150)).await;
    assert_eq!(other.runs(), 0, "two processes computed one key");
    holder.leave();
    assert_eq!(holding.await.unwrap().unwrap().state, LoadState::Computed);
    let waited = waiting.await.unwrap().unwrap();
    assert_eq!((waited.value, waited.state, other.runs()), (1, LoadState::Fresh, 0));
    // The stored value is plain and has the same time to live as without a lease.
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "1");
    cx.assert_ttl("shop:1:k", MINUTE * 61).await;
}

async fn the_others_get_the_stale_value<B: KvBackend>(cx: &Cx<B>) {
    let (holder, other) = (Source::gated(), Source::open());
    store_stale(cx, "7").await;
    let loader = holder.of(process(cx));
    assert_eq!(get(&loader, "k").await.unwrap().state, LoadState::Stale);
    holder.entered.notified().await;
    let others = other.of(process(cx));
    for _ in 0..5 {
        let stale = get(&others, "k").await.unwrap();
        assert_eq!((stale.value, stale.state), (7, LoadState::Stale));
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(other.runs(), 0, "two processes refreshed one key");
    // The lease does not extend the value's time to live.
    cx.assert_ttl("shop:1:k", MINUTE * 30).await;
    holder.leave();
    until!("the refreshed value is stored", {
        cx.stored("shop:1:k").await.as_deref() == Some(b"1")
    });
    cx.assert_ttl("shop:1:k", MINUTE * 61).await;
}

async fn of_many_processes_one_computes<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::open();
    for round in 1..=10 {
        let key = format!("k{round}");
        let callers: Vec<_> = (0..8).map(|_| asked(&source.of(process(cx)), &key)).collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap().unwrap().value, round);
        }
        assert_eq!(source.runs(), round, "runs after {round} keys");
    }
}

async fn a_dead_holder_delays_by_at_most_the_lease<B: KvBackend>(cx: &Cx<B>) {
    let lease = cx.clock.short() * 2;
    let (dead, other) = (Source::gated(), Source::open());
    let holding = asked(&dead.of(process(cx).lease(lease)), "k");
    dead.entered.notified().await;
    let waiting = asked(&other.of(process(cx).lease(lease)), "k");
    cx.clock.outlive(lease).await;
    assert_eq!(waiting.await.unwrap().unwrap().value, 1);
    assert_eq!(other.runs(), 1);
    // The holder resumes: only its own callers get its value.
    cx.put("shop:1:k", "\"newer\"").await;
    dead.leave();
    assert_eq!(holding.await.unwrap().unwrap().value, 1);
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "\"newer\"");
}

async fn a_holder_whose_lease_has_passed_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let lease = cx.clock.short();
    let late = Source::gated();
    let loader = late.of(process(cx).lease(lease));
    let holding = asked(&loader, "k");
    late.entered.notified().await;
    cx.clock.outlive(lease).await;
    late.leave();
    assert_eq!(holding.await.unwrap().unwrap().value, 1);
    assert_eq!(
        cx.stored("shop:1:k").await,
        None,
        "a missing key was filled after the lease"
    );
    // The same for a stale value, which outlives the lease.
    store_stale(cx, "7").await;
    assert_eq!(get(&loader, "k").await.unwrap().value, 7);
    late.entered.notified().await;
    cx.clock.outlive(lease).await;
    late.leave();
    until!("the late holder ends", loader_is_idle(cx, &late).await);
    let plain = cx.cache();
    assert_eq!(
        plain.get::<usize>("k").await.unwrap(),
        Some(7),
        "a stale key was filled after the lease"
    );
}

/// Returns whether the second computation of a source has begun. If so, waits first until its
/// follow-up has ended.
async fn loader_is_idle<B: KvBackend>(_: &Cx<B>, source: &Source) -> bool {
    if source.runs() < 2 {
        return false;
    }
    sleep(Duration::from_millis(100)).await;
    true
}

async fn a_stale_value_is_taken_over_after_the_lease<B: KvBackend>(cx: &Cx<B>) {
    let lease = cx.clock.short() * 2;
    let (dead, other) = (Source::gated(), Source::open());
    store_stale(cx, "7").await;
    let loader = dead.of(process(cx).lease(lease));
    assert_eq!(get(&loader, "k").await.unwrap().value, 7);
    dead.entered.notified().await;
    let others = other.of(process(cx).lease(lease));
    assert_eq!(get(&others, "k").await.unwrap().state, LoadState::Stale);
    cx.clock.outlive(lease).await;
    until!("another process refreshes after the lease", {
        get(&others, "k").await.unwrap();
        other.runs() > 0 && cx.stored("shop:1:k").await.as_deref() == Some(b"1")
    });
    dead.leave();
}

async fn a_failed_computation_gives_the_lease_back<B: KvBackend>(cx: &Cx<B>) {
    let failing = Source::open();
    failing.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    let loader = failing.of(process(cx));
    assert!(get(&loader, "k").await.is_err());
    assert_eq!(cx.stored("shop:1:k").await, None);
    store_stale(cx, "7").await;
    assert_eq!(get(&loader, "k").await.unwrap().value, 7);
    until!("the failed refresh leaves the value as it was", {
        failing.runs() == 2 && cx.stored("shop:1:k").await.as_deref() == Some(b"7")
    });
    cx.assert_ttl("shop:1:k", MINUTE * 30).await;
}

async fn a_key_that_was_touched_is_not_blocked<B: KvBackend>(cx: &Cx<B>) {
    for expiry in [Expiry::Never, Expiry::After(MINUTE * 20)] {
        let (dead, other) = (Source::gated(), Source::open());
        let holding = asked(&dead.of(process(cx)), "k");
        dead.entered.notified().await;
        // Another program takes the placeholder for a value and extends its time to live.
        assert!(cx.backend.expire("shop:1:k", expiry).await.unwrap());
        let other = other.of(process(cx).max_wait(MINUTE));
        assert_eq!(get(&other, "k").await.unwrap().value, 1);
        dead.leave();
        holding.await.unwrap().unwrap();
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), "1", "{expiry:?}");
        assert_eq!(cx.backend.del(&["shop:1:k"]).await.unwrap(), 1);
    }
}

async fn a_result_that_is_not_stored_gives_the_lease_back<B: KvBackend>(cx: &Cx<B>) {
    // The value has no JSON form.
    let unwritable = process(cx).load(|_| async { Ok::<_, super::compute::Closed>(f64::NAN) });
    assert!(get(&unwritable, "k").await.is_err());
    assert_eq!(cx.stored("shop:1:k").await, None);
    // It is not to be stored.
    let unstored = Source::open().of(cx.cache().loader("l").fresh_for(Duration::ZERO).lease(MINUTE));
    assert_eq!(get(&unstored, "k").await.unwrap().value, 1);
    assert_eq!(cx.stored("shop:1:k").await, None);
    // The key is deleted between the miss and the claim, so the result is outdated.
    let (cache, calls) = cx.counted();
    let loader = Source::open().of(cache.loader("l").fresh_for(MINUTE).lease(MINUTE));
    calls.before("get_with_ttl", async {});
    calls.before("get_with_ttl", async move {
        cache.delete("k").await.unwrap();
    });
    assert_eq!(get(&loader, "k").await.unwrap().value, 1);
    assert_eq!(cx.stored("shop:1:k").await, None);
}

async fn a_refresh_on_demand_claims_the_lease<B: KvBackend>(cx: &Cx<B>) {
    let (holder, other) = (Source::gated(), Source::open());
    let refreshing = holder.of(process(cx));
    let refreshing = spawn(async move { refreshing.refresh("k").await });
    holder.entered.notified().await;
    let waiting = asked(&other.of(process(cx)), "k");
    cx.assert_ttl("shop:1:k", MINUTE).await;
    holder.leave();
    assert_eq!(refreshing.await.unwrap().unwrap().state, LoadState::Computed);
    assert_eq!(waiting.await.unwrap().unwrap().value, 1);
    assert_eq!((cx.stored("shop:1:k").await.unwrap(), other.runs()), ("1".into(), 0));
}

type Verb<B> = fn(Cache<Arc<B>>) -> BoxFuture<'static, ()>;

/// Returns the writes of another process to `k`, and the stored value after each.
fn verbs<B: KvBackend>() -> Vec<(&'static str, Verb<B>, Option<&'static str>)> {
    vec![
        (
            "delete",
            |cache| async move { cache.delete("k").await.map(drop).unwrap() }.boxed(),
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
            "set",
            |cache| async move { cache.set("k", &9, MINUTE).await.unwrap() }.boxed(),
            Some("9"),
        ),
        (
            "set and delete",
            |cache| {
                async move {
                    cache.set("k", &9, MINUTE).await.unwrap();
                    cache.delete("k").await.map(drop).unwrap();
                }
                .boxed()
            },
            None,
        ),
        (
            "del by another program",
            |cache| async move { cache.backend().del(&["shop:1:k"]).await.map(drop).unwrap() }.boxed(),
            None,
        ),
    ]
}

async fn a_missing_key_that_is_deleted_or_replaced<B: KvBackend>(cx: &Cx<B>) {
    for (verb, act, after) in verbs() {
        for is_same_process in [false, true] {
            let holder = Source::gated();
            let cache = cx.cache();
            let builder = cache.loader("l").fresh_for(MINUTE).lease(MINUTE);
            let holding = asked(&holder.of(builder), "k");
            holder.entered.notified().await;
            act(if is_same_process { cache } else { cx.cache() }).await;
            holder.leave();
            assert_eq!(holding.await.unwrap().unwrap().value, 1);
            let stored = cx.stored("shop:1:k").await;
            assert_eq!(
                stored.as_deref(),
                after.map(str::as_bytes),
                "after {verb} during a lease"
            );
            cx.backend.del(&["shop:1:k"]).await.unwrap();
        }
    }
}

async fn a_stale_key_that_is_deleted_or_replaced<B: KvBackend>(cx: &Cx<B>) {
    for (verb, act, after) in verbs() {
        let holder = Source::gated();
        store_stale(cx, "7").await;
        let cache = cx.cache();
        let builder = cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 60).lease(MINUTE);
        let refused = cache.stats().refused_fills;
        assert_eq!(get(&holder.of(builder), "k").await.unwrap().value, 7);
        holder.entered.notified().await;
        act(cx.cache()).await;
        holder.leave();
        until!("the refused fill is counted", {
            cache.stats().refused_fills == refused + 1
        });
        let stored = cx.stored("shop:1:k").await;
        assert_eq!(
            stored.as_deref(),
            after.map(str::as_bytes),
            "after {verb} during a refresh"
        );
        cx.backend.del(&["shop:1:k"]).await.unwrap();
    }
}

async fn a_value_that_was_replaced_by_its_like<B: KvBackend>(cx: &Cx<B>) {
    let holder = Source::gated();
    store_stale(cx, "7").await;
    let cache = cx.cache();
    let builder = cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 60).lease(MINUTE);
    assert_eq!(get(&holder.of(builder), "k").await.unwrap().value, 7);
    holder.entered.notified().await;
    // The key was deleted, written again with the same content, and is being refreshed by another
    // process.
    cx.backend.del(&["shop:1:k"]).await.unwrap();
    store_stale(cx, "7").await;
    let second = Source::gated();
    assert_eq!(get(&second.of(process(cx)), "k").await.unwrap().value, 7);
    second.entered.notified().await;
    holder.leave();
    until!("the refused fill is counted", cache.stats().refused_fills == 1);
    assert_eq!(
        cx.cache().get::<usize>("k").await.unwrap(),
        Some(7),
        "one claim was taken for another"
    );
    second.leave();
    until!("the second holder fills", {
        cx.stored("shop:1:k").await.as_deref() == Some(b"1")
    });
}

async fn no_verb_hands_the_placeholder_out<B: KvBackend>(cx: &Cx<B>) {
    let holder = Source::gated();
    let cache = cx.cache();
    let builder = cache.loader("l").fresh_for(MINUTE).lease(MINUTE);
    let holding = asked(&holder.of(builder), "k");
    holder.entered.notified().await;
    // Other programs read the placeholder as JSON's null, which is Django's result for a missing
    // key.
    let raw = cx
        .stored("shop:1:k")
        .await
        .expect("a lease of a missing key is a placeholder");
    assert_eq!(serde_json::from_slice::<Value>(&raw).unwrap(), Value::Null);
    assert!(raw.starts_with(b"null"), "a placeholder is `null` and white space");
    for cache in [&cache, &cx.cache()] {
        assert_eq!(cache.get::<Option<u8>>("k").await.unwrap(), None);
        assert_eq!(cache.get_or("k", 5).await.unwrap(), 5);
        assert_eq!(cache.get_bytes("k").await.unwrap(), None);
        assert!(cache.get_many::<Option<u8>>(["k"]).await.unwrap().is_empty());
        assert!(matches!(cache.incr("k", 1).await, Err(CacheError::NotFound)));
        assert!(matches!(cache.incr_version("k", 1).await, Err(CacheError::NotFound)));
    }
    assert!(!cache.has_key("k").await.unwrap());
    assert!(!cache.touch("k", MINUTE * 50).await.unwrap());
    assert_eq!(
        cx.stored("shop:1:k").await.unwrap(),
        raw,
        "a read changed the placeholder"
    );
    // The key counts as missing. A write voids the lease.
    assert!(cache.add("k", &8, MINUTE).await.unwrap());
    assert_eq!(cx.cache().get::<u8>("k").await.unwrap(), Some(8));
    holder.leave();
    holding.await.unwrap().unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "8");

    for verb in ["get_or_set", "get_or_set_bytes", "get_or_try_set_with"] {
        cx.backend.del(&["shop:1:k"]).await.unwrap();
        let holder = Source::gated();
        let holding = asked(&holder.of(process(cx)), "k");
        holder.entered.notified().await;
        let other = cx.cache();
        let answer: u8 = match verb {
            "get_or_set" => other.get_or_set("k", 8, MINUTE).await.unwrap(),
            "get_or_set_bytes" => other.get_or_set_bytes("k", "8", MINUTE).await.unwrap()[0] - b'0',
            _ => other
                .get_or_try_set_with("k", MINUTE, || async { Ok::<_, CacheError>(8) })
                .await
                .unwrap(),
        };
        assert_eq!(answer, 8, "{verb}");
        holder.leave();
        holding.await.unwrap().unwrap();
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), "8", "{verb}");
    }
}

async fn a_value_that_is_being_refreshed_is_read_as_it_was<B: KvBackend>(cx: &Cx<B>) {
    let holder = Source::gated();
    let loader = holder.of(process(cx));
    store_stale(cx, "7").await;
    assert_eq!(get(&loader, "k").await.unwrap().value, 7);
    holder.entered.notified().await;
    let raw = cx.stored("shop:1:k").await.unwrap();
    assert!(
        raw.len() > 1 && raw.starts_with(b"7"),
        "a refresh under a lease is not marked"
    );
    assert_eq!(serde_json::from_slice::<Value>(&raw).unwrap(), Value::from(7));
    let other = cx.cache();
    assert_eq!(other.get::<u8>("k").await.unwrap(), Some(7));
    assert_eq!(other.get_bytes("k").await.unwrap().unwrap(), "7");
    assert_eq!(other.get_many::<u8>(["k"]).await.unwrap()["k"], 7);
    assert!(!other.add("k", &8, MINUTE).await.unwrap());
    assert_eq!(other.get_or_set("k", 8, MINUTE).await.unwrap(), 7);
    assert!(other.has_key("k").await.unwrap());
    // The counter works, and its value is newer than the holder's computed value.
    assert_eq!(other.incr("k", 1).await.unwrap(), 8);
    cx.assert_ttl("shop:1:k", MINUTE * 30).await;
    holder.leave();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "8");
    // A stored `null` under a lease is a hit, as without a lease.
    let holder = Source::gated();
    let loader = cx
        .cache()
        .loader("l")
        .fresh_for(MINUTE)
        .stale_for(MINUTE * 60)
        .lease(MINUTE);
    let (entered, gate) = (Arc::clone(&holder.entered), holder.gate.clone().unwrap());
    let loader = loader.load(move |_| {
        let (entered, gate) = (Arc::clone(&entered), Arc::clone(&gate));
        async move {
            entered.notify_one();
            gate.notified().await;
            Ok::<Option<u8>, super::compute::Closed>(Some(1))
        }
    });
    store_stale(cx, "null").await;
    assert_eq!(get(&loader, "k").await.unwrap().value, None);
    holder.entered.notified().await;
    assert_eq!(other.get::<Option<u8>>("k").await.unwrap(), Some(None));
    // A move copies the value without the marker.
    assert_eq!(other.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(cx.stored("shop:2:k").await.unwrap(), "null");
    holder.leave();
}

async fn white_space_behind_a_leased_value_stays<B: KvBackend>(cx: &Cx<B>) {
    let stored = "7 \t\r\n";
    let holder = Source::gated();
    holder.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    store_stale(cx, stored).await;
    assert_eq!(get(&holder.of(process(cx)), "k").await.unwrap().value, 7);
    holder.entered.notified().await;
    assert_eq!(cx.cache().get_bytes("k").await.unwrap().unwrap(), stored);
    holder.leave();
    until!("the failed refresh leaves the value as it was", {
        cx.stored("shop:1:k").await.as_deref() == Some(stored.as_bytes())
    });
}

async fn only_a_loader_with_a_lease_writes_one<B: KvBackend>(cx: &Cx<B>) {
    let source = Source::gated();
    let cache = cx.cache();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 60));
    let missing = asked(&loader, "k");
    source.entered.notified().await;
    assert_eq!(cx.stored("shop:1:k").await, None);
    source.leave();
    missing.await.unwrap().unwrap();
    store_stale(cx, "7").await;
    assert_eq!(get(&loader, "k").await.unwrap().value, 7);
    source.entered.notified().await;
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "7");
    source.leave();
    let (computing, gate) = (cache.clone(), Source::gated());
    let (entered, wait) = (Arc::clone(&gate.entered), gate.gate.clone().unwrap());
    let computing = spawn(async move {
        let compute = || async move {
            entered.notify_one();
            wait.notified().await;
            Ok::<_, CacheError>(1)
        };
        computing.get_or_try_set_with("other", Timeout::Default, compute).await
    });
    gate.entered.notified().await;
    assert_eq!(cx.stored("shop:1:other").await, None);
    gate.leave();
    computing.await.unwrap().unwrap();
}
