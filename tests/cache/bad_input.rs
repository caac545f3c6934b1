//! What bad input gives, and that nothing is changed by it.

use std::{error::Error as _, time::Duration};

use codex_kv::{Cache, CacheError, ErrorKind, KvBackend, Timeout, memory::MemoryBackend, redis::RedisBackend};
use codex_testkit::{redis::RedisServer, require};

use crate::support::{Cx, Down};

clauses! {
    ctime_05_a_timeout_too_long_is_refused
    cverb_06_decr_refuses_what_has_no_negation
    cverb_09_a_version_that_does_not_fit_is_refused
}

async fn ctime_05_a_timeout_too_long_is_refused<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, Timeout::Never).await.unwrap();
    let refusals = [
        cache.set("k", &2, Duration::MAX).await,
        cache.add("new", &2, Duration::MAX).await.map(drop),
        cache.set_many([("k", 2)], Duration::MAX).await,
        cache.touch("k", Duration::MAX).await.map(drop),
        cache.get_or_set("new", 2, Duration::MAX).await.map(drop),
    ];
    for refusal in refusals {
        let Err(CacheError::Backend(error)) = refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    cx.assert_ttl("shop:1:k", None).await;
    assert!(!cache.has_key("new").await.unwrap());
}

async fn cverb_06_decr_refuses_what_has_no_negation<B: KvBackend + Clone>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &-1, Timeout::Never).await.unwrap();
    assert!(matches!(
        cache.decr("k", i64::MIN).await,
        Err(CacheError::InvalidArgument(_))
    ));
    assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(-1));
}

async fn cverb_09_a_version_that_does_not_fit_is_refused<B: KvBackend + Clone>(cx: &Cx<B>) {
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

#[test]
fn ctime_01_a_default_timeout_too_long_is_refused_by_the_builder() {
    let built = Cache::builder(MemoryBackend::new())
        .default_timeout(Duration::MAX)
        .build();
    let Err(error @ CacheError::InvalidArgument(_)) = built else {
        panic!("built")
    };
    assert!(error.to_string().contains("too long"), "{error}");
}

#[tokio::test]
async fn cverb_12_a_backend_that_is_down_is_an_error_from_every_verb() {
    let cache = Cache::builder(Down).key_prefix("shop").build().unwrap();
    let zero = Duration::ZERO;
    let answers: Vec<(&str, Result<(), CacheError>)> = vec![
        ("get", cache.get::<u8>("k").await.map(drop)),
        ("get_or", cache.get_or("k", 1).await.map(drop)),
        ("set", cache.set("k", &1, Timeout::Default).await),
        ("set zero", cache.set("k", &1, zero).await),
        ("add", cache.add("k", &1, Timeout::Default).await.map(drop)),
        ("add zero", cache.add("k", &1, zero).await.map(drop)),
        ("delete", cache.delete("k").await.map(drop)),
        ("has_key", cache.has_key("k").await.map(drop)),
        ("touch", cache.touch("k", Timeout::Never).await.map(drop)),
        ("get_many", cache.get_many::<u8>(["k"]).await.map(drop)),
        ("set_many", cache.set_many([("k", 1)], Timeout::Default).await),
        ("set_many zero", cache.set_many([("k", 1)], zero).await),
        ("delete_many", cache.delete_many(["k"]).await.map(drop)),
        ("incr", cache.incr("k", 1).await.map(drop)),
        ("decr", cache.decr("k", 1).await.map(drop)),
        ("get_or_set", cache.get_or_set("k", 1, Timeout::Default).await.map(drop)),
        ("incr_version", cache.incr_version("k", 1).await.map(drop)),
        ("incr_version by 0", cache.incr_version("k", 0).await.map(drop)),
        ("decr_version", cache.decr_version("k", 1).await.map(drop)),
        ("clear", cache.clear().await.map(drop)),
    ];
    for (verb, answer) in answers {
        let Err(CacheError::Backend(error)) = answer else {
            panic!("{verb}: {answer:?}")
        };
        assert_eq!(error.kind(), ErrorKind::Connection, "{verb}");
    }

    let computed = cache
        .get_or_try_set_with("k", Timeout::Default, || async { Ok::<u8, CacheError>(1) })
        .await;
    let error = computed.unwrap_err();
    assert!(error.source().unwrap().to_string().contains("down"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cverb_12_a_redis_that_is_down_is_an_error() {
    let server = require!("redis", RedisServer::start());
    let backend = RedisBackend::connect(&server.url()).await.unwrap();
    let cache = Cache::builder(backend).key_prefix("shop").build().unwrap();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    server.kill();
    for answer in [
        cache.get::<u8>("k").await.map(drop),
        cache.set("k", &2, Timeout::Default).await,
        cache.delete("k").await.map(drop),
        cache.incr("k", 1).await.map(drop),
        cache.clear().await.map(drop),
    ] {
        let Err(CacheError::Backend(error)) = answer else {
            panic!("{answer:?}")
        };
        assert!(
            matches!(error.kind(), ErrorKind::Connection | ErrorKind::Timeout),
            "{error:?}"
        );
    }
}
