//! Clauses on classes of keys, values, lists and times to live, through the verbs of a cache.

use std::time::Duration;

use codex_testkit::cases::{
    durations::{FRACTIONS, MILLIS},
    keys::classes,
    lists::{self, COUNTS},
    values::{self, LENGTHS, letters},
};

use super::{
    super::context::Cx,
    MINUTE,
    compute::Closed,
    load::{Source, get},
};
use crate::{CacheError, KvBackend, SetOptions, Timeout, Ttl};

/// Asserts that each verb affects only the given key of a class.
pub(super) async fn odd_keys_are_never_taken_for_one_another<B: KvBackend>(cx: &Cx<B>) {
    for (class, keys) in classes() {
        let cache = cx.builder().key_prefix(class).build().unwrap();
        for (at, key) in keys.iter().enumerate() {
            let added = cache.add(key, &at, Timeout::Never).await.unwrap();
            assert!(added, "add of {key:?} among {class}: another key is in its place");
        }
        let entries = keys.iter().enumerate().map(|(at, key)| (key, at));
        for round in 0..2 {
            let found = cache.get_many::<usize>(&keys).await.unwrap();
            assert_eq!(found.len(), keys.len(), "get_many of {class}, round {round}");
            for (at, key) in keys.iter().enumerate() {
                let got = cache.get::<usize>(key).await.unwrap();
                assert_eq!(got, Some(at), "get of {key:?} among {class}, round {round}");
                assert_eq!(
                    found.get(key),
                    Some(&at),
                    "get_many of {key:?} among {class}, round {round}"
                );
                let stored = cx.stored(&cache.make_key(key)).await;
                assert_eq!(
                    stored.unwrap(),
                    at.to_string(),
                    "the stored value of {key:?} among {class}"
                );
            }
            cache.set_many(entries.clone(), Timeout::Never).await.unwrap();
        }
        for (at, key) in keys.iter().enumerate() {
            let sum = cache.incr(key, 1000).await.unwrap();
            assert_eq!(
                usize::try_from(sum).unwrap(),
                at + 1000,
                "incr of {key:?} among {class}"
            );
            assert!(
                cache.touch(key, MINUTE).await.unwrap(),
                "touch of {key:?} among {class}"
            );
            if let Some(next) = keys.get(at + 1) {
                cx.assert_ttl(&cache.make_key(next), None).await;
            }
            cx.assert_ttl(&cache.make_key(key), MINUTE).await;
        }
        for (at, key) in keys.iter().enumerate() {
            let got = cache.get_or_set(key, 0, Timeout::Never).await.unwrap();
            assert_eq!(got, at + 1000, "get_or_set of {key:?} among {class}");
        }
        for (at, key) in keys.iter().enumerate().step_by(2) {
            let removed = if at % 4 == 0 {
                cache.delete(key).await.unwrap()
            } else {
                cache.delete_many([key]).await.unwrap() == 1
            };
            assert!(removed, "delete of {key:?} among {class}: it was not there");
        }
        for (at, key) in keys.iter().enumerate() {
            let got = cache.has_key(key).await.unwrap();
            assert_eq!(
                got,
                at % 2 == 1,
                "has_key of {key:?} among {class}, after every second was deleted"
            );
        }
    }
}

/// Stores and reads a text of each length with each verb.
pub(super) async fn values_of_every_length_come_back<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let text = |length: usize, seed| String::from_utf8(letters(length, seed).to_vec()).unwrap();
    let is = |got: Option<&String>, expected: &String, what: &str| {
        let told = got.map(String::len);
        assert!(
            got == Some(expected),
            "{what} of {} letters: got {told:?} letters, or others",
            expected.len()
        );
    };
    for length in LENGTHS {
        let value = text(length, 0);
        cache.set("set", &value, Timeout::Default).await.unwrap();
        is(cache.get("set").await.unwrap().as_ref(), &value, "get after set");
        assert!(cache.add("add", &value, Timeout::Default).await.unwrap());
        is(cache.get("add").await.unwrap().as_ref(), &value, "get after add");
        let entries = [("first", text(length, 1)), ("last", text(length, 2))];
        cache.set_many(entries.clone(), Timeout::Default).await.unwrap();
        let found = cache.get_many::<String>(["first", "set", "last"]).await.unwrap();
        for (key, value) in entries.iter().chain([&("set", value.clone())]) {
            is(found.get(*key), value, "get_many");
        }
        let stored = cache.get_or_set("or", value.clone(), Timeout::Default).await.unwrap();
        is(Some(&stored), &value, "get_or_set");
        is(cache.get("or").await.unwrap().as_ref(), &value, "get after get_or_set");
        let version = cache.incr_version("set", 1).await.unwrap();
        is(
            cache.with_version(version).get("set").await.unwrap().as_ref(),
            &value,
            "get after incr_version",
        );
        assert_eq!(cache.delete_many(["add", "or", "first", "last"]).await.unwrap(), 4);
        assert!(cache.with_version(version).delete("set").await.unwrap());
    }
}

/// Asserts that values of other programs are read unchanged: a number keeps its sign, and a text
/// keeps its white space.
pub(super) async fn what_is_stored_is_not_made_tidy<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for text in ["-0", "-0.0", "-0e0"] {
        cx.put("shop:1:k", text).await;
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), text);
        let zero = cache.get::<f64>("k").await.unwrap().unwrap();
        assert_eq!(zero.to_bits(), (-0.0_f64).to_bits(), "{text} is read as {zero:?}");
        assert!(
            matches!(cache.incr("k", 1).await, Err(CacheError::Backend(_))),
            "incr of {text}"
        );
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), text, "after incr was refused");
    }
    cache.set("k", &[-0.0, 0.0], Timeout::Default).await.unwrap();
    let [minus, plus] = cache.get::<[f64; 2]>("k").await.unwrap().unwrap();
    assert!(minus.is_sign_negative() && plus.is_sign_positive());
    for text in values::TEXTS {
        cx.put("shop:1:k", text).await;
        assert_eq!(
            cx.stored("shop:1:k").await.unwrap(),
            text,
            "\"{}\"",
            text.escape_ascii()
        );
    }
    for text in [
        " 1", "1 ", "\n1", "1\n", "+1", "01", "00", "-01", "1.0", "1e3", "0x10", "1_0", "", "-", "--1",
    ] {
        let options = SetOptions::expires_after(MINUTE);
        let outcome = cx.backend.set("shop:1:k", text.into(), options).await.unwrap();
        assert!(outcome.is_written());
        assert!(
            matches!(cache.incr("k", 1).await, Err(CacheError::Backend(_))),
            "incr of {text:?}"
        );
        assert!(
            matches!(cache.decr("k", 0).await, Err(CacheError::Backend(_))),
            "decr of {text:?}"
        );
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), text, "after incr was refused");
        cx.assert_ttl("shop:1:k", MINUTE).await;
    }
}

/// Asserts that every verb keeps the milliseconds of a timeout, and that a change of version does
/// too.
pub(super) async fn milliseconds_are_kept_by_every_verb<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let exact = FRACTIONS.into_iter().chain(MILLIS.map(|millis| {
        let whole = Duration::from_millis(millis);
        (whole, whole)
    }));
    for (timeout, rounded) in exact {
        if !cx.is_virtual && rounded < cx.clock.short() * 4 {
            continue;
        }
        let is_rounded = async |key: &str, verb: &str| {
            if cx.is_virtual {
                let ttl = cx.backend.ttl(key).await.unwrap();
                assert_eq!(ttl, Ttl::Remaining(rounded), "{verb} with a timeout of {timeout:?}");
            } else {
                cx.assert_ttl(key, rounded).await;
            }
        };
        cache.set("set", &1, timeout).await.unwrap();
        is_rounded("shop:1:set", "set").await;
        assert!(cache.add("add", &1, timeout).await.unwrap());
        is_rounded("shop:1:add", "add").await;
        cache.set_many([("a", 1), ("b", 2)], timeout).await.unwrap();
        is_rounded("shop:1:a", "set_many").await;
        is_rounded("shop:1:b", "set_many").await;
        cache.set("touch", &1, Timeout::Never).await.unwrap();
        assert!(cache.touch("touch", timeout).await.unwrap());
        is_rounded("shop:1:touch", "touch").await;
        cache.get_or_set("or", 1, timeout).await.unwrap();
        is_rounded("shop:1:or", "get_or_set").await;
        let computed = cache.get_or_try_set_with("computed", timeout, || async { Ok::<_, Closed>(1) });
        assert_eq!(computed.await.unwrap(), 1);
        is_rounded("shop:1:computed", "get_or_try_set_with").await;
        cache.set_bytes("set_bytes", "1", timeout).await.unwrap();
        is_rounded("shop:1:set_bytes", "set_bytes").await;
        assert!(cache.add_bytes("add_bytes", "1", timeout).await.unwrap());
        is_rounded("shop:1:add_bytes", "add_bytes").await;
        cache.get_or_set_bytes("or_bytes", "1", timeout).await.unwrap();
        is_rounded("shop:1:or_bytes", "get_or_set_bytes").await;
        let loader = Source::open().of(cache.loader("l").fresh_for(timeout));
        assert_eq!(get(&loader, "loaded").await.unwrap().value, 1);
        is_rounded("shop:1:loaded", "get of a loader").await;
        let by_default = cx
            .builder()
            .key_prefix("other")
            .default_timeout(timeout)
            .build()
            .unwrap();
        by_default.set("k", &1, Timeout::Default).await.unwrap();
        is_rounded("other:1:k", "set by default").await;
        assert_eq!(cache.incr_version("set", 1).await.unwrap(), 2);
        is_rounded("shop:2:set", "incr_version").await;
        assert_eq!(cache.incr("touch", 99).await.unwrap(), 100);
        is_rounded("shop:1:touch", "incr").await;
        let added = ["add", "or", "computed", "add_bytes", "or_bytes", "loaded"];
        assert_eq!(cache.delete_many(added).await.unwrap(), added.len() as u64);
    }
}

/// Calls the verbs with lists of every length, including duplicate keys.
pub(super) async fn lists_of_every_count<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for count in COUNTS {
        let keys = lists::keys("key", count);
        let places = lists::with_duplicates(count);
        // Each entry has a distinct value, which shows which of two duplicates was stored.
        let entries: Vec<(&String, usize)> = places.iter().enumerate().map(|(n, at)| (&keys[*at], n)).collect();
        cache.set_many(entries.clone(), MINUTE).await.unwrap();
        let asked: Vec<&String> = places.iter().map(|at| &keys[*at]).collect();
        let found = cache.get_many::<usize>(&asked).await.unwrap();
        assert_eq!(found.len(), count, "hits of get_many of {count} keys");
        let last: std::collections::HashMap<&String, usize> = entries.into_iter().collect();
        for key in &keys {
            assert_eq!(
                found.get(key),
                last.get(key),
                "{key:?} after set_many of {} entries",
                places.len()
            );
        }
        for key in keys.iter().take(2).chain(keys.iter().rev().take(2)) {
            cx.assert_ttl(&cache.make_key(key), MINUTE).await;
        }
        let deleted = cache.delete_many(&asked).await.unwrap();
        assert_eq!(
            deleted, count as u64,
            "delete_many of {count} keys, many of them named twice"
        );
        let left = cache.get_many::<usize>(&keys).await.unwrap();
        assert!(
            left.is_empty(),
            "{} of {count} keys are left after delete_many",
            left.len()
        );
    }
}

/// Asserts that a concurrent value that differs only slightly is moved too, and never deleted
/// unread.
pub(super) async fn a_nearly_equal_value_is_moved_too<B: KvBackend>(cx: &Cx<B>) {
    let text = |value: &[u8]| serde_json::to_string(&String::from_utf8_lossy(value)).unwrap();
    for length in [1, 65, 1025] {
        for near in values::near(&letters(length, 0)) {
            let (cache, watch) = cx.counted();
            cx.put("shop:1:k", text(&letters(length, 0))).await;
            let (backend, newer) = (cx.backend.clone(), text(&near.value));
            watch.before("del_if_equals", {
                let newer = newer.clone();
                async move {
                    let set = backend.set("shop:1:k", newer.into(), SetOptions::new()).await;
                    assert!(set.unwrap().is_written());
                }
            });
            assert_eq!(cache.incr_version("k", 1).await.unwrap(), 2);
            assert_eq!(cx.stored("shop:1:k").await, None);
            let moved = cx.stored("shop:2:k").await.unwrap();
            assert!(moved == newer, "a newer value was deleted unread, where {}", near.how);
        }
    }
}
