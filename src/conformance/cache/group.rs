//! Clauses on groups.

use std::sync::Arc;

use codex_testkit::suite::spawn;

use super::super::context::{Cx, clauses};
use crate::{CacheError, KvBackend, Timeout};

clauses! {
    group_01_a_group_is_a_cache_under_a_random_generation {
        a_group_is_a_cache_of_its_own
        invalidate_writes_a_new_generation_whatever_the_group_holds
        a_value_of_several_groups_ends_with_each
        racers_for_a_new_group_agree
        a_group_without_a_name_is_refused
        views_and_clones_stay_in_the_group
        a_group_with_a_key_function_is_a_cache_of_its_own
        every_verb_stays_in_the_group
        odd_names_are_groups_of_their_own
        a_group_of_a_group_ends_with_it
        a_failing_store_is_an_error_of_a_group
    }
    group_02_old_values_are_never_seen_under_a_new_generation {
        a_value_stored_after_the_invalidation_is_not_seen
    }
    group_03_a_lost_record_is_replaced_by_a_new_generation {
        a_lost_record_is_replaced
    }
}

async fn a_group_is_a_cache_of_its_own<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let (user, other) = (
        cache.group("user:42").await.unwrap(),
        cache.group("user:4").await.unwrap(),
    );
    user.set("k", "of 42", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("k").await.unwrap(), None);
    assert_eq!(other.get::<String>("k").await.unwrap(), None);
    // A handle that another process creates later.
    let again = cx.cache().group("user:42").await.unwrap();
    cx.assert_ttl("shop:1:group:user:42", None).await;
    assert_eq!(again.get::<String>("k").await.unwrap().as_deref(), Some("of 42"));
    let key = user.make_key("k");
    assert!(
        key.starts_with("shop:1:"),
        "the key of a group's value is not one of its cache"
    );
    assert_eq!(cx.stored(&key).await.unwrap(), "\"of 42\"");
    // The generation is read once per handle.
    let (counted, calls) = cx.counted();
    let handle = counted.group("user:42").await.unwrap();
    assert_eq!(calls.take().len(), 1);
    handle.get::<String>("k").await.unwrap();
    handle.get::<String>("k").await.unwrap();
    assert_eq!(calls.take(), ["get", "get"]);
    // `clear` of a group removes the group's own values.
    other.set("k", "of 4", Timeout::Default).await.unwrap();
    cache.set("plain", &1, Timeout::Default).await.unwrap();
    assert_eq!(other.clear().await.unwrap(), 1);
    assert!(user.has_key("k").await.unwrap() && cache.has_key("plain").await.unwrap());
    // `clear` of the cache removes groups too.
    cache.clear().await.unwrap();
    assert_eq!(user.get::<String>("k").await.unwrap(), None);
}

async fn invalidate_writes_a_new_generation_whatever_the_group_holds<B: KvBackend>(cx: &Cx<B>) {
    let (cache, calls) = cx.counted();
    let group = cache.group("g").await.unwrap();
    let mut seen = vec![group.make_key("")];
    for size in [0, 1, 500] {
        let entries = (0..size).map(|number| (number.to_string(), number));
        group.set_many(entries, Timeout::Default).await.unwrap();
        let other = cache.group("g").await.unwrap();
        calls.take();
        other.invalidate().await.unwrap();
        assert_eq!(calls.take().len(), 1, "an invalidation of {size} values");
        assert_eq!(other.get::<u32>("0").await.unwrap(), None);
        // An older handle does not read the new generation; a new handle does.
        let fresh = cache.group("g").await.unwrap();
        assert!(fresh.get_many::<u32>(["0", "1", "499"]).await.unwrap().is_empty());
        assert_eq!(fresh.make_key(""), other.make_key(""));
        seen.push(fresh.make_key(""));
        // A record that expired would end the group with it.
        cx.assert_ttl("shop:1:group:g", None).await;
    }
    let generation = seen[0].len() - "shop:1::".len();
    assert!(
        generation >= 32,
        "a generation of {generation} characters can come twice"
    );
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4, "a generation came twice");
}

async fn a_value_of_several_groups_ends_with_each<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for end in ["user:42", "tenant:7"] {
        let both = cache.groups(&["user:42", "tenant:7"]).await.unwrap();
        both.set("k", &1, Timeout::Default).await.unwrap();
        let turned = cache.groups(&["tenant:7", "user:42", "tenant:7"]).await.unwrap();
        assert_eq!(turned.get::<u8>("k").await.unwrap(), Some(1));
        // Each name on its own is a different group.
        assert_eq!(cache.group(end).await.unwrap().get::<u8>("k").await.unwrap(), None);
        cache.group(end).await.unwrap().invalidate().await.unwrap();
        let both = cache.groups(&["user:42", "tenant:7"]).await.unwrap();
        assert_eq!(both.get::<u8>("k").await.unwrap(), None, "after the end of {end}");
    }
    let both = cache.groups(&["user:42", "tenant:7"]).await.unwrap();
    let alone = cache.group("tenant:7").await.unwrap();
    alone.set("k", &1, Timeout::Default).await.unwrap();
    let other = cache.group("user:42").await.unwrap();
    other.set("k", &1, Timeout::Default).await.unwrap();
    both.invalidate().await.unwrap();
    for end in ["tenant:7", "user:42"] {
        let alone = cache.group(end).await.unwrap();
        assert_eq!(
            alone.get::<u8>("k").await.unwrap(),
            None,
            "after the end of both: {end}"
        );
    }
}

async fn racers_for_a_new_group_agree<B: KvBackend>(cx: &Cx<B>) {
    for round in 0..10 {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                let cache = cx.cache();
                spawn(async move { cache.group(&format!("g{round}")).await.unwrap().make_key("k") })
            })
            .collect();
        let mut keys = Vec::new();
        for racer in racers {
            keys.push(racer.await.unwrap());
        }
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
    }
    // Another process is faster by one step.
    let (cache, calls) = cx.counted();
    let other = cx.cache();
    calls.before("set", async move { drop(other.group("raced").await.unwrap()) });
    let raced = cache.group("raced").await.unwrap().make_key("k");
    assert_eq!(raced, cx.cache().group("raced").await.unwrap().make_key("k"));
}

async fn a_group_without_a_name_is_refused<B: KvBackend>(cx: &Cx<B>) {
    let none: [&str; 0] = [];
    let answer = cx.cache().groups(&none).await;
    assert!(matches!(answer, Err(CacheError::InvalidArgument(_))), "{answer:?}");
}

async fn views_and_clones_stay_in_the_group<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let group = cache.group("g").await.unwrap();
    let view = group.with_version(2);
    view.set("k", &2, Timeout::Default).await.unwrap();
    assert_eq!(cache.with_version(2).get::<u8>("k").await.unwrap(), None);
    assert_eq!(group.get::<u8>("k").await.unwrap(), None);
    assert_eq!(group.with_version(2).get::<u8>("k").await.unwrap(), Some(2));

    // Clones and views share the generation of the handle.
    let clone = group.clone();
    clone.set("k", &1, Timeout::Default).await.unwrap();
    clone.invalidate().await.unwrap();
    for handle in [&*group, &*clone, &group.with_version(1)] {
        assert_eq!(handle.get::<u8>("k").await.unwrap(), None);
    }
    assert_eq!(view.get::<u8>("k").await.unwrap(), None);
    assert_eq!(group.make_key("k"), clone.make_key("k"));
}

async fn a_group_with_a_key_function_is_a_cache_of_its_own<B: KvBackend>(cx: &Cx<B>) {
    let function = |prefix: &str, version: i64, key: &str| format!("{key}@{version}/{prefix}");
    let cache = cx.builder().key_prefix("shop").key_function(function).build().unwrap();
    let (one, other) = (cache.group("one").await.unwrap(), cache.group("other").await.unwrap());
    one.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<u8>("k").await.unwrap(), None);
    assert_eq!(other.get::<u8>("k").await.unwrap(), None);
    assert_eq!(one.get::<u8>("k").await.unwrap(), Some(1));
    one.invalidate().await.unwrap();
    assert_eq!(one.get::<u8>("k").await.unwrap(), None);
}

async fn every_verb_stays_in_the_group<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let group = cache.group("g").await.unwrap();
    let keys = ["a", "b"];
    cache.set_many(keys.map(|key| (key, 1)), Timeout::Never).await.unwrap();
    assert!(group.get_many::<u8>(keys).await.unwrap().is_empty());
    assert_eq!(group.delete_many(keys).await.unwrap(), 0);
    assert!(!group.has_key("a").await.unwrap() && !group.delete("a").await.unwrap());
    assert!(!group.touch("a", Timeout::Default).await.unwrap());
    assert!(matches!(group.incr("a", 1).await, Err(CacheError::NotFound)));
    assert!(matches!(group.incr_version("a", 1).await, Err(CacheError::NotFound)));
    assert_eq!(group.get_bytes("a").await.unwrap(), None);
    assert!(group.add("a", &2, Timeout::Default).await.unwrap());
    group.set_many([("b", 2)], Timeout::Default).await.unwrap();
    assert_eq!(group.get_or_set("c", 2, Timeout::Default).await.unwrap(), 2);
    group.set_bytes("d", "2", Timeout::Default).await.unwrap();
    assert_eq!(group.get_many::<u8>(["a", "b", "c", "d"]).await.unwrap().len(), 4);
    assert_eq!(group.incr_version("a", 1).await.unwrap(), 2);
    assert_eq!(group.with_version(2).get::<u8>("a").await.unwrap(), Some(2));
    assert_eq!(cx.stored("shop:2:a").await, None, "incr_version left the group");
    assert_eq!(group.delete_many(["b", "c"]).await.unwrap(), 2);
    let found = cache.get_many::<u8>(["a", "b", "c", "d"]).await.unwrap();
    assert_eq!(found, keys.map(|key| (key.to_owned(), 1)).into());
}

async fn odd_names_are_groups_of_their_own<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let names = [
        "user", "User", " user", "user ", "user:", "user:4", "", " ", "*", "ü", "u\u{308}",
    ];
    let mut keys = Vec::new();
    for name in names {
        let group = cache.group(name).await.unwrap();
        assert_eq!(group.names(), [name]);
        keys.push(group.make_key("k"));
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), names.len(), "two names are one group");

    // A value ends with each of its groups, however many they are.
    let alone = cache.group("a").await.unwrap().make_key("").len();
    for end in ["a", "b", "c", "d"] {
        let all = cache.groups(&["d", "b", "a", "c", "b"]).await.unwrap();
        assert_eq!(all.names(), ["a", "b", "c", "d"]);
        assert_eq!(all.make_key("").len(), alone, "a shorter generation can come twice");
        all.set("k", &1, Timeout::Default).await.unwrap();
        let fewer = cache.groups(&["a", "b", "c"]).await.unwrap();
        assert_eq!(fewer.get::<u8>("k").await.unwrap(), None);
        cache.group(end).await.unwrap().invalidate().await.unwrap();
        let all = cache.groups(&["a", "b", "c", "d"]).await.unwrap();
        assert_eq!(all.get::<u8>("k").await.unwrap(), None, "after the end of {end}");
    }
}

async fn a_group_of_a_group_ends_with_it<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let (outer, other) = (cache.group("outer").await.unwrap(), cache.group("other").await.unwrap());
    let inner = outer.group("inner").await.unwrap();
    inner.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(
        outer.group("inner").await.unwrap().get::<u8>("k").await.unwrap(),
        Some(1)
    );
    let elsewhere = other.group("inner").await.unwrap();
    for elsewhere in [&outer, &other, &elsewhere] {
        assert_eq!(elsewhere.get::<u8>("k").await.unwrap(), None);
    }
    cache.group("outer").await.unwrap().invalidate().await.unwrap();
    let outer = cache.group("outer").await.unwrap();
    assert_eq!(outer.group("inner").await.unwrap().get::<u8>("k").await.unwrap(), None);
}

async fn a_failing_store_is_an_error_of_a_group<B: KvBackend>(cx: &Cx<B>) {
    let (cache, watch) = cx.counted();
    let group = cache.group("g").await.unwrap();
    group.set("k", &1, Timeout::Default).await.unwrap();
    watch.fail_after(0);
    let answers = [
        group.invalidate().await,
        group.clear().await.map(drop),
        cache.group("g").await.map(drop),
        cache.groups(&["g", "new"]).await.map(drop),
    ];
    for answer in answers {
        assert!(matches!(answer, Err(CacheError::Backend(_))), "{answer:?}");
    }
    // The record of a new group is read, and cannot be written.
    watch.fail_after(1);
    let answer = cache.group("new").await;
    assert!(matches!(answer, Err(CacheError::Backend(_))), "{answer:?}");
    watch.fail_after(usize::MAX);
    assert_eq!(group.get::<u8>("k").await.unwrap(), Some(1));
}

async fn a_value_stored_after_the_invalidation_is_not_seen<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let old = cx.cache().group("g").await.unwrap();
    cache.group("g").await.unwrap().invalidate().await.unwrap();
    // Another process is late to store a value that it computed under the old generation.
    old.set("k", "outdated", Timeout::Never).await.unwrap();
    let computed = old.get_or_try_set_with("c", Timeout::Never, || async { Ok::<_, CacheError>(1) });
    assert_eq!(computed.await.unwrap(), 1);
    for handle in [cache.group("g").await.unwrap(), cx.cache().group("g").await.unwrap()] {
        assert_eq!(handle.get::<String>("k").await.unwrap(), None);
        assert_eq!(handle.get::<u8>("c").await.unwrap(), None);
    }
}

async fn a_lost_record_is_replaced<B: KvBackend>(cx: &Cx<B>) {
    let cache = Arc::new(cx.cache());
    let mut keys = Vec::new();
    for _ in 0..8 {
        let group = cache.group("g").await.unwrap();
        assert_eq!(group.get::<u8>("k").await.unwrap(), None, "an old value came back");
        group.set("k", &1, Timeout::Never).await.unwrap();
        keys.push(group.make_key("k"));
        // The state after an eviction or an expiry of the record.
        assert!(
            cx.backend.del(&["shop:1:group:g"]).await.unwrap() > 0,
            "the generation is not stored under `shop:1:group:g`"
        );
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 8, "a generation came twice");
}
