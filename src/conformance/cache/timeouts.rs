//! Clauses on timeouts.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        context::{Cx, clauses},
        face::Cache,
    },
    MINUTE,
    cases::milliseconds_are_kept_by_every_verb,
    compute::Closed,
    load::{Source, get},
};
use crate::{CacheError, ErrorKind, KvBackend, Timeout};

clauses! {
    ctime_01_default_is_the_caches_default_timeout {
        default_is_the_caches_default_timeout
        a_default_of_none_is_for_ever
        a_default_of_zero_stores_nothing
        a_default_of_zero_is_a_zero_timeout_for_every_verb
        a_value_is_gone_after_its_timeout
        milliseconds_are_kept_by_every_verb
    }
    ctime_02_never_stores_without_ttl_and_clears_one {
        never_stores_without_ttl_and_clears_one
    }
    ctime_03_a_zero_timeout_stores_nothing {
        a_zero_timeout_stores_nothing_and_removes_what_is_there
        add_with_zero_leaves_what_is_there
    }
    ctime_04_touch_changes_the_ttl_of_what_is_there {
        touch_sets_the_ttl_where_present
        touch_never_persists
        touch_zero_removes
    }
    ctime_05_more_than_thirty_days {
        more_than_thirty_days
        a_timeout_too_long_is_refused
    }
}

async fn default_is_the_caches_default_timeout<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert_eq!(cache.default_timeout(), Some(Duration::from_secs(300)));
    cache.set("set", &1, Timeout::Default).await.unwrap();
    cache.add("add", &1, Timeout::default()).await.unwrap();
    cache.set_many([("many", 1)], Timeout::Default).await.unwrap();
    cache.get_or_set("default", 1, Timeout::Default).await.unwrap();
    for key in ["set", "add", "many", "default"] {
        cx.assert_ttl(&cache.make_key(key), Duration::from_secs(300)).await;
    }
    let cache = cx
        .builder()
        .key_prefix("other")
        .default_timeout(MINUTE)
        .build()
        .unwrap();
    store_with_every_verb(cx, &cache, Timeout::Default, MINUTE).await;
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cx.assert_ttl("other:1:k", MINUTE).await;
    cache.set("k", &1, MINUTE * 2).await.unwrap();
    cx.assert_ttl("other:1:k", MINUTE * 2).await;
    assert!(cache.touch("k", Timeout::Default).await.unwrap());
    cx.assert_ttl("other:1:k", MINUTE).await;
}

async fn a_default_of_none_is_for_ever<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.builder().key_prefix("shop").default_timeout(None).build().unwrap();
    assert_eq!(cache.default_timeout(), None);
    cache.set("k", &1, Timeout::Default).await.unwrap();
    cx.assert_ttl("shop:1:k", None).await;
    store_with_every_verb(cx, &cache, Timeout::Default, None).await;
    cache.set("k", &1, MINUTE).await.unwrap();
    assert!(cache.touch("k", Timeout::Default).await.unwrap());
    cx.assert_ttl("shop:1:k", None).await;
}

/// Stores a value with each verb that takes a timeout, and asserts the time to live.
async fn store_with_every_verb<B: KvBackend>(
    cx: &Cx<B>,
    cache: &Cache<Arc<B>>,
    timeout: Timeout,
    expected: impl Into<Option<Duration>>,
) {
    assert!(cache.add("add", &1, timeout).await.unwrap());
    cache.set_many([("many", 1)], timeout).await.unwrap();
    cache.get_or_set("or", 1, timeout).await.unwrap();
    let computed = cache.get_or_try_set_with("computed", timeout, || async { Ok::<_, Closed>(1) });
    assert_eq!(computed.await.unwrap(), 1);
    cache.set_bytes("set_bytes", "1", timeout).await.unwrap();
    assert!(cache.add_bytes("add_bytes", "1", timeout).await.unwrap());
    cache.get_or_set_bytes("or_bytes", "1", timeout).await.unwrap();
    let keys = ["add", "many", "or", "computed", "set_bytes", "add_bytes", "or_bytes"];
    let expected = expected.into();
    for key in keys {
        cx.assert_ttl(&cache.make_key(key), expected).await;
    }
    assert_eq!(cache.delete_many(keys).await.unwrap(), keys.len() as u64);
}

async fn a_default_of_zero_is_a_zero_timeout_for_every_verb<B: KvBackend>(cx: &Cx<B>) {
    let builder = cx.builder().key_prefix("shop").default_timeout(Duration::ZERO);
    let cache = builder.build().unwrap();
    let zero = Timeout::Default;
    let keys = ["set", "many", "touch", "bytes"];
    cache.set_many(keys.map(|key| (key, 1)), MINUTE).await.unwrap();
    cache.set("set", &2, zero).await.unwrap();
    cache.set_many([("many", 2)], zero).await.unwrap();
    assert!(cache.touch("touch", zero).await.unwrap());
    cache.set_bytes("bytes", "2", zero).await.unwrap();
    assert!(cache.get_many::<u8>(keys).await.unwrap().is_empty());
    assert!(!cache.add("k", &1, zero).await.unwrap());
    assert!(!cache.add_bytes("k", "1", zero).await.unwrap());
    assert_eq!(cache.get_or_set("k", 1, zero).await.unwrap(), 1);
    assert_eq!(cache.get_or_set_bytes("k", "1", zero).await.unwrap(), "1");
    let source = Source::open();
    let loader = source.of(cache.loader("l"));
    for run in 1..=2 {
        let computed = cache.get_or_try_set_with("k", zero, || async { Ok::<_, Closed>(1) });
        assert_eq!(computed.await.unwrap(), 1);
        assert_eq!(get(&loader, "k").await.unwrap().value, run);
        assert!(!cache.has_key("k").await.unwrap());
    }
}

async fn a_default_of_zero_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx
        .builder()
        .key_prefix("shop")
        .default_timeout(Duration::ZERO)
        .build()
        .unwrap();
    cache.set("k", &1, Timeout::Default).await.unwrap();
    assert!(!cache.has_key("k").await.unwrap());
}

async fn a_value_is_gone_after_its_timeout<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let short = cx.clock.short();
    cache.set("k", &1, short).await.unwrap();
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    cx.clock.outlive(short).await;
    assert_eq!(cache.get::<u8>("k").await.unwrap(), None);
    assert!(!cache.has_key("k").await.unwrap());
    assert!(!cache.delete("k").await.unwrap());
    assert!(cache.add("k", &2, Timeout::Default).await.unwrap());
}

async fn never_stores_without_ttl_and_clears_one<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, MINUTE).await.unwrap();
    cache.set("k", &2, Timeout::Never).await.unwrap();
    cx.assert_ttl("shop:1:k", None).await;
    assert!(cache.add("added", &1, Timeout::Never).await.unwrap());
    cx.assert_ttl("shop:1:added", None).await;
    cache.set_many([("k", 3)], Timeout::Never).await.unwrap();
    cx.assert_ttl("shop:1:k", None).await;
    cache.set("added", &1, Timeout::Default).await.unwrap();
    assert!(cache.delete("added").await.unwrap());
    store_with_every_verb(cx, &cache, Timeout::Never, None).await;
    let loader = Source::open().of(cache.loader("l").fresh_for(None).stale_for(MINUTE));
    get(&loader, "loaded").await.unwrap();
    cx.assert_ttl("shop:1:loaded", None).await;
}

async fn a_zero_timeout_stores_nothing_and_removes_what_is_there<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let zero = Timeout::After(Duration::ZERO);
    cache.set("new", &1, zero).await.unwrap();
    assert!(!cache.has_key("new").await.unwrap());
    cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await.unwrap();
    cache.set("a", &3, zero).await.unwrap();
    assert_eq!(cache.get::<u8>("a").await.unwrap(), None);
    cache.set_many([("b", 3), ("c", 4)], zero).await.unwrap();
    assert!(cache.get_many::<u8>(["a", "b", "c"]).await.unwrap().is_empty());

    assert_eq!(cache.get_or_set("d", 5, zero).await.unwrap(), 5);
    assert!(!cache.has_key("d").await.unwrap());
    // The shortest timeout that is not zero is stored.
    let shortest = Duration::from_nanos(1);
    cache.set("e", &1, shortest).await.unwrap();
    let is_added = cache.add("f", &1, shortest).await.unwrap();
    assert!(is_added);
    if cx.is_virtual {
        for key in ["e", "f"] {
            cx.assert_ttl(&cache.make_key(key), Duration::from_millis(1)).await;
        }
    }
}

async fn add_with_zero_leaves_what_is_there<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, MINUTE).await.unwrap();
    assert!(!cache.add("k", &2, Duration::ZERO).await.unwrap());
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    cx.assert_ttl("shop:1:k", MINUTE).await;
    assert!(!cache.add("free", &2, Duration::ZERO).await.unwrap());
    assert!(!cache.has_key("free").await.unwrap());
}

async fn touch_sets_the_ttl_where_present<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for timeout in [Timeout::Default, MINUTE.into(), Timeout::Never, Duration::ZERO.into()] {
        assert!(!cache.touch("missing", timeout).await.unwrap());
        assert!(!cache.has_key("missing").await.unwrap());
    }
    cache.set("k", &1, Timeout::Never).await.unwrap();
    assert!(cache.touch("k", MINUTE).await.unwrap());
    cx.assert_ttl("shop:1:k", MINUTE).await;
    assert!(cache.touch("k", Timeout::Default).await.unwrap());
    cx.assert_ttl("shop:1:k", Duration::from_secs(300)).await;
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
}

async fn touch_never_persists<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, MINUTE).await.unwrap();
    for _ in 0..2 {
        assert!(cache.touch("k", Timeout::Never).await.unwrap());
        cx.assert_ttl("shop:1:k", None).await;
    }
}

async fn touch_zero_removes<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, MINUTE).await.unwrap();
    assert!(cache.touch("k", Duration::ZERO).await.unwrap());
    assert!(!cache.touch("k", Duration::ZERO).await.unwrap());
    assert_eq!(cx.stored("shop:1:k").await, None);
}

async fn more_than_thirty_days<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for days in [31, 365 * 100] {
        let timeout = Duration::from_secs(days * 86_400);
        cache.set("k", &days, timeout).await.unwrap();
        cx.assert_ttl("shop:1:k", timeout).await;
        assert_eq!(cache.get::<u64>("k").await.unwrap(), Some(days));
    }
}

async fn a_timeout_too_long_is_refused<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("k", &1, Timeout::Never).await.unwrap();
    let refusals = [
        cache.set("k", &2, Duration::MAX).await,
        cache.add("new", &2, Duration::MAX).await.map(drop),
        cache.set_many([("k", 2)], Duration::MAX).await,
        cache.touch("k", Duration::MAX).await.map(drop),
        cache.get_or_set("new", 2, Duration::MAX).await.map(drop),
        cache.set_bytes("k", "2", Duration::MAX).await,
        cache.add_bytes("new", "2", Duration::MAX).await.map(drop),
        cache.get_or_set_bytes("new", "2", Duration::MAX).await.map(drop),
    ];
    for refusal in refusals {
        let Err(CacheError::Backend(error)) = refusal else {
            panic!("a timeout that is too long: expected an error of the backend, got {refusal:?}")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(1));
    cx.assert_ttl("shop:1:k", None).await;
    assert!(!cache.has_key("new").await.unwrap());
}
