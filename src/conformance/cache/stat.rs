//! Clauses on counts.

use std::{sync::Arc, time::Duration};

use super::super::face::Cache;
use super::{
    super::{
        context::{Cx, clauses},
        watched::{Watch, Watched},
    },
    MINUTE,
    compute::{Closed, under_way},
    load::{Source, asked, get, until},
};
use crate::{
    CacheError, CacheStats, ComputeError, Error, ErrorKind, KvBackend, LoadState, Loader, Outage, SetOptions, Timeout,
};

clauses! {
    stat_01_a_cache_counts_what_it_answers {
        hits_and_misses
        computations_and_refused_fills
        loaders_count_stale_hits_and_coalesced_callers
        loads_of_many_keys_are_counted
        errors
        every_verb_counts_its_error_once
        what_is_no_error_and_no_read_is_not_counted
        reads_during_an_outage_are_counted
        what_was_last_seen_is_answered_and_nothing_older
        only_a_store_that_cannot_be_asked_is_an_outage
        loaders_answer_an_outage_with_a_stale_value
        the_number_of_values_seen_is_bounded
    }
}

async fn hits_and_misses<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let counts = || (cache.stats().hits, cache.stats().misses, cache.stats().errors);
    assert_eq!(counts(), (0, 0, 0));
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cache.get::<u8>("k").await.unwrap();
    cache.get::<u8>("missing").await.unwrap();
    assert_eq!(counts(), (1, 1, 0));
    cache.get_or("k", 1).await.unwrap();
    cache.get_bytes("k").await.unwrap();
    assert_eq!(counts(), (3, 1, 0));
    cache.get_many::<u8>(["k", "a", "b"]).await.unwrap();
    assert_eq!(counts(), (4, 3, 0));
    cache.get_or_set("k", 2, MINUTE).await.unwrap();
    cache.get_or_set("new", 2, MINUTE).await.unwrap();
    assert_eq!(counts(), (5, 4, 0));
    // Clones, versions and groups share their counts; other caches have separate counts.
    cache.clone().with_version(2).get::<u8>("k").await.unwrap();
    cache.group("g").await.unwrap().get::<u8>("k").await.unwrap();
    assert_eq!(counts(), (5, 6, 0));
    assert_eq!(cx.cache().stats().hits, 0);
    assert_eq!(cache.name(), "shop");
    let named = cx.builder().key_prefix("shop").name("basket").build().unwrap();
    assert_eq!(named.name(), "basket");
}

async fn computations_and_refused_fills<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let compute = || async {
        codex_testkit::suite::sleep(Duration::from_millis(5)).await;
        Ok::<_, Closed>(1)
    };
    cache.get_or_try_set_with("a", MINUTE, compute).await.unwrap();
    cache.get_or_try_set_with("a", MINUTE, compute).await.unwrap();
    let stats = cache.stats();
    assert_eq!((stats.computations, stats.misses, stats.hits), (1, 1, 1));
    assert!(stats.compute_time >= Duration::from_millis(4), "{stats:?}");
    let (first, leave) = under_way(cx, &cache, Ok(1.0)).await;
    cache.delete("k").await.unwrap();
    leave.notify_one();
    first.await.unwrap().unwrap();
    let stats = cache.stats();
    assert_eq!((stats.computations, stats.refused_fills, stats.errors), (2, 1, 0));
    // A caller that gets another caller's value, and another writer that is faster.
    let (first, leave) = under_way(cx, &cache, Ok(1.0)).await;
    let (second, misses) = (cache.clone(), cache.stats().misses);
    let second = codex_testkit::suite::spawn(async move {
        second
            .get_or_try_set_with("k", MINUTE, || async { Ok::<_, Closed>(2.0) })
            .await
    });
    until!("the second caller asks", cache.stats().misses > misses);
    codex_testkit::suite::sleep(Duration::from_millis(50)).await;
    cx.put("shop:1:k", "7.0").await;
    leave.notify_one();
    for caller in [first, second] {
        assert!((caller.await.unwrap().unwrap() - 7.0).abs() < f64::EPSILON);
    }
    let stats = cache.stats();
    assert_eq!((stats.computations, stats.refused_fills, stats.errors), (3, 2, 0));
    // Both callers get the bytes of the other writer.
    assert_eq!(stats.coalesced, 2);
}

async fn loaders_count_stale_hits_and_coalesced_callers<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let source = Source::gated();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2));
    let callers = [asked(&loader, "k"), asked(&loader, "k")];
    source.entered.notified().await;
    until!("both wait", cache.stats().misses == 2);
    codex_testkit::suite::sleep(Duration::from_millis(50)).await;
    source.leave();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    let stats = cache.stats();
    assert_eq!((stats.computations, stats.coalesced, stats.stale_hits), (1, 1, 0));
    get(&loader, "k").await.unwrap();
    assert_eq!((cache.stats().hits, cache.stats().stale_hits), (stats.hits + 1, 0));
    cache.set("k", &7, MINUTE).await.unwrap();
    get(&loader, "k").await.unwrap();
    assert_eq!((cache.stats().hits, cache.stats().stale_hits), (stats.hits + 1, 1));
    source.leave();
}

async fn loads_of_many_keys_are_counted<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let loader = Source::open().of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE * 2));
    cache.set("fresh", &7, MINUTE * 3).await.unwrap();
    cache.set("stale", &7, MINUTE).await.unwrap();
    let loading = loader.clone();
    let call = async move { loading.get_many(["fresh", "stale", "a", "b"]).await };
    let got = codex_testkit::suite::spawn(call).await.unwrap().unwrap();
    assert_eq!(got.len(), 4);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.stale_hits, stats.misses), (1, 1, 2));
    until!("all are computed", cache.stats().computations == 3);
}

async fn errors<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    cx.put("shop:1:k", "not JSON").await;
    assert!(cache.get::<u8>("k").await.is_err());
    assert_eq!(cache.stats().errors, 1);
    assert!(cache.set("k", &f64::NAN, MINUTE).await.is_err());
    assert_eq!(cache.stats().errors, 2);
    calls.fail_after(0);
    assert!(cache.get::<u8>("k").await.is_err());
    assert!(cache.set("k", &1, MINUTE).await.is_err());
    assert!(cache.add("k", &1, MINUTE).await.is_err());
    assert!(cache.delete("k").await.is_err());
    assert!(cache.incr("k", 1).await.is_err());
    assert!(cache.get_many::<u8>(["k"]).await.is_err());
    assert_eq!(cache.stats().errors, 8);
    calls.fail_after(usize::MAX);
    let failed = cache.get_or_try_set_with("new", MINUTE, || async { Err::<u8, _>(Closed) });
    assert!(failed.await.is_err());
    assert_eq!((cache.stats().errors, cache.stats().computations), (9, 1));
    assert_eq!(cache.stats().outage_reads, 0);
}

async fn every_verb_counts_its_error_once<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    let group = cache.group("g").await.unwrap();
    let loader = Source::open().of(cache.loader("l").fresh_for(MINUTE));
    cx.put("shop:1:bad", "not JSON").await;
    let mut errors = 0;
    // A macro, because the answers differ in their types.
    macro_rules! counts {
        ($($verb:literal: $answer:expr;)*) => {$(
            assert!($answer.is_err(), "{}", $verb);
            errors += 1;
            assert_eq!(cache.stats().errors, errors, "the errors after {}", $verb);
        )*};
    }
    counts! {
        "get of a wrong type": cache.get::<u8>("bad").await;
        "get_or of a wrong type": cache.get_or("bad", 1).await;
        "get_many of a wrong type": cache.get_many::<u8>(["bad"]).await;
        "get_or_set of a wrong type": cache.get_or_set("bad", 1, MINUTE).await;
        "get of a loader of a wrong type": get(&loader, "bad").await;
        "set of a NaN": cache.set("k", &f64::NAN, MINUTE).await;
        "add of a NaN": cache.add("k", &f64::NAN, MINUTE).await;
        "set_many of a NaN": cache.set_many([("k", f64::NAN)], MINUTE).await;
        "get_or_set of a NaN": cache.get_or_set("k", f64::NAN, MINUTE).await;
        "incr of no integer": cache.incr("bad", 1).await;
    }
    // The read succeeds, and the write fails.
    watch.fail_after(1);
    counts! { "the write of get_or_set": cache.get_or_set("k", 1, MINUTE).await; }
    watch.fail_after(1);
    counts! { "the write of get_or_set_bytes": cache.get_or_set_bytes("k", "1", MINUTE).await; }
    watch.fail_after(0);
    let zero = Duration::ZERO;
    counts! {
        "get": cache.get::<u8>("k").await;
        "set": cache.set("k", &1, MINUTE).await;
        "set for zero": cache.set("k", &1, zero).await;
        "add": cache.add("k", &1, MINUTE).await;
        "add for zero": cache.add("k", &1, zero).await;
        "delete": cache.delete("k").await;
        "has_key": cache.has_key("k").await;
        "touch": cache.touch("k", MINUTE).await;
        "touch(0)": cache.touch("k", zero).await;
        "get_many": cache.get_many::<u8>(["k", "l"]).await;
        "set_many": cache.set_many([("k", 1), ("l", 1)], MINUTE).await;
        "set_many for zero": cache.set_many([("k", 1), ("l", 1)], zero).await;
        "delete_many": cache.delete_many(["k", "l"]).await;
        "incr": cache.incr("k", 1).await;
        "decr": cache.decr("k", 1).await;
        "incr_version": cache.incr_version("k", 1).await;
        "decr_version": cache.decr_version("k", 1).await;
        "clear": cache.clear().await;
        "get_bytes": cache.get_bytes("k").await;
        "set_bytes": cache.set_bytes("k", "1", MINUTE).await;
        "add_bytes": cache.add_bytes("k", "1", MINUTE).await;
        "group": cache.group("g").await;
        "invalidate of a group": group.invalidate().await;
        "get of a loader": get(&loader, "k").await;
        "invalidate of a loader": loader.invalidate("k").await;
    }
    watch.fail_after(usize::MAX);
    // A failed and a panicking computation are computations and errors.
    let failing = Source::open();
    failing.fails.store(true, std::sync::atomic::Ordering::SeqCst);
    counts! { "a failed load": get(&failing.of(cache.loader("l")), "new").await; }
    let panicking: Loader<u8, Closed, _> = cache.loader("l").load(|_| async { panic!("planted") });
    counts! { "a panic in a load": get(&panicking, "new").await; }
    assert_eq!(cache.stats().computations, 2);
}

async fn what_is_no_error_and_no_read_is_not_counted<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.incr_version("k", 1).await, Err(CacheError::NotFound)));
    let bare = cx.builder().build().unwrap();
    assert!(bare.clear().await.is_err());
    assert!(cache.decr("k", i64::MIN).await.is_err());
    assert!(!cache.has_key("k").await.unwrap());
    assert!(cache.add("k", &1, MINUTE).await.unwrap() && cache.has_key("k").await.unwrap());
    assert!(!cache.add("k", &1, MINUTE).await.unwrap());
    cache.set("k", &1, MINUTE).await.unwrap();
    cache.set_many([("k", 1)], MINUTE).await.unwrap();
    assert_eq!(cache.incr("k", 1).await.unwrap(), 2);
    assert!(cache.touch("k", MINUTE).await.unwrap() && cache.delete("k").await.unwrap());
    assert_eq!(
        (cache.stats(), bare.stats()),
        (CacheStats::default(), CacheStats::default())
    );
    // The time of a loader's computations is counted.
    let loader = cache.loader("l").load(|_| async {
        codex_testkit::suite::sleep(Duration::from_millis(5)).await;
        Ok::<_, Closed>(1)
    });
    get(&loader, "k").await.unwrap();
    assert!(
        cache.stats().compute_time >= Duration::from_millis(4),
        "{:?}",
        cache.stats()
    );
}

async fn loaders_answer_an_outage_with_a_stale_value<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = seeing(cx);
    let source = Source::open();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE));
    // A value that the loader stored, and one that it read.
    get(&loader, "loaded").await.unwrap();
    let options = SetOptions::expires_after(MINUTE * 2);
    let stored = cx.backend.set("shop:1:read", "7".into(), options).await.unwrap();
    assert!(stored.is_written());
    assert_eq!(get(&loader, "read").await.unwrap().value, 7);
    // Values that the verbs stored.
    assert!(cache.add("added", &2, MINUTE).await.unwrap());
    assert_eq!(cache.get_or_set("or", 3, MINUTE).await.unwrap(), 3);
    let computed = cache.get_or_try_set_with("computed", MINUTE, || async { Ok::<_, Closed>(4) });
    assert_eq!(computed.await.unwrap(), 4);
    watch.fail_after(0);
    for (key, value) in [("loaded", 1), ("read", 7), ("added", 2), ("or", 3), ("computed", 4)] {
        assert_eq!(cache.get::<usize>(key).await.unwrap(), Some(value), "{key}");
        let got = get(&loader, key).await.unwrap();
        assert_eq!((got.value, got.state), (value, LoadState::Stale), "{key}");
        assert!(got.age >= MINUTE, "{got:?}");
    }
    // Writes need the backend.
    let group = cache.group("g").await;
    assert!(group.is_err());
    assert!(cache.delete_many(["read"]).await.is_err());
    assert!(cache.set_bytes("k", "1", MINUTE).await.is_err());
    assert!(cache.add_bytes("k", "1", MINUTE).await.is_err());
    assert!(cache.get_or_set_bytes("k", "1", MINUTE).await.is_err());
    assert!(matches!(cache.incr_version("k", 1).await, Err(CacheError::Backend(_))));
    assert!(matches!(cache.decr_version("k", 1).await, Err(CacheError::Backend(_))));
    assert!(matches!(cache.decr("k", 1).await, Err(CacheError::Backend(_))));
    assert!(cache.touch("k", Duration::ZERO).await.is_err());
    watch.fail_after(usize::MAX);
    let group = cache.group("g").await.unwrap();
    watch.fail_after(0);
    assert!(group.invalidate().await.is_err());
    // With a lease, a value that cannot be stored is an error also under `on_outage`.
    let leased = Source::open().of(cache.loader("l").fresh_for(MINUTE).lease(MINUTE));
    // It is read twice and claimed.
    watch.fail_after(3);
    let answer = get(&leased, "leased").await;
    assert!(matches!(answer, Err(ComputeError::Cache(_))), "{answer:?}");
}

async fn the_number_of_values_seen_is_bounded<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = seeing(cx);
    let keys: Vec<String> = (0..1500).map(|number| number.to_string()).collect();
    cache.set_many(keys.iter().map(|key| (key, 1)), MINUTE).await.unwrap();
    cache.set("latest", &1, MINUTE).await.unwrap();
    watch.fail_after(0);
    let seen = cache.get_many::<u8>(&keys).await.unwrap().len();
    assert!((900..=1000).contains(&seen), "{seen} values are kept for an outage");
    assert_eq!(cache.get::<u8>("latest").await.unwrap(), Some(1));
}

async fn reads_during_an_outage_are_counted<B: KvBackend>(cx: &Cx<B>) {
    for outage in [Outage::Miss, Outage::Stale] {
        let watched = cx.watched();
        let watch = watched.interceptor().clone();
        let builder = cx.face.cache(watched).key_prefix("shop").on_outage(outage);
        let cache = Arc::new(builder.build().unwrap());
        cache.set("k", &1, MINUTE).await.unwrap();
        assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
        cache.set("gone", &1, MINUTE).await.unwrap();
        cache.delete("gone").await.unwrap();
        watch.fail_after(0);
        let answered = |stats: CacheStats| (stats.hits, stats.stale_hits, stats.misses);
        let before = answered(cache.stats());
        let last = (outage == Outage::Stale).then_some(1);
        assert_eq!(cache.get::<u8>("k").await.unwrap(), last, "{outage:?}");
        assert_eq!(cache.get_many::<u8>(["k"]).await.unwrap().get("k").copied(), last);
        assert_eq!(cache.get_bytes("k").await.unwrap().is_some(), last.is_some());
        assert_eq!(cache.has_key("k").await.unwrap(), last.is_some());
        assert_eq!(cache.get::<u8>("gone").await.unwrap(), None);
        assert_eq!(cache.get::<u8>("unseen").await.unwrap(), None);
        assert_eq!((cache.stats().outage_reads, cache.stats().errors), (6, 6));
        assert_eq!(answered(cache.stats()), before);
        let computed = cache.get_or_try_set_with("new", MINUTE, || async { Ok::<_, Closed>(2) });
        assert_eq!(computed.await.unwrap(), 2);
        // Writes always need the backend, and a value that was not stored is never read.
        assert!(cache.set("k", &2, MINUTE).await.is_err());
        assert!(cache.set_many([("k", 3)], MINUTE).await.is_err());
        assert_eq!(cache.get::<u8>("k").await.unwrap(), last, "{outage:?}");
        assert!(cache.add("k", &1, MINUTE).await.is_err());
        assert!(cache.delete("k").await.is_err());
        assert!(cache.incr("k", 1).await.is_err());
        assert!(cache.get_or_set("unseen", 1, MINUTE).await.is_err());
        assert!(cache.touch("k", MINUTE).await.is_err());
        assert!(cache.clear().await.is_err());
        assert!(cache.group("g").await.is_err());
        let leased = Source::open().of(cache.loader("l").lease(MINUTE));
        assert!(
            get(&leased, "unseen").await.is_err(),
            "a lease was claimed without a backend"
        );
        let plain = Source::open().of(cache.loader("l"));
        assert_eq!(get(&plain, "unseen").await.unwrap().value, 1);
        watch.fail_after(usize::MAX);
        assert_eq!(
            cache.get::<u8>("unseen").await.unwrap(),
            None,
            "it was stored during the outage"
        );
    }
}

/// Returns a cache that answers reads of an outage with what it saw last, and the watch on its
/// store.
fn seeing<B: KvBackend>(cx: &Cx<B>) -> (Cache<Watched<B>>, Watch) {
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let builder = cx.face.cache(watched).key_prefix("shop");
    (builder.on_outage(Outage::Stale).build().unwrap(), watch)
}

async fn what_was_last_seen_is_answered_and_nothing_older<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = seeing(cx);
    let keys = [
        "incr", "delete", "many", "touch", "set", "from", "set_many", "others", "longest", "longer",
    ];
    cache.set_many(keys.map(|key| (key, 1)), MINUTE).await.unwrap();
    cache.with_version(2).set("from", &1, MINUTE).await.unwrap();
    assert_eq!(cache.get_many::<u8>(keys).await.unwrap().len(), keys.len());
    cache.incr("incr", 1).await.unwrap();
    cache.delete("delete").await.unwrap();
    cache.delete_many(["none", "many"]).await.unwrap();
    cache.touch("touch", Duration::ZERO).await.unwrap();
    cache.set("set", &1, Duration::ZERO).await.unwrap();
    cache.incr_version("from", 1).await.unwrap();
    cache.set_many([("none", 2), ("set_many", 2)], MINUTE).await.unwrap();
    cx.put("shop:1:others", "3").await;
    assert_eq!(cache.get_many::<u8>(["others"]).await.unwrap()["others"], 3);
    // The limit is 16 KiB for each value.
    cache.set_bytes("longest", vec![b'a'; 16 << 10], MINUTE).await.unwrap();
    cache
        .set_bytes("longer", vec![b'a'; (16 << 10) + 1], MINUTE)
        .await
        .unwrap();

    watch.fail_after(0);
    for key in ["incr", "delete", "many", "touch", "set", "from"] {
        assert_eq!(cache.get::<u8>(key).await.unwrap(), None, "{key}");
    }
    assert_eq!(cache.with_version(2).get::<u8>("from").await.unwrap(), None);
    for (key, seen) in [("set_many", 2), ("others", 3)] {
        assert_eq!(cache.get::<u8>(key).await.unwrap(), Some(seen), "{key}");
    }
    assert_eq!(
        cache.get_bytes("longest").await.unwrap().map(|seen| seen.len()),
        Some(16 << 10)
    );
    assert_eq!(cache.get_bytes("longer").await.unwrap(), None);

    watch.fail_after(usize::MAX);
    cache.clear().await.unwrap();
    watch.fail_after(0);
    assert_eq!(cache.get::<u8>("set_many").await.unwrap(), None, "it was cleared");
}

async fn only_a_store_that_cannot_be_asked_is_an_outage<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = seeing(cx);
    cache.set("k", &1, MINUTE).await.unwrap();
    for (kind, is_outage) in [
        (ErrorKind::Connection, true),
        (ErrorKind::Timeout, true),
        (ErrorKind::Server, true),
        (ErrorKind::Data, false),
        (ErrorKind::Config, false),
        (ErrorKind::InvalidArgument, false),
    ] {
        watch.fail_with(Some(Error::new(kind, "get", "it fails")));
        let answers = [
            cache.get::<u8>("k").await,
            cache
                .get_many("k".split(' '))
                .await
                .map(|found| found.get("k").copied()),
        ];
        for answer in answers {
            match answer {
                Ok(seen) => assert!(is_outage && seen == Some(1), "{kind}: {seen:?}"),
                Err(error) => assert!(!is_outage && matches!(error, CacheError::Backend(_)), "{kind}: {error}"),
            }
        }
    }
}
