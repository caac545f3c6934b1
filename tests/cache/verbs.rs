//! Verbs.

use std::{collections::HashMap, sync::Arc, time::Duration};

use codex_kv::{Cache, CacheError, ErrorKind, KvBackend, Timeout};
use tokio::sync::Barrier;

use crate::support::{Cx, Meddling};

clauses! {
    cverb_01_get_and_get_or
    cverb_02_add_writes_only_where_nothing_is_stored
    cverb_02_of_16_racers_one_adds
    cverb_03_delete_tells_whether_it_was_there_in_one_command
    cverb_04_has_key_sees_a_stored_null
    cverb_05_many_keys_in_one_round_trip
    cverb_05_an_empty_list_is_no_error
    cverb_06_incr_and_decr_keep_the_ttl
    cverb_06_incr_refuses_a_missing_key
    cverb_06_incr_refuses_what_is_no_integer_and_overflow
    cverb_06_concurrent_increments_are_all_counted
    cverb_07_get_or_set
    cverb_07_racers_agree_on_one_value
    cverb_09_incr_version_moves_value_and_ttl
    cverb_09_incr_version_of_a_missing_key
    cverb_09_incr_version_by_zero_loses_nothing
    cverb_09_racers_lose_nothing
    cverb_09_a_value_written_in_the_midst_of_it_is_moved_too
}

const MINUTE: Duration = Duration::from_secs(60);

async fn cverb_01_get_and_get_or<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    assert_eq!(cache.get_or("k", "default".to_owned()).await.unwrap(), "default");
    assert!(!cache.has_key("k").await.unwrap());
    cache.set("k", "value", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("value"));
    assert_eq!(cache.get_or("k", "default".to_owned()).await.unwrap(), "value");
}

async fn cverb_02_add_writes_only_where_nothing_is_stored<B: KvBackend + Clone>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    assert!(cache.add("k", &1, MINUTE).await.unwrap());
    assert!(!cache.add("k", &2, Timeout::Never).await.unwrap());
    assert_eq!(calls.take(), ["set", "set"]);
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    cx.assert_ttl("shop:1:k", MINUTE).await;
    cache.set("null", &None::<u8>, Timeout::Default).await.unwrap();
    assert!(!cache.add("null", &1, Timeout::Default).await.unwrap());
}

async fn cverb_02_of_16_racers_one_adds<B: KvBackend + Clone>(cx: &Cx<B>) {
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(16));
        let racers: Vec<_> = (0..16)
            .map(|racer| {
                let (cache, barrier) = (cx.cache(), Arc::clone(&barrier));
                tokio::spawn(async move {
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

async fn cverb_03_delete_tells_whether_it_was_there_in_one_command<B: KvBackend + Clone>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    calls.take();
    assert!(cache.delete("k").await.unwrap());
    assert!(!cache.delete("k").await.unwrap());
    assert_eq!(calls.take(), ["del", "del"]);
    assert_eq!(cx.stored("shop:1:k").await, None);
}

async fn cverb_04_has_key_sees_a_stored_null<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert!(!cache.has_key("k").await.unwrap());
    cache.set("k", &(), Timeout::Default).await.unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "null");
    assert!(cache.has_key("k").await.unwrap());
}

async fn cverb_05_many_keys_in_one_round_trip<B: KvBackend + Clone>(cx: &Cx<B>) {
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

async fn cverb_05_an_empty_list_is_no_error<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    let none: [&str; 0] = [];
    assert!(cache.get_many::<u8>(none).await.unwrap().is_empty());
    assert_eq!(cache.delete_many(none).await.unwrap(), 0);
    for timeout in [Timeout::Default, Timeout::Never, Duration::ZERO.into()] {
        cache.set_many(Vec::<(String, u8)>::new(), timeout).await.unwrap();
    }
}

async fn cverb_06_incr_and_decr_keep_the_ttl<B: KvBackend + Clone>(cx: &Cx<B>) {
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
}

async fn cverb_06_incr_refuses_a_missing_key<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.decr("k", 1).await, Err(CacheError::NotFound)));
    assert!(!cache.has_key("k").await.unwrap());
    cache.set("k", &1, Duration::from_millis(40)).await.unwrap();
    cx.pass(Duration::from_millis(60)).await;
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::NotFound)));
    assert!(!cache.has_key("k").await.unwrap());
}

async fn cverb_06_incr_refuses_what_is_no_integer_and_overflow<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    for stored in ["true", "1.0", "\"1\"", "null", "[1]", "18446744073709551615"] {
        cx.put("shop:1:k", stored).await;
        let Err(CacheError::Backend(error)) = cache.incr("k", 1).await else {
            panic!("{stored}")
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

async fn cverb_06_concurrent_increments_are_all_counted<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &0, Timeout::Default).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move {
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

async fn cverb_07_get_or_set<B: KvBackend + Clone>(cx: &Cx<B>) {
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

async fn cverb_07_racers_agree_on_one_value<B: KvBackend + Clone>(cx: &Cx<B>) {
    let barrier = Arc::new(Barrier::new(16));
    let racers: Vec<_> = (0..16)
        .map(|racer: u32| {
            let (cache, barrier) = (cx.cache(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                cache.get_or_set("k", racer, Timeout::Default).await.unwrap()
            })
        })
        .collect();
    for racer in racers {
        assert_eq!(Some(racer.await.unwrap()), cx.cache().get("k").await.unwrap());
    }
}

async fn cverb_09_incr_version_moves_value_and_ttl<B: KvBackend + Clone>(cx: &Cx<B>) {
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

async fn cverb_09_incr_version_of_a_missing_key<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.with_version(2).set("k", &2, Timeout::Never).await.unwrap();
    assert!(matches!(cache.incr_version("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.decr_version("k", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(cache.incr_version("k", 0).await, Err(CacheError::NotFound)));
    assert_eq!(cache.with_version(2).get::<u8>("k").await.unwrap(), Some(2));
}

async fn cverb_09_incr_version_by_zero_loses_nothing<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(cache.incr_version("k", 0).await.unwrap(), 1);
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    let versionless = cx.builder().key_function(|_, _, key| key.to_owned()).build().unwrap();
    versionless.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(versionless.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(versionless.get::<u8>("k").await.unwrap(), Some(1));
}

async fn cverb_09_racers_lose_nothing<B: KvBackend + Clone>(cx: &Cx<B>) {
    for round in 0..20 {
        let key = format!("k{round}");
        cx.cache().set(&key, &round, MINUTE).await.unwrap();
        let movers: Vec<_> = (0..4)
            .map(|_| {
                let (cache, key) = (cx.cache(), key.clone());
                tokio::spawn(async move { cache.incr_version(&key, 1).await })
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

async fn cverb_09_a_value_written_in_the_midst_of_it_is_moved_too<B: KvBackend + Clone>(cx: &Cx<B>) {
    let meddling = Meddling {
        inner: cx.backend.clone(),
        meddled: Arc::default(),
    };
    let cache = Cache::builder(meddling).key_prefix("shop").build().unwrap();
    cache.set("k", &1, MINUTE).await.unwrap();
    assert_eq!(cache.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(cx.stored("shop:1:k").await, None);
    assert_eq!(cx.stored("shop:2:k").await.unwrap(), "2");
    cx.assert_ttl("shop:2:k", None).await;
}
