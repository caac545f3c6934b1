//! Clauses on keys.

use serde::Deserialize;

use super::{
    super::context::{Cx, clauses},
    cases::odd_keys_are_never_taken_for_one_another,
};
use crate::{KvBackend, Timeout};

#[derive(Deserialize)]
struct Golden {
    keys: Vec<Stored>,
}

#[derive(Deserialize)]
struct Stored {
    key_prefix: String,
    version: i64,
    key: String,
    redis_key: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../../tests/data/cache.json")).unwrap()
}

clauses! {
    ckey_01_the_stored_key_is_prefix_version_and_key {
        stored_key_is_prefix_version_and_key
        versions_are_signed_integers
    }
    ckey_02_prefixes_and_versions_never_meet {
        prefixes_and_versions_never_meet
    }
    ckey_03_an_odd_key_is_not_refused {
        a_long_key_is_used_as_it_is
        odd_keys_are_never_taken_for_one_another
    }
    ckey_04_a_key_function_can_be_given {
        a_key_function_can_be_given
    }
}

async fn stored_key_is_prefix_version_and_key<B: KvBackend>(cx: &Cx<B>) {
    let keys = golden().keys;
    assert_eq!(keys.len(), 6);
    for (number, golden) in keys.iter().enumerate() {
        let cache = cx
            .builder()
            .key_prefix(&*golden.key_prefix)
            .version(golden.version)
            .build()
            .unwrap();
        assert_eq!(cache.make_key(&golden.key), golden.redis_key);
        cache.set(&golden.key, &number, Timeout::Default).await.unwrap();
        assert_eq!(cx.stored(&golden.redis_key).await.unwrap(), number.to_string());
    }
}

async fn versions_are_signed_integers<B: KvBackend>(cx: &Cx<B>) {
    for version in [i64::MIN, -1, 0, 10, i64::MAX] {
        let cache = cx.cache().with_version(version);
        cache.set("k", &version, Timeout::Default).await.unwrap();
        assert_eq!(
            cx.stored(&format!("shop:{version}:k")).await.unwrap(),
            version.to_string()
        );
        assert_eq!(cache.version(), version);
    }
}

async fn prefixes_and_versions_never_meet<B: KvBackend>(cx: &Cx<B>) {
    let mut caches = Vec::new();
    for prefix in [
        "app", "app2", "a*b", "axb", "a?b", "a[x]b", "a\\b", "", "app:", "app::", ":app", " app", "app ", "App", "é",
        "e\u{301}",
    ] {
        let cache = cx.builder().key_prefix(prefix).build().unwrap();
        assert_eq!(cache.make_key("k"), format!("{prefix}:1:k"));
        caches.extend([cache.with_version(2), cache.with_version(11), cache]);
    }
    for (number, cache) in caches.iter().enumerate() {
        assert_eq!(cache.get::<usize>("k").await.unwrap(), None);
        cache.set("k", &number, Timeout::Default).await.unwrap();
    }
    for (number, cache) in caches.iter().enumerate() {
        assert_eq!(cache.get::<usize>("k").await.unwrap(), Some(number));
    }
    for (number, cache) in caches.iter().enumerate() {
        assert_eq!(cache.get::<usize>("k").await.unwrap(), Some(number));
        assert!(cache.delete("k").await.unwrap());
    }
}

async fn a_long_key_is_used_as_it_is<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for key in [
        "k".repeat(300),
        "é".repeat(64),
        "k".repeat(121),
        "tab\tnew\nline nul\0".to_owned(),
        format!("{} ", "k".repeat(300)),
        format!(" {}\n", "k".repeat(300)),
    ] {
        cache.set(&key, &1, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<u8>(&key).await.unwrap(), Some(1));
        assert_eq!(cx.stored(&format!("shop:1:{key}")).await.unwrap(), "1");
    }
}

async fn a_key_function_can_be_given<B: KvBackend>(cx: &Cx<B>) {
    let function = |prefix: &str, version: i64, key: &str| format!("{key}@{version}/{prefix}");
    let cache = cx.builder().key_prefix("shop").key_function(function).build().unwrap();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cache
        .with_version(2)
        .set_many([("k", 2)], Timeout::Default)
        .await
        .unwrap();
    assert_eq!(cx.stored("k@1/shop").await.unwrap(), "1");
    assert_eq!(cx.stored("k@2/shop").await.unwrap(), "2");
    assert_eq!(cache.make_key("k"), "k@1/shop");
    assert_eq!(cache.get_many::<u8>(["k"]).await.unwrap()["k"], 1);
    let view = cache.with_version(-3);
    view.set("k", &3, Timeout::Default).await.unwrap();
    assert_eq!(cx.stored("k@-3/shop").await.unwrap(), "3");
    assert_eq!(view.get_many::<u8>(["k", "other"]).await.unwrap()["k"], 3);
    assert_eq!(view.delete_many(["k", "other"]).await.unwrap(), 1);
    assert_eq!(cx.stored("k@-3/shop").await, None);
}
