//! Clauses on `clear`.

use super::super::context::{Cx, clauses};
use crate::{CacheError, KvBackend, Timeout};

clauses! {
    cverb_10_clear_scans_and_deletes_its_prefix {
        clear_scans_and_deletes_its_prefix
        clear_with_an_empty_prefix_refuses
        a_clear_that_fails_midway_is_an_error
    }
    cverb_11_clear_removes_every_version_and_nothing_else {
        clear_removes_every_version_and_nothing_else
        clear_takes_the_prefix_literally
        clear_with_a_key_function
        clear_of_a_group_with_a_key_function
    }
}

async fn clear_scans_and_deletes_its_prefix<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    let keys: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    cache
        .set_many(keys.iter().map(|key| (key, 0)), Timeout::Default)
        .await
        .unwrap();
    cx.put("other", "1").await;
    calls.take();
    assert_eq!(cache.clear().await.unwrap(), 5000);
    let verbs = calls.take();
    assert!(verbs.iter().all(|verb| matches!(*verb, "scan" | "del")), "{verbs:?}");
    assert!(cache.get_many::<u8>(&keys).await.unwrap().is_empty());
    assert!(cx.stored("other").await.is_some());
    assert_eq!(cache.clear().await.unwrap(), 0);
}

/// Fails the first, the second and each later call of a clear.
async fn a_clear_that_fails_midway_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    let keys: Vec<String> = (0..2500).map(|number| number.to_string()).collect();
    cache
        .set_many(keys.iter().map(|key| (key, 0)), Timeout::Default)
        .await
        .unwrap();
    let mut calls = 0;
    loop {
        cache.set("k", &0, Timeout::Default).await.unwrap();
        watch.fail_after(calls);
        let answer = cache.clear().await;
        watch.fail_after(usize::MAX);
        let Err(error) = answer else { break };
        assert!(matches!(error, CacheError::Backend(_)), "{error} after {calls} calls");
        calls += 1;
        assert!(calls < 2500, "a clear of 2501 values takes {calls} calls");
    }
    assert!(calls > 0 && cache.get_many::<u8>(&keys).await.unwrap().is_empty());
    assert!(
        !cache.has_key("k").await.unwrap(),
        "a clear that failed was reported as done"
    );
    let group = cache.group("g").await.unwrap();
    watch.fail_after(0);
    assert!(matches!(group.clear().await, Err(CacheError::Backend(_))));
}

async fn clear_with_an_empty_prefix_refuses<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.builder().build().unwrap();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    let Err(error @ CacheError::InvalidArgument(_)) = cache.clear().await else {
        panic!("it cleared without a prefix")
    };
    assert!(error.to_string().contains("needs a key prefix"), "{error}");
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
}

async fn clear_removes_every_version_and_nothing_else<B: KvBackend>(cx: &Cx<B>) {
    let own = [
        "shop:1:k",
        "shop:1:",
        "shop:0:k",
        "shop:42:a:b:c",
        "shop:-7:k",
        "shop:9223372036854775807:k",
        "shop:1:1x:",
        "shop:1:a*b[c]?d\\",
        "shop:1: two\nlines \0",
    ];
    let others = [
        "shop:session:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "shop:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "shop:12345678901234567890123456789012",
        "shop:1x:k",
        "shop:x1:k",
        "shop::k",
        "shop:-:k",
        "shop:--1:k",
        "shop:+1:k",
        "shop:01:k",
        "shop:1 :k",
        "shop:1",
        "shop:",
        "shop",
        "shop2:1:k",
        "app2:1:k",
        "Shop:1:k",
        "x:shop:1:k",
        ":1:k",
        "shop:9223372036854775808:k",
    ];
    for key in own.iter().chain(&others) {
        cx.put(key, "1").await;
    }
    assert_eq!(cx.cache().with_version(3).clear().await.unwrap(), own.len() as u64);
    for key in own {
        assert_eq!(cx.stored(key).await, None, "{key}");
    }
    for key in others {
        assert!(cx.stored(key).await.is_some(), "it removed {key}");
    }
}

async fn clear_takes_the_prefix_literally<B: KvBackend>(cx: &Cx<B>) {
    let prefixes = [
        "a*b", "axb", "a?b", "a[x]b", "a\\*b", "a^b", "a-b", "*", "é", "a:b", "a", "a:", ":", " a", "A",
    ];
    for prefix in prefixes {
        cx.put(&format!("{prefix}:1:k"), "1").await;
    }
    for (number, prefix) in prefixes.into_iter().enumerate() {
        let cache = cx.builder().key_prefix(prefix).build().unwrap();
        assert_eq!(cache.clear().await.unwrap(), 1, "cleared of the prefix {prefix}");
        assert_eq!(cx.stored(&format!("{prefix}:1:k")).await, None, "{prefix}");
        for other in &prefixes[number + 1..] {
            assert!(
                cx.stored(&format!("{other}:1:k")).await.is_some(),
                "{prefix} took {other}"
            );
        }
    }
}

async fn clear_with_a_key_function<B: KvBackend>(cx: &Cx<B>) {
    let hashed = cx
        .builder()
        .key_prefix("shop")
        .key_function(|prefix, version, key| format!("{prefix}:{version}:#{key}"));
    let hashed = hashed.build().unwrap();
    hashed.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(hashed.clear().await.unwrap(), 1);

    let foreign = cx
        .builder()
        .key_prefix("shop")
        .key_function(|prefix, _, key| format!("{key}/{prefix}"));
    let foreign = foreign.build().unwrap();
    foreign.set("k", &1, Timeout::Default).await.unwrap();
    assert!(matches!(foreign.clear().await, Err(CacheError::InvalidArgument(_))));
    assert!(foreign.has_key("k").await.unwrap());

    // Hashes long keys, as functions for memcached do.
    let shortened = cx.builder().key_prefix("shop").key_function(|prefix, version, key| {
        if key.len() > 250 {
            format!("hashed/{}", key.len())
        } else {
            format!("{prefix}:{version}:{key}")
        }
    });
    let shortened = shortened.build().unwrap();
    shortened.set("k", &1, Timeout::Default).await.unwrap();
    assert!(matches!(shortened.clear().await, Err(CacheError::InvalidArgument(_))));
    assert!(shortened.has_key("k").await.unwrap());
}

async fn clear_of_a_group_with_a_key_function<B: KvBackend>(cx: &Cx<B>) {
    let marked = cx
        .builder()
        .key_prefix("shop")
        .key_function(|prefix, version, key| format!("{prefix}:{version}:#{key}"));
    let marked = marked.build().unwrap().group("g").await.unwrap();
    marked.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(marked.clear().await.unwrap(), 1);

    // The start of the stored key says nothing about its group.
    let reversed = cx.builder().key_prefix("shop").key_function(|prefix, version, key| {
        let key: String = key.chars().rev().collect();
        format!("{prefix}:{version}:{key}")
    });
    let reversed = reversed.build().unwrap().group("g").await.unwrap();
    reversed.set("k", &1, Timeout::Default).await.unwrap();
    assert!(matches!(reversed.clear().await, Err(CacheError::InvalidArgument(_))));
    assert!(reversed.has_key("k").await.unwrap());
}
