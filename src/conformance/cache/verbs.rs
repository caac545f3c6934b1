//! Clauses on verbs.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use codex_testkit::{
    Harness, OutageKind,
    suite::{Checked, spawn},
};
use tokio::sync::Barrier;

use super::super::face::Cache;
use super::{
    super::context::{Context, Cx, clauses, not_the_outage, part},
    MINUTE,
    cases::{a_nearly_equal_value_is_moved_too, lists_of_every_count},
    load::{Source, bounded, get},
};
pub(super) use super::{
    clear::{cverb_10_clear_scans_and_deletes_its_prefix, cverb_11_clear_removes_every_version_and_nothing_else},
    compute::cverb_08_a_missing_value_is_computed_once,
    outdated::{cverb_13_an_outdated_value_is_not_stored, cverb_14_no_wait_is_without_a_bound},
};
use crate::{CacheError, ComputeError, ErrorKind, Group, KvBackend, SetOptions, Timeout};

clauses! {
    cverb_01_get_and_get_or {
        get_and_get_or
    }
    cverb_02_add_is_one_atomic_step {
        add_writes_only_where_nothing_is_stored
        of_16_racers_one_adds
    }
    cverb_03_delete_tells_whether_it_was_there {
        delete_tells_whether_it_was_there_in_one_command
    }
    cverb_04_has_key_sees_a_stored_null {
        has_key_sees_a_stored_null
    }
    cverb_05_many_keys_in_one_round_trip {
        many_keys_in_one_round_trip
        lists_of_every_count
        an_empty_list_is_no_error
    }
    cverb_06_incr_and_decr_keep_the_ttl_and_create_nothing {
        incr_and_decr_keep_the_ttl
        incr_refuses_a_missing_key
        incr_refuses_what_is_no_integer_and_overflow
        decr_refuses_what_has_no_negation
        concurrent_increments_are_all_counted
    }
    cverb_07_get_or_set_agrees_with_whoever_was_first {
        get_or_set
        who_loses_the_race_gets_the_other_value
        racers_agree_on_one_value
        a_failed_write_of_get_or_set_is_an_error
    }
    cverb_09_incr_version_moves_value_and_ttl {
        incr_version_moves_value_and_ttl
        incr_version_of_a_missing_key
        incr_version_by_zero_loses_nothing
        a_version_that_does_not_fit_is_refused
        racers_lose_nothing
        a_value_written_in_the_midst_of_it_is_moved_too
        a_nearly_equal_value_is_moved_too
        a_move_that_fails_midway_is_an_error_and_loses_nothing
    }
}

async fn get_and_get_or<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    assert_eq!(cache.get_or("k", "default".to_owned()).await.unwrap(), "default");
    assert!(!cache.has_key("k").await.unwrap());
    cache.set("k", "value", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
    assert_eq!(cache.get_or("k", "default".to_owned()).await.unwrap(), "value");
    // An unreadable value is an error, not the default.
    assert!(matches!(cache.get_or("k", 1).await, Err(CacheError::Codec(_))));
}

async fn add_writes_only_where_nothing_is_stored<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    assert!(cache.add("k", &1, MINUTE).await.unwrap());
    assert!(!cache.add("k", &2, Timeout::Never).await.unwrap());
    assert_eq!(calls.take(), ["set", "set"]);
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    cx.assert_ttl("shop:1:k", MINUTE).await;
    cache.set("null", &None::<u8>, Timeout::Default).await.unwrap();
    assert!(!cache.add("null", &1, Timeout::Default).await.unwrap());
    assert!(!cache.add("null", &None::<u8>, Timeout::Default).await.unwrap());
    // An equal value is not added either.
    assert!(!cache.add("k", &1, Timeout::Never).await.unwrap());
    cx.assert_ttl("shop:1:k", MINUTE).await;
}

async fn of_16_racers_one_adds<B: KvBackend>(cx: &Cx<B>) {
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(16));
        let racers: Vec<_> = (0..16)
            .map(|racer| {
                let (cache, barrier) = (cx.cache(), Arc::clone(&barrier));
                spawn(async move {
                    barrier.wait().await;
                    (racer, cache.add(&format!("k{round}"), &racer, MINUTE).await.unwrap())
                })
            })
            .collect();
        let mut winners = Vec::new();
        for racer in racers {
            winners.extend(Some(racer.await.unwrap()).filter(|(_, won)| *won));
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(
            cx.cache().get::<usize>(&format!("k{round}")).await.unwrap(),
            Some(winners[0].0)
        );
    }
}

async fn delete_tells_whether_it_was_there_in_one_command<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    calls.take();
    assert!(cache.delete("k").await.unwrap());
    assert!(!cache.delete("k").await.unwrap());
    assert_eq!(calls.take(), ["del", "del"]);
    assert_eq!(cx.stored("shop:1:k").await, None);
}

async fn has_key_sees_a_stored_null<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert!(!cache.has_key("k").await.unwrap());
    cache.set("k", &(), Timeout::Default).await.unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "null");
    assert!(cache.has_key("k").await.unwrap());
}

async fn many_keys_in_one_round_trip<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    cache.set_many([("a", 1), ("b", 2), ("a", 3)], MINUTE).await.unwrap();
    cache
        .set_many(&HashMap::from([("c".to_owned(), 4)]), Timeout::Default)
        .await
        .unwrap();
    assert_eq!(calls.take(), ["set_many", "set_many"]);
    for key in ["a", "b"] {
        cx.assert_ttl(&cache.make_key(key), MINUTE).await;
    }
    cx.assert_ttl("shop:1:c", Duration::from_secs(300)).await;

    let found = cache.get_many::<u8>(&["a", "missing", "b", "a"]).await.unwrap();
    assert_eq!(found, HashMap::from([("a".to_owned(), 3), ("b".to_owned(), 2)]));
    assert_eq!(calls.take(), ["get_many"]);

    assert_eq!(cache.delete_many(["a", "missing", "a", "b"]).await.unwrap(), 2);
    assert_eq!(calls.take(), ["del"]);
    assert_eq!(
        cache.get_many::<u8>(["a", "b", "c"]).await.unwrap(),
        HashMap::from([("c".to_owned(), 4)])
    );
}

async fn an_empty_list_is_no_error<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let none: [&str; 0] = [];
    assert!(cache.get_many::<u8>(none).await.unwrap().is_empty());
    assert_eq!(cache.delete_many(none).await.unwrap(), 0);
    for timeout in [Timeout::Default, Timeout::Never, Duration::ZERO.into()] {
        cache.set_many(Vec::<(String, u8)>::new(), timeout).await.unwrap();
    }
}

async fn incr_and_decr_keep_the_ttl<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    cache.set("k", &10, MINUTE).await.unwrap();
    calls.take();
    assert_eq!(cache.incr("k", 5).await.unwrap(), 15);
    assert_eq!(cache.decr("k", 20).await.unwrap(), -5);
    assert_eq!(cache.incr("k", -1).await.unwrap(), -6);
    assert_eq!(cache.decr("k", 0).await.unwrap(), -6);
    assert_eq!(calls.take(), ["incr"; 4]);
    cx.assert_ttl("shop:1:k", MINUTE).await;
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(-6));
    assert_eq!(cache.decr("k", -3).await.unwrap(), -3);
    assert_eq!(cache.incr("k", 1 << 40).await.unwrap(), (1 << 40) - 3);
    assert_eq!(cache.decr("k", 1 << 62).await.unwrap(), (1 << 40) - 3 - (1 << 62));
}

async fn incr_refuses_a_missing_key<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.decr("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.incr("k", 0).await, Err(CacheError::NotFound)));
    assert!(!cache.has_key("k").await.unwrap());
    let short = cx.clock.short();
    cache.set("k", &1, short).await.unwrap();
    cx.clock.outlive(short).await;
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::NotFound)));
    assert!(!cache.has_key("k").await.unwrap());
}

async fn incr_refuses_what_is_no_integer_and_overflow<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for stored in ["true", "1.0", "\"1\"", "null", "[1]", "18446744073709551615"] {
        cx.put("shop:1:k", stored).await;
        let Err(CacheError::Backend(error)) = cache.incr("k", 1).await else {
            panic!("incr of {stored} did not return an error of the backend")
        };
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), stored);
    }
    cache.set("k", &i64::MAX, MINUTE).await.unwrap();
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::Backend(_))));
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(i64::MAX));
    cx.assert_ttl("shop:1:k", MINUTE).await;
    cache.set("k", &i64::MIN, MINUTE).await.unwrap();
    assert!(matches!(cache.decr("k", 1).await, Err(CacheError::Backend(_))));
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(i64::MIN));
}

async fn concurrent_increments_are_all_counted<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &0, Timeout::Default).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            spawn(async move {
                for _ in 0..100 {
                    cache.incr("k", 1).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(800));
}

async fn get_or_set<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    assert_eq!(cache.get_or_set("k", 1, MINUTE).await.unwrap(), 1);
    assert_eq!(calls.take(), ["get", "set"]);
    cx.assert_ttl("shop:1:k", MINUTE).await;
    assert_eq!(cache.get_or_set("k", 2, Timeout::Never).await.unwrap(), 1);
    assert_eq!(calls.take(), ["get"]);
    cx.assert_ttl("shop:1:k", MINUTE).await;
    cache.set("null", &None::<u8>, Timeout::Default).await.unwrap();
    assert_eq!(cache.get_or_set("null", Some(1), Timeout::Default).await.unwrap(), None);
}

async fn who_loses_the_race_gets_the_other_value<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watched) = cx.counted();
    let backend = cx.backend.clone();
    watched.before("set", async move {
        let first = backend.set("shop:1:k", "7".into(), SetOptions::new()).await;
        assert!(first.unwrap().is_written());
    });
    assert_eq!(cache.get_or_set("k", 1, MINUTE).await.unwrap(), 7);
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "7");
    cx.assert_ttl("shop:1:k", None).await;
}

async fn a_failed_write_of_get_or_set_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    // The read succeeds.
    watch.fail_after(1);
    let answer = cache.get_or_set("k", 1, MINUTE).await;
    assert!(matches!(answer, Err(CacheError::Backend(_))), "{answer:?}");
    watch.fail_after(usize::MAX);
    assert!(!cache.has_key("k").await.unwrap());
}

/// Fails the first, the second and each later call of a move.
async fn a_move_that_fails_midway_is_an_error_and_loses_nothing<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    let moved = cache.with_version(2);
    let mut calls = 0;
    loop {
        cache.set("k", &7, MINUTE).await.unwrap();
        watch.fail_after(calls);
        let answer = cache.incr_version("k", 1).await;
        watch.fail_after(usize::MAX);
        assert_eq!(moved.get_or("k", 7).await.unwrap(), 7);
        let Err(error) = answer else { break };
        assert!(matches!(error, CacheError::Backend(_)), "{error} after {calls} calls");
        assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(7), "after {calls} calls");
        moved.delete("k").await.unwrap();
        calls += 1;
        assert!(calls < 20, "the move of one value takes {calls} calls");
    }
    assert!(calls > 0 && !cache.has_key("k").await.unwrap());
    assert_eq!(moved.get::<u8>("k").await.unwrap(), Some(7));
    cx.assert_ttl("shop:2:k", MINUTE).await;
}

async fn racers_agree_on_one_value<B: KvBackend>(cx: &Cx<B>) {
    let barrier = Arc::new(Barrier::new(16));
    let racers: Vec<_> = (0..16)
        .map(|racer: u32| {
            let (cache, barrier) = (cx.cache(), Arc::clone(&barrier));
            spawn(async move {
                barrier.wait().await;
                cache.get_or_set("k", racer, Timeout::Default).await.unwrap()
            })
        })
        .collect();
    for racer in racers {
        assert_eq!(Some(racer.await.unwrap()), cx.cache().get("k").await.unwrap());
    }
}

async fn incr_version_moves_value_and_ttl<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", "value", MINUTE).await.unwrap();
    cache
        .with_version(3)
        .set("k", "replaced", Timeout::Never)
        .await
        .unwrap();
    assert_eq!(cache.incr_version("k", 2).await.unwrap(), 3);
    assert_eq!(cx.stored("shop:1:k").await, None);
    assert_eq!(
        cache.with_version(3).get::<String>("k").await.unwrap().as_deref(),
        Some("value")
    );
    cx.assert_ttl("shop:3:k", MINUTE).await;
    assert_eq!(cache.with_version(3).decr_version("k", 4).await.unwrap(), -1);
    assert_eq!(cx.stored("shop:3:k").await, None);
    cx.assert_ttl("shop:-1:k", MINUTE).await;

    cache.set("for ever", &None::<u8>, Timeout::Never).await.unwrap();
    assert_eq!(cache.incr_version("for ever", 1).await.unwrap(), 2);
    cx.assert_ttl("shop:2:for ever", None).await;
}

async fn incr_version_of_a_missing_key<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.with_version(2).set("k", &2, Timeout::Never).await.unwrap();
    assert!(matches!(cache.incr_version("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.decr_version("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.incr_version("k", 0).await, Err(CacheError::NotFound)));
    assert_eq!(cache.with_version(2).get::<u8>("k").await.unwrap(), Some(2));
}

async fn incr_version_by_zero_loses_nothing<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(cache.incr_version("k", 0).await.unwrap(), 1);
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    let versionless = cx.builder().key_function(|_, _, key| key.to_owned()).build().unwrap();
    versionless.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(versionless.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(versionless.get::<u8>("k").await.unwrap(), Some(1));
}

async fn racers_lose_nothing<B: KvBackend>(cx: &Cx<B>) {
    for round in 0..20 {
        let key = format!("k{round}");
        cx.cache().set(&key, &round, MINUTE).await.unwrap();
        let movers: Vec<_> = (0..4)
            .map(|_| {
                let (cache, key) = (cx.cache(), key.clone());
                spawn(async move { cache.incr_version(&key, 1).await })
            })
            .collect();
        let mut moved = 0;
        for mover in movers {
            match mover.await.unwrap() {
                Ok(version) => moved += usize::from(version == 2),
                Err(error) => assert!(matches!(error, CacheError::NotFound), "{error}"),
            }
        }
        assert!(moved >= 1);
        assert_eq!(cx.stored(&format!("shop:1:{key}")).await, None);
        assert_eq!(cx.cache().with_version(2).get::<i32>(&key).await.unwrap(), Some(round));
    }
}

async fn a_value_written_in_the_midst_of_it_is_moved_too<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watched) = cx.counted();
    cache.set("k", &1, MINUTE).await.unwrap();
    let backend = cx.backend.clone();
    watched.before("del_if_equals", async move {
        let newer = backend.set("shop:1:k", "2".into(), SetOptions::new()).await;
        assert!(newer.unwrap().is_written());
    });
    assert_eq!(cache.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(cx.stored("shop:1:k").await, None);
    assert_eq!(cx.stored("shop:2:k").await.unwrap(), "2");
    cx.assert_ttl("shop:2:k", None).await;

    // Another caller finishes the same move.
    cache.set("k", &3, MINUTE).await.unwrap();
    let backend = cx.backend.clone();
    watched.before("del_if_equals", async move {
        assert_eq!(backend.del(&["shop:1:k"]).await.unwrap(), 1);
    });
    assert_eq!(cache.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(cx.stored("shop:2:k").await.unwrap(), "3");
}

async fn decr_refuses_what_has_no_negation<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &-1, Timeout::Never).await.unwrap();
    assert!(matches!(
        cache.decr("k", i64::MIN).await,
        Err(CacheError::InvalidArgument(_))
    ));
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(-1));
}

async fn a_version_that_does_not_fit_is_refused<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache().with_version(i64::MAX);
    cache.set("k", &1, Timeout::Never).await.unwrap();
    assert!(matches!(
        cache.incr_version("k", 1).await,
        Err(CacheError::InvalidArgument(_))
    ));
    assert!(matches!(
        cache.with_version(-2).decr_version("k", i64::MAX).await,
        Err(CacheError::InvalidArgument(_))
    ));
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(1));
}

pub(super) async fn cverb_12_a_backend_failure_is_an_error_from_every_verb<H: Harness>(
    context: &Context<'_, H>,
) -> Checked {
    let (outage, kind) = context.outage().await?;
    let cx = context.fresh().await;
    // A watched backend yields at each call, so a verb that calls a broken backend forever is
    // interrupted.
    let (cache, _) = cx.counted();
    let mut group = None;
    part("before the outage", async {
        cache.set("k", &1, Timeout::Default).await.unwrap();
        group = Some(cache.group("g").await.unwrap());
    })
    .await?;
    outage.begin(kind).await;
    let mut checked = every_verb(&cache, kind).await;
    if let (Ok(()), Some(group)) = (&checked, &group) {
        checked = every_verb_of_bytes_groups_and_loaders(&cache, group, kind).await;
    }
    outage.end().await;
    checked
}

/// Does the same as [`every_verb`] for the verbs on bytes and on groups, and for loaders.
async fn every_verb_of_bytes_groups_and_loaders<B: KvBackend>(
    cache: &Cache<B>,
    group: &Group<B>,
    kind: OutageKind,
) -> Checked {
    let fails = |verb, answer| match answer {
        Err(CacheError::Backend(_)) => Ok(()),
        answer => Err(not_the_outage(verb, kind, &answer)),
    };
    fails("get_bytes", cache.get_bytes("k").await.map(drop))?;
    fails("set_bytes", cache.set_bytes("k", "2", Timeout::Default).await)?;
    fails("add_bytes", cache.add_bytes("k", "2", Timeout::Default).await.map(drop))?;
    fails(
        "get_or_set_bytes",
        cache.get_or_set_bytes("k", "2", Timeout::Default).await.map(drop),
    )?;
    fails("group", cache.group("g").await.map(drop))?;
    fails("groups", cache.groups(&["g", "h"]).await.map(drop))?;
    fails("invalidate of a group", group.invalidate().await)?;
    fails("clear of a group", group.clear().await.map(drop))?;
    let loader = Source::open().of(cache.loader("l").fresh_for(MINUTE));
    fails("invalidate of a loader", loader.invalidate("k").await.map(drop))?;
    let refreshing = loader.clone();
    let many = loader.clone();
    let refreshing = spawn(async move { refreshing.refresh("k").await.map(drop) });
    let many = spawn(async move { many.get_many(["k"]).await.map(drop) });
    let answers = [
        ("get of a loader", get(&loader, "k").await.map(drop)),
        ("refresh of a loader", bounded(refreshing).await),
        ("get_many of a loader", bounded(many).await),
    ];
    for (verb, answer) in answers {
        match answer {
            Err(ComputeError::Cache(error)) if matches!(*error, CacheError::Backend(_)) => {}
            answer => return Err(not_the_outage(verb, kind, &answer)),
        }
    }
    Ok(())
}

/// Calls every verb, and stops at the first verb that does not return the backend's error.
async fn every_verb<B: KvBackend>(cache: &Cache<B>, kind: OutageKind) -> Checked {
    let fails = |verb, answer| match answer {
        Err(CacheError::Backend(_)) => Ok(()),
        answer => Err(not_the_outage(verb, kind, &answer)),
    };
    let zero = Duration::ZERO;
    fails("get", cache.get::<u8>("k").await.map(drop))?;
    fails("get_or", cache.get_or("k", 1).await.map(drop))?;
    fails("set", cache.set("k", &1, Timeout::Default).await)?;
    fails("set for zero", cache.set("k", &1, zero).await)?;
    fails("add", cache.add("k", &1, Timeout::Default).await.map(drop))?;
    fails("add for zero", cache.add("k", &1, zero).await.map(drop))?;
    fails("delete", cache.delete("k").await.map(drop))?;
    fails("has_key", cache.has_key("k").await.map(drop))?;
    fails("touch", cache.touch("k", Timeout::Never).await.map(drop))?;
    fails("get_many", cache.get_many::<u8>(["k"]).await.map(drop))?;
    fails("set_many", cache.set_many([("k", 1)], Timeout::Default).await)?;
    fails("set_many for zero", cache.set_many([("k", 1)], zero).await)?;
    fails("delete_many", cache.delete_many(["k"]).await.map(drop))?;
    fails("incr", cache.incr("k", 1).await.map(drop))?;
    fails("decr", cache.decr("k", 1).await.map(drop))?;
    fails("get_or_set", cache.get_or_set("k", 1, Timeout::Default).await.map(drop))?;
    fails("incr_version", cache.incr_version("k", 1).await.map(drop))?;
    fails("incr_version by 0", cache.incr_version("k", 0).await.map(drop))?;
    fails("decr_version", cache.decr_version("k", 1).await.map(drop))?;
    fails("clear", cache.clear().await.map(drop))?;
    let computed = cache.get_or_try_set_with("k", Timeout::Default, || async { Ok::<u8, Infallible>(1) });
    match computed.await {
        Err(ComputeError::Cache(error)) if matches!(*error, CacheError::Backend(_)) => Ok(()),
        answer => Err(not_the_outage("get_or_try_set_with", kind, &answer)),
    }
}
