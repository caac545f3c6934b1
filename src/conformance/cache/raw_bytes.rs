//! Clauses on raw bytes.

use std::time::Duration;

use super::{
    super::context::{Cx, clauses},
    MINUTE,
    load::{Source, asked},
};
use crate::{CacheError, KvBackend, SetOptions, Timeout};

clauses! {
    cval_10_bytes_are_stored_as_they_are {
        bytes_are_stored_as_they_are
        bytes_have_the_caches_keys_timeouts_and_versions
        add_bytes_and_get_or_set_bytes
        bytes_that_look_like_a_lease_are_bytes
        a_failing_store_is_an_error_of_the_verbs_on_bytes
    }
}

async fn bytes_are_stored_as_they_are<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let every_byte: Vec<u8> = (0..=255).collect();
    let values = [
        vec![0; 300],
        Vec::new(),
        every_byte,
        b"null".to_vec(),
        b"{\"not\": json".to_vec(),
        b"text with white space behind it \t\r\n   ".to_vec(),
        vec![b' '; 4096],
        vec![0xff; 1 << 20],
    ];
    for value in values {
        cache.set_bytes("k", value.clone(), Timeout::Default).await.unwrap();
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), value, "{} bytes", value.len());
        assert_eq!(cache.get_bytes("k").await.unwrap().unwrap(), value);
    }
    // JSON bytes can be read as a value, and a value as its bytes.
    cache.set_bytes("k", "[1,2]", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Vec<u8>>("k").await.unwrap(), Some(vec![1, 2]));
    cache.set("k", "ü", Timeout::Default).await.unwrap();
    assert_eq!(cache.get_bytes("k").await.unwrap().unwrap(), "\"ü\"");
    assert_eq!(cache.get_bytes("missing").await.unwrap(), None);
}

async fn bytes_have_the_caches_keys_timeouts_and_versions<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set_bytes("k", "a", Timeout::Default).await.unwrap();
    cx.assert_ttl("shop:1:k", MINUTE * 5).await;
    cache.set_bytes("k", "a", MINUTE).await.unwrap();
    cx.assert_ttl("shop:1:k", MINUTE).await;
    cache.set_bytes("k", "a", None).await.unwrap();
    cx.assert_ttl("shop:1:k", None).await;
    cache.with_version(2).set_bytes("k", "b", MINUTE).await.unwrap();
    assert_eq!(cache.get_bytes("k").await.unwrap().unwrap(), "a");
    cache.set_bytes("k", "c", Duration::ZERO).await.unwrap();
    assert_eq!(cache.get_bytes("k").await.unwrap(), None);
    assert_eq!(cache.with_version(2).get_bytes("k").await.unwrap().unwrap(), "b");
}

async fn add_bytes_and_get_or_set_bytes<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let (zeros, ones) = (vec![0; 300], vec![1; 300]);
    assert!(cache.add_bytes("k", zeros.clone(), Timeout::Default).await.unwrap());
    assert!(!cache.add_bytes("k", ones.clone(), Timeout::Default).await.unwrap());
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), zeros);
    assert!(!cache.add_bytes("free", ones.clone(), Duration::ZERO).await.unwrap());
    assert_eq!(
        cache
            .get_or_set_bytes("k", ones.clone(), Timeout::Default)
            .await
            .unwrap(),
        zeros
    );
    assert_eq!(
        cache
            .get_or_set_bytes("new", ones.clone(), Timeout::Default)
            .await
            .unwrap(),
        ones
    );
    assert_eq!(cx.stored("shop:1:new").await.unwrap(), ones);
    for key in ["k", "new"] {
        cx.assert_ttl(&cache.make_key(key), MINUTE * 5).await;
    }
    assert!(cache.add_bytes("added", "a", MINUTE).await.unwrap());
    cache.get_or_set_bytes("set", "a", MINUTE).await.unwrap();
    for key in ["added", "set"] {
        cx.assert_ttl(&cache.make_key(key), MINUTE).await;
    }
    let zero = Duration::ZERO;
    assert_eq!(cache.get_or_set_bytes("zero", ones.clone(), zero).await.unwrap(), ones);
    assert_eq!(cx.stored("shop:1:zero").await, None);

    // Another writer is faster.
    let (cache, watched) = cx.counted();
    let backend = cx.backend.clone();
    watched.before("set", async move {
        let first = backend.set("shop:1:raced", "first".into(), SetOptions::new()).await;
        assert!(first.unwrap().is_written());
    });
    assert_eq!(cache.get_or_set_bytes("raced", ones, MINUTE).await.unwrap(), "first");
}

async fn a_failing_store_is_an_error_of_the_verbs_on_bytes<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    for calls in [0, 1] {
        watch.fail_after(calls);
        let answer = cache.get_or_set_bytes("k", "1", MINUTE).await;
        assert!(
            matches!(answer, Err(CacheError::Backend(_))),
            "{answer:?} after {calls} calls"
        );
    }
    watch.fail_after(0);
    let answers = [
        cache.get_bytes("k").await.map(drop),
        cache.set_bytes("k", "1", MINUTE).await,
        cache.set_bytes("k", "1", Duration::ZERO).await,
        cache.add_bytes("k", "1", MINUTE).await.map(drop),
        cache.add_bytes("k", "1", Duration::ZERO).await.map(drop),
    ];
    for (verb, answer) in answers.into_iter().enumerate() {
        assert!(
            matches!(answer, Err(CacheError::Backend(_))),
            "{answer:?} of verb {verb}"
        );
    }
    assert_eq!(cx.stored("shop:1:k").await, None);
}

/// Stores the bytes that a lease leaves in the store, as a copy of the store would.
async fn bytes_that_look_like_a_lease_are_bytes<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let holder = Source::gated();
    let holding = asked(&holder.of(cache.loader("l").fresh_for(MINUTE).lease(MINUTE)), "leased");
    holder.entered.notified().await;
    let marked = cx.stored("shop:1:leased").await.unwrap();
    cache.set_bytes("set", marked.clone(), MINUTE).await.unwrap();
    assert!(cache.add_bytes("add", marked.clone(), MINUTE).await.unwrap());
    cache.get_or_set_bytes("or", marked.clone(), MINUTE).await.unwrap();
    for cache in [&cache, &cx.cache()] {
        for key in ["set", "add", "or"] {
            assert_eq!(cache.get_bytes(key).await.unwrap().as_ref(), Some(&marked), "{key}");
        }
    }
    holder.leave();
    holding.await.unwrap().unwrap();
}
