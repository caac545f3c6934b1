//! Clauses on values.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_testkit::suite::spawn;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    super::{
        context::{Cx, clauses},
        face::Cache,
    },
    MINUTE,
    cases::{values_of_every_length_come_back, what_is_stored_is_not_made_tidy},
    compute::Closed,
    load::{Source, bounded, get as load},
};
use crate::{
    CacheError, CodecError, ComputeError, Expiry, Json, KvBackend, Loader, Outage, Serializer, SetOptions, Timeout,
};

pub(super) use super::{
    formats::cval_11_a_value_of_one_format_is_an_error_in_another, raw_bytes::cval_10_bytes_are_stored_as_they_are,
};

clauses! {
    cval_01_values_are_json_written_and_read {
        every_golden_value_is_written_and_read
        numbers_keep_their_type_and_every_bit
        values_of_every_length_come_back
        what_is_stored_is_not_made_tidy
        white_space_around_a_value_is_read
    }
    cval_02_what_json_has_no_form_for_is_refused {
        what_json_has_no_form_for_is_refused
        map_keys
        a_refused_value_among_others_stores_nothing
    }
    cval_03_a_stored_null_is_a_hit {
        a_stored_null_is_a_hit
        every_verb_stores_a_null
    }
    cval_04_an_unreadable_value_is_an_error_and_stays {
        an_unreadable_value_is_an_error_and_stays
        an_unreadable_value_is_an_error_for_every_reader
    }
    cval_05_a_serializer_can_be_given {
        a_serializer_can_be_given
        a_serializer_is_given_the_stored_key
        a_serializer_leaves_the_other_settings
    }
    cval_07_an_integer_is_stored_as_its_decimal_text {
        an_integer_is_stored_as_its_decimal_text
    }
    cval_09_what_is_stored_can_be_read {
        what_is_nested_as_deep_as_the_reader_goes_is_read
        what_is_nested_deeper_is_refused
        invalid_utf_8_is_an_error_in_every_field
        what_serde_hides_is_an_error_and_no_wrong_value
    }
}

#[derive(Deserialize)]
struct Golden {
    values: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    json: String,
}

async fn every_golden_value_is_written_and_read<B: KvBackend>(cx: &Cx<B>) {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/data/cache.json")).unwrap();
    assert_eq!(golden.values.len(), 28);
    let cache = cx.cache();
    for Entry { json } in golden.values {
        // The value in the spelling of the reference implementation.
        cx.put("shop:1:k", json.clone()).await;
        let value: Value = cache.get("k").await.unwrap().unwrap();
        cache.set("k", &value, Timeout::Default).await.unwrap();
        let written = String::from_utf8(cx.stored("shop:1:k").await.unwrap().to_vec()).unwrap();
        // A float has several spellings in JSON. All other values here have exactly one.
        if !matches!(&*json, "1e+16" | "1e-07") {
            assert_eq!(written, json);
        }
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            serde_json::from_str::<Value>(&json).unwrap()
        );
        assert_eq!(cache.get::<Value>("k").await.unwrap(), Some(value));
    }
}

async fn round_trip<B, T>(cache: &Cache<B>, value: T) -> T
where
    B: KvBackend,
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    cache.set("k", &value, Timeout::Default).await.unwrap();
    cache.get("k").await.unwrap().unwrap()
}

async fn numbers_keep_their_type_and_every_bit<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    // A fast parser rounds the fourth number to its neighbour.
    for float in [
        0.1,
        -0.0,
        1e-07,
        31.245_270_191_439_438,
        1e16,
        f64::MIN_POSITIVE,
        5e-324,
        f64::MAX,
        f64::MIN,
    ] {
        assert_eq!(round_trip(&cache, float).await.to_bits(), float.to_bits(), "{float:e}");
    }
    for integer in [u64::MAX, 0, 1 << 53] {
        assert_eq!(round_trip(&cache, integer).await, integer);
    }
    for integer in [i128::MIN, i128::MAX] {
        assert_eq!(round_trip(&cache, integer).await, integer);
    }
    assert_eq!(round_trip(&cache, i64::MIN).await, i64::MIN);
    assert_eq!(round_trip(&cache, 0.1_f32).await.to_bits(), 0.1_f32.to_bits());
    // Not the digits of the nearest `f64`.
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "0.1");
}

/// Decodes values as other programs may write them: JSON allows white space around a value.
async fn white_space_around_a_value_is_read<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for stored in ["7 ", " 7", "7\n", "\t7\r\n", "\n\n7   "] {
        cx.put("shop:1:k", stored).await;
        assert_eq!(cache.get::<u8>("k").await.unwrap(), Some(7), "{stored:?}");
        assert_eq!(cache.get_many::<u8>(["k"]).await.unwrap()["k"], 7, "{stored:?}");
    }
    cx.put("shop:1:k", " null\n").await;
    assert_eq!(cache.get::<Option<u8>>("k").await.unwrap(), Some(None));
}

async fn a_refused_value_among_others_stores_nothing<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    cache.set("c", &1.0, Timeout::Default).await.unwrap();
    for timeout in [Timeout::Default, Duration::ZERO.into()] {
        let answer = cache.set_many([("a", 1.0), ("b", f64::NAN), ("c", 2.0)], timeout).await;
        assert!(matches!(answer, Err(CacheError::Codec(_))), "{answer:?}");
        let found = cache.get_many::<f64>(["a", "b", "c"]).await.unwrap();
        assert_eq!(found, HashMap::from([("c".to_owned(), 1.0)]));
    }
    let answer = cache.get_or_set("a", f64::NAN, Timeout::Default).await;
    assert!(matches!(answer, Err(CacheError::Codec(_))), "{answer:?}");
    assert!(!cache.has_key("a").await.unwrap());
}

/// A type that serializes as raw bytes, as `serde_bytes` does.
struct Raw(&'static [u8]);

impl Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// A type whose serialization fails with its own value in the message.
struct Leaky;

impl Serialize for Leaky {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no form for hunter2"))
    }
}

#[derive(Serialize)]
enum Deep {
    Newtype(f64),
    Struct { inner: Option<(u8, f64)> },
    Tuple(u8, f32),
}

/// Asserts that every verb refuses to store `value` with an error that contains `expected`, and
/// changes nothing.
async fn assert_refused<B: KvBackend, T: Serialize + Sync>(cache: &Cache<B>, value: T, expected: &str) {
    cache.set("k", &"before", Timeout::Never).await.unwrap();
    let answers = [
        cache.set("k", &value, Timeout::Default).await,
        cache.set("k", &value, std::time::Duration::ZERO).await,
        cache.add("new", &value, Timeout::Default).await.map(drop),
        cache.set_many([("new", &value)], Timeout::Default).await,
    ];
    for answer in answers {
        let Err(CacheError::Codec(error)) = answer else {
            panic!("storing a value without a JSON form: expected an error of the codec, got {answer:?}")
        };
        let message = error.to_string();
        assert!(
            message.contains(expected) && message.contains(error.type_name()),
            "{message}"
        );
        assert!(
            !error.is_decode() && !format!("{error:?} {message}").contains("hunter2"),
            "{error:?}"
        );
    }
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("before"));
    assert!(!cache.has_key("new").await.unwrap());
}

async fn what_json_has_no_form_for_is_refused<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for float in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_refused(&cache, float, "NaN and the infinities").await;
        assert_refused(&cache, vec![1.0, float], "NaN").await;
        assert_refused(&cache, (1, Some(float)), "NaN").await;
        assert_refused(&cache, BTreeMap::from([("a", float)]), "NaN").await;
        assert_refused(&cache, Deep::Newtype(float), "NaN").await;
        assert_refused(
            &cache,
            Deep::Struct {
                inner: Some((1, float)),
            },
            "NaN",
        )
        .await;
    }
    assert_refused(&cache, f32::NAN, "NaN").await;
    assert_refused(&cache, Deep::Tuple(1, f32::INFINITY), "NaN").await;
    assert_refused(&cache, Raw(b"hunter2"), "raw bytes").await;
    assert_refused(&cache, [Some(Raw(b""))], "raw bytes").await;
    assert_refused(&cache, Leaky, "`Serialize` implementation failed").await;
}

/// A map with a single entry, whose key has any type.
struct Keyed<K>(K);

impl<K: Serialize> Serialize for Keyed<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(&self.0, 1)])
    }
}

#[derive(Serialize)]
enum Unit {
    Variant,
}

async fn map_keys<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert_refused(&cache, Keyed(1.5), "a map key must be").await;
    assert_refused(&cache, Keyed(1.5_f32), "a map key must be").await;
    assert_refused(&cache, Keyed(f64::NAN), "a map key must be").await;
    assert_refused(&cache, Keyed((1, 2)), "a map key must be").await;
    assert_refused(&cache, Keyed([1]), "a map key must be").await;
    assert_refused(&cache, Keyed(()), "a map key must be").await;
    assert_refused(&cache, Keyed(None::<u8>), "a map key must be").await;
    assert_refused(&cache, Keyed(Raw(b"hunter2")), "raw bytes").await;
    assert_refused(&cache, vec![Keyed(Keyed(1))], "a map key must be").await;

    assert_eq!(Json.serialize(&Keyed("a")).unwrap(), r#"{"a":1}"#);
    assert_eq!(Json.serialize(&Keyed(-7)).unwrap(), r#"{"-7":1}"#);
    assert_eq!(
        Json.serialize(&Keyed(u64::MAX)).unwrap(),
        r#"{"18446744073709551615":1}"#
    );
    assert_eq!(Json.serialize(&Keyed(true)).unwrap(), r#"{"true":1}"#);
    assert_eq!(Json.serialize(&Keyed('x')).unwrap(), r#"{"x":1}"#);
    assert_eq!(Json.serialize(&Keyed(Unit::Variant)).unwrap(), r#"{"Variant":1}"#);
    let map = HashMap::from([(true, 'a'), (false, 'b')]);
    assert_eq!(round_trip(&cache, map.clone()).await, map);
    let map = HashMap::from([(-1_i64, 'a'), (i64::MAX, 'b')]);
    assert_eq!(round_trip(&cache, map.clone()).await, map);
}

async fn a_stored_null_is_a_hit<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    assert_eq!(cache.get::<Option<u8>>("k").await.unwrap(), None);
    cache.set("k", &None::<u8>, Timeout::Default).await.unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "null");
    assert_eq!(cache.get::<Option<u8>>("k").await.unwrap(), Some(None));
    assert_eq!(cache.get_or("k", Some(1)).await.unwrap(), None);
    assert_eq!(
        cache.get_many::<Option<u8>>(["k", "x"]).await.unwrap(),
        HashMap::from([("k".to_owned(), None)])
    );
}

/// Stores a `null` with each verb that returns one. The second call finds it.
async fn every_verb_stores_a_null<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let loader: Loader<Option<u8>, Closed, _> = cache.loader("l").load(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok(None) }
    });
    assert!(cache.add("add", &None::<u8>, Timeout::Default).await.unwrap());
    assert_eq!(
        cache.get_or_set("or", None::<u8>, Timeout::Default).await.unwrap(),
        None
    );
    for _ in 0..2 {
        let counted = Arc::clone(&runs);
        let computed = cache.get_or_try_set_with("computed", Timeout::Default, || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Closed>(None::<u8>)
        });
        assert_eq!(computed.await.unwrap(), None);
        assert_eq!(load(&loader, "loaded").await.unwrap().value, None);
    }
    let many = loader.clone();
    let many = bounded(spawn(async move { many.get_many(["loaded"]).await }))
        .await
        .unwrap();
    assert_eq!(many["loaded"].value, None);
    assert_eq!(runs.load(Ordering::SeqCst), 2, "a stored null was computed again");
    for key in ["add", "or", "computed", "loaded"] {
        assert_eq!(
            cx.stored(&cache.make_key(key)).await.as_deref(),
            Some(&b"null"[..]),
            "{key}"
        );
    }
    // An empty value is a value too.
    cache.set("empty", "", Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<String>("empty").await.unwrap().as_deref(), Some(""));
    assert!(cache.has_key("empty").await.unwrap() && cache.delete("empty").await.unwrap());
}

/// Asserts that no reader takes an unreadable value for a miss, computes it anew or removes it, and
/// that no error shows its key.
async fn an_unreadable_value_is_an_error_for_every_reader<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    let source = Source::open();
    let loader = source.of(cache.loader("l").fresh_for(MINUTE).stale_for(MINUTE));
    cache.set_many([("a", 1), ("z", 2)], MINUTE * 2).await.unwrap();
    for expiry in [Expiry::Never, Expiry::After(MINUTE * 2)] {
        let options = SetOptions::new().with_expiry(expiry);
        let written = cx.backend.set("shop:1:hunter3", "hunter2".into(), options).await;
        assert!(written.unwrap().is_written());
        let answers = [
            cache.get::<usize>("hunter3").await.map(drop),
            cache.get_or("hunter3", 1_usize).await.map(drop),
            cache.get_or_set("hunter3", 1_usize, Timeout::Default).await.map(drop),
            cache.get_many::<usize>(["a", "hunter3", "z"]).await.map(drop),
            cache.get_many::<usize>(["a", "z", "hunter3"]).await.map(drop),
        ];
        let computed = cache.get_or_try_set_with("hunter3", MINUTE, || async { Ok::<usize, Closed>(1) });
        let computed = computed.await.map(drop);
        let answer = load(&loader, "hunter3").await.map(drop);
        let many = loader.clone();
        let many = bounded(spawn(async move { many.get_many(["a", "hunter3", "z"]).await })).await;
        let of_cache = |answer: Result<(), ComputeError<Closed>>| match answer {
            Err(ComputeError::Cache(error)) => Err(Arc::unwrap_or_clone(error)),
            answer => panic!("computing an unreadable value: expected an error of the cache, got {answer:?}"),
        };
        let others = [computed, answer, many.map(drop)].map(of_cache);
        for answer in answers.into_iter().chain(others) {
            let Err(error @ CacheError::Codec(_)) = answer else {
                panic!("reading an unreadable value: expected an error of the codec, got {answer:?}")
            };
            assert!(!format!("{error} {error:?}").contains("hunter"), "{error:?}");
        }
        assert_eq!(cx.stored("shop:1:hunter3").await.unwrap(), "hunter2", "{expiry:?}");
    }
    let refused = cache.set("hunter3", &f64::NAN, Timeout::Default).await.unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("hunter"), "{refused:?}");
    assert_eq!(cache.stats().computations, 0);
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only whether it can be read is looked at")]
struct Account {
    password: u32,
}

async fn an_unreadable_value_is_an_error_and_stays<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for stored in [
        &br#"{"password":"hunter2"}"#[..],
        b"hunter2",
        b"",
        b"{\"password\":1",
        b"\xff\xfe",
        b"\"\xff\"",
        b"1 2",
    ] {
        cx.put("shop:1:k", Bytes::from_static(stored)).await;
        let answers = [
            cache.get::<Account>("k").await.map(drop),
            cache.get_many::<Account>(["k"]).await.map(drop),
        ];
        for answer in answers {
            let Err(CacheError::Codec(error)) = answer else {
                panic!("reading an unreadable value: expected an error of the codec, got {answer:?}")
            };
            assert!(error.is_decode() && error.to_string().contains("Account"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), stored);
    }
    // The value is more than a `u8`.
    for stored in ["1 2", "1,", "1]", "1 null"] {
        cx.put("shop:1:k", stored).await;
        assert!(
            matches!(cache.get::<u8>("k").await, Err(CacheError::Codec(_))),
            "{stored:?} was read as a number"
        );
    }
    // serde_json quotes the input; codex-kv does not.
    cx.put("shop:1:k", "\"hunter2\"").await;
    let error = cache.get_or("k", 1_u8).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the stored value cannot be read as `u8`: wrong type (line 1, column 9)"
    );
    assert!(matches!(
        cache.get_or_set("k", 1_u8, Timeout::Default).await,
        Err(CacheError::Codec(_))
    ));
}

/// A format that writes JSON backwards.
#[derive(Debug)]
struct Mirrored;

impl Serializer for Mirrored {
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
        Ok(Json.serialize(value)?.iter().rev().copied().collect())
    }

    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
        Json.deserialize(&stored.iter().rev().copied().collect::<Vec<_>>())
    }
}

async fn a_serializer_can_be_given<B: KvBackend>(cx: &Cx<B>) {
    let cache: Cache<Arc<B>, Mirrored> = cx.builder().key_prefix("shop").serializer(Mirrored).build().unwrap();
    cache.set("k", "abc", Timeout::Default).await.unwrap();
    assert_eq!(cx.stored("shop:1:k").await.unwrap(), "\"cba\"");
    assert_eq!(cache.get::<String>("k").await.unwrap().as_deref(), Some("abc"));
    // `Json` is the default.
    let _: Cache<Arc<B>> = cx.cache();
}

/// A format whose values can be read only under their own keys.
#[derive(Debug)]
struct Bound;

impl Bound {
    fn strip<'a, T>(key: &str, stored: &'a [u8]) -> Result<&'a [u8], CodecError> {
        let own = stored
            .strip_prefix(key.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="));
        own.ok_or_else(|| CodecError::decode::<T>("expected a value of this key"))
    }
}

impl Serializer for Bound {
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
        Json.serialize(value)
    }

    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
        Json.deserialize(stored)
    }

    fn serialize_for<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<Bytes, CodecError> {
        Ok([key.as_bytes(), b"=", &Json.serialize(value)?].concat().into())
    }

    fn deserialize_for<T: DeserializeOwned>(&self, key: &str, stored: &[u8]) -> Result<T, CodecError> {
        Json.deserialize(Self::strip::<T>(key, stored)?)
    }

    fn rebind(&self, from: &str, to: &str, stored: Bytes) -> Result<Bytes, CodecError> {
        Ok([to.as_bytes(), b"=", Self::strip::<Bytes>(from, &stored)?]
            .concat()
            .into())
    }
}

async fn a_serializer_is_given_the_stored_key<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.builder().key_prefix("shop").serializer(Bound).build().unwrap();
    cache.set("set", &1, Timeout::Default).await.unwrap();
    assert!(cache.add("add", &2, Timeout::Default).await.unwrap());
    cache.set_many([("many", 3)], Timeout::Default).await.unwrap();
    assert_eq!(cache.get_or_set("or", 4, Timeout::Default).await.unwrap(), 4);
    let computed = cache.get_or_try_set_with("computed", MINUTE, || async { Ok::<_, Closed>(5) });
    assert_eq!(computed.await.unwrap(), 5);
    let keys = ["set", "add", "many", "or", "computed"];
    for (key, value) in keys.into_iter().zip(1_u8..) {
        assert_eq!(
            cx.stored(&cache.make_key(key)).await.unwrap(),
            format!("shop:1:{key}={value}")
        );
        assert_eq!(cache.get::<u8>(key).await.unwrap(), Some(value), "{key}");
    }
    assert_eq!(cache.get_many::<u8>(keys).await.unwrap().len(), keys.len());
    assert_eq!(cache.incr_version("set", 6).await.unwrap(), 7);
    assert_eq!(cx.stored("shop:7:set").await.unwrap(), "shop:7:set=1");
    assert_eq!(cache.with_version(7).get::<u8>("set").await.unwrap(), Some(1));
    let group = cache.group("g").await.unwrap();
    group.set("k", &1, Timeout::Default).await.unwrap();
    assert_eq!(cache.group("g").await.unwrap().get::<u8>("k").await.unwrap(), Some(1));
}

async fn a_serializer_leaves_the_other_settings<B: KvBackend>(cx: &Cx<B>) {
    let minute = Duration::from_secs(60);
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let builder = cx.face.cache(watched).key_prefix("shop").version(7).name("basket");
    let builder = builder.default_timeout(minute).on_outage(Outage::Miss);
    let builder = builder.key_function(|prefix, version, key| format!("{prefix}/{version}/{key}"));
    let cache = builder.serializer(Mirrored).build().unwrap();
    cache.set("k", "abc", Timeout::Default).await.unwrap();
    assert_eq!(cx.stored("shop/7/k").await.unwrap(), "\"cba\"");
    cx.assert_ttl("shop/7/k", minute).await;
    assert_eq!((cache.name(), cache.version()), ("basket", 7));
    watch.fail_after(0);
    assert_eq!(
        cache.get::<String>("k").await.unwrap(),
        None,
        "a read of an outage is a miss"
    );
}

async fn an_integer_is_stored_as_its_decimal_text<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for integer in [0, 1, -1, i64::MAX - 1, i64::MIN] {
        cache.set("k", &integer, Timeout::Default).await.unwrap();
        assert_eq!(cx.stored("shop:1:k").await.unwrap(), integer.to_string());
        assert_eq!(cache.incr("k", 1).await.unwrap(), integer + 1);
        assert_eq!(cache.get::<i64>("k").await.unwrap(), Some(integer + 1));
    }
    cache.set("k", &true, Timeout::Default).await.unwrap();
    assert!(matches!(cache.get::<i64>("k").await, Err(CacheError::Codec(_))));
    assert!(matches!(cache.incr("k", 1).await, Err(CacheError::Backend(_))));
    assert_eq!(cache.get::<bool>("k").await.unwrap(), Some(true));
    cache.set("k", &1, Timeout::Default).await.unwrap();
    assert!(matches!(cache.get::<bool>("k").await, Err(CacheError::Codec(_))));
}

/// A type that nests a value in arrays, objects and enum variants, in any order.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Nested {
    Leaf,
    List(Vec<Nested>),
    Map(BTreeMap<String, Nested>),
    Pair { first: Box<Nested> },
}

/// Returns a value nested in `depth` arrays and objects, alternately.
fn nested_value(depth: usize) -> Value {
    (0..depth).fold(Value::from(1), |inner, level| {
        if level % 2 == 0 {
            Value::from(vec![inner])
        } else {
            Value::from_iter([("k", inner)])
        }
    })
}

/// Returns a value whose text has `2 * levels` arrays and objects, or slightly more.
fn nested_enum(levels: usize) -> Nested {
    (0..levels).fold(Nested::Leaf, |inner, level| match level % 3 {
        0 => Nested::List(vec![inner]),
        1 => Nested::Map(BTreeMap::from([("k".to_owned(), inner)])),
        _ => Nested::Pair { first: Box::new(inner) },
    })
}

async fn what_is_nested_as_deep_as_the_reader_goes_is_read<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for depth in [0, 1, 100, 126, 127] {
        let value = nested_value(depth);
        cache.set("k", &value, Timeout::Default).await.unwrap();
        assert_eq!(cache.get::<Value>("k").await.unwrap(), Some(value), "{depth} levels");
    }
    // Each level is two levels of the JSON text: the variant's object and its content.
    let value = nested_enum(63);
    cache.set("k", &value, Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Nested>("k").await.unwrap(), Some(value));
    // The depths of siblings do not add up.
    let wide: Vec<Value> = (0..300).map(|_| nested_value(100)).collect();
    cache.set("k", &wide, Timeout::Default).await.unwrap();
    assert_eq!(cache.get::<Vec<Value>>("k").await.unwrap(), Some(wide));
}

async fn what_is_nested_deeper_is_refused<B: KvBackend>(cx: &Cx<B>) {
    let cache = cx.cache();
    for depth in [128, 129, 1000] {
        assert_refused(&cache, nested_value(depth), "nested too deeply").await;
        let empty: Vec<Value> = Vec::new();
        let inside = (1..depth).fold(Value::from(empty), |inner, _| Value::from(vec![inner]));
        assert_refused(&cache, inside, "nested too deeply").await;
    }
    for levels in [64, 65, 200] {
        assert_refused(&cache, nested_enum(levels), "nested too deeply").await;
    }
    // The error for another program's deep value does not call it "not JSON".
    let text = "[".repeat(200) + &"]".repeat(200);
    cx.put("shop:1:k", text).await;
    let error = cache.get::<Value>("k").await.unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}

async fn invalid_utf_8_is_an_error_in_every_field<B: KvBackend>(cx: &Cx<B>) {
    #[derive(Debug, Deserialize)]
    struct Done {
        #[expect(dead_code, reason = "only reading is looked at")]
        done: String,
    }
    let cache = cx.cache();
    for stored in [
        &b"{\"done\":\"1\",\"x\":\"\xff\"}"[..],
        b"{\"x\":{\"y\":[\"\xc3\x28\"]},\"done\":\"1\"}",
        b"{\"done\":\"1\",\"\xff\":1}",
        b"{\"done\":\"\xff\"}",
    ] {
        cx.put("shop:1:k", Bytes::from_static(stored)).await;
        let answer = cache.get::<Done>("k").await;
        assert!(matches!(answer, Err(CacheError::Codec(_))), "{answer:?}");
        assert!(cache.get_many::<Done>(["k"]).await.is_err());
    }
}

async fn what_serde_hides_is_an_error_and_no_wrong_value<B: KvBackend>(cx: &Cx<B>) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wide {
        number: u128,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Keyed {
        by_id: HashMap<u32, u8>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat<T> {
        #[serde(flatten)]
        inner: T,
    }
    let cache = cx.cache();
    // Both are read back as long as serde does not buffer them.
    let wide = Wide { number: u128::MAX };
    assert_eq!(round_trip(&cache, Wide { number: u128::MAX }).await, wide);
    let keyed = HashMap::from([(1, 2)]);
    assert_eq!(
        round_trip(&cache, Keyed { by_id: keyed.clone() }).await,
        Keyed { by_id: keyed.clone() }
    );
    // The documented limits: reading fails and never returns another value.
    cache.set("k", &Flat { inner: wide }, Timeout::Default).await.unwrap();
    assert!(matches!(cache.get::<Flat<Wide>>("k").await, Err(CacheError::Codec(_))));
    cache.set("k", &Flat { inner: keyed }, Timeout::Default).await.unwrap();
    assert!(matches!(
        cache.get::<Flat<HashMap<u32, u8>>>("k").await,
        Err(CacheError::Codec(_))
    ));
}
