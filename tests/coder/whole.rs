//! Tests of whole values.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveTime, TimeDelta, Utc};
use codex_kv::{Cache, CacheError, Timeout, coder, memory::MemoryBackend};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

/// A type that serializes as raw bytes, as `serde_bytes` does.
#[derive(Debug, Clone, PartialEq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Marker;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Name(String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(Option<bool>),
    Tuple(bool, Blob),
    Struct { open: bool, blob: Option<Blob> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    nothing: Option<u8>,
    something: Option<u8>,
    blob: Blob,
    list: Vec<Option<bool>>,
    set: BTreeSet<bool>,
    map: BTreeMap<String, (bool, Option<String>)>,
    keys: BTreeMap<bool, Option<Name>>,
    unit: (),
    marker: Marker,
    name: Option<Name>,
    names: Option<Vec<Name>>,
    shapes: Vec<Shape>,
    shape: Option<Shape>,
    unit_shape: Option<Shape>,
    text: String,
    letter: Option<char>,
    numbers: (i8, u64, f64, i128),
    some_numbers: (Option<i64>, Option<u64>, Option<f64>),
}

fn everything() -> Everything {
    Everything {
        flag: true,
        nothing: None,
        something: Some(7),
        blob: Blob(vec![0, 255]),
        list: vec![Some(true), None, Some(false)],
        set: BTreeSet::from([false, true]),
        map: BTreeMap::from([("a".into(), (false, Some("b".into()))), ("c".into(), (true, None))]),
        keys: BTreeMap::from([(true, None), (false, Some(Name("n".into())))]),
        unit: (),
        marker: Marker,
        name: Some(Name("x".into())),
        names: Some(vec![Name("y".into())]),
        shapes: vec![
            Shape::Unit,
            Shape::Newtype(Some(false)),
            Shape::Newtype(None),
            Shape::Tuple(true, Blob(vec![1])),
            Shape::Struct {
                open: true,
                blob: Some(Blob(vec![2])),
            },
        ],
        shape: Some(Shape::Struct {
            open: false,
            blob: None,
        }),
        unit_shape: Some(Shape::Unit),
        text: "1".into(),
        letter: Some('é'),
        numbers: (-1, u64::MAX, -0.5, i128::MIN),
        some_numbers: (Some(i64::MIN), Some(u64::MAX), Some(1.0)),
    }
}

fn cache() -> Cache<MemoryBackend> {
    Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap()
}

#[test]
fn cval_08_dump_turns_every_leaf_into_its_form() {
    let dumped = serde_json::to_value(coder::dump(&everything())).unwrap_err();
    // A `Value` cannot hold 128-bit integers; text can.
    assert!(dumped.to_string().contains("number out of range"), "{dumped}");
    let text = serde_json::to_string(&coder::dump(&Everything {
        numbers: (-1, 1, -0.5, 1),
        ..everything()
    }))
    .unwrap();
    let expected = json!({
        "flag": "1", "nothing": "", "something": 7, "blob": "00ff", "list": ["1", "", "0"], "set": ["0", "1"],
        "map": {"a": ["0", "b"], "c": ["1", ""]}, "keys": {"false": "n", "true": ""}, "unit": "", "marker": "", "name": "x",
        "names": ["y"],
        "shapes": ["Unit", {"Newtype": "0"}, {"Newtype": ""}, {"Tuple": ["1", "01"]}, {"Struct": {"open": "1", "blob": "02"}}],
        "shape": {"Struct": {"open": "0", "blob": ""}}, "unit_shape": "Unit", "text": "1", "letter": "é",
        "numbers": [-1, 1, -0.5, 1], "some_numbers": [i64::MIN, u64::MAX, 1.0],
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
}

#[tokio::test]
async fn cval_08_what_was_dumped_is_read_with_the_type_as_the_hint() {
    let cache = cache();
    cache
        .set("k", &coder::dump(&everything()), Timeout::Default)
        .await
        .unwrap();
    let coder::Coded(read) = cache.get::<coder::Coded<Everything>>("k").await.unwrap().unwrap();
    assert_eq!(read, everything());
    cache
        .set("k", &coder::Coded(everything()), Timeout::Default)
        .await
        .unwrap();
    assert_eq!(
        cache.get::<coder::Coded<Everything>>("k").await.unwrap().unwrap().0,
        everything()
    );
    // Read from a tree and from text.
    let small = (true, None::<Blob>, vec![Some(Shape::Tuple(false, Blob(vec![])))]);
    let tree = serde_json::to_value(coder::dump(&small)).unwrap();
    assert_eq!(
        coder::load::<(bool, Option<Blob>, Vec<Option<Shape>>), _>(&tree).unwrap(),
        small
    );
}

#[tokio::test]
async fn cval_08_what_has_no_form_passes_and_is_refused_by_the_strict_serializer() {
    let cache = cache();
    for float in [f64::NAN, f64::INFINITY] {
        let nested = (true, vec![Some(float)]);
        let refusal = cache.set("k", &coder::dump(&nested), Timeout::Default).await;
        let Err(CacheError::Codec(error)) = refusal else {
            panic!("{refusal:?}")
        };
        assert!(error.to_string().contains("NaN"), "{error}");
    }
    let map = HashMap::from([([1, 2], true)]);
    assert!(matches!(
        cache.set("k", &coder::dump(&map), Timeout::Default).await,
        Err(CacheError::Codec(_))
    ));
    assert!(!cache.has_key("k").await.unwrap());
    // Without the dump, raw bytes are refused.
    assert!(matches!(
        cache.set("k", &Blob(vec![1]), Timeout::Default).await,
        Err(CacheError::Codec(_))
    ));
}

fn unreadable<T: DeserializeOwned + std::fmt::Debug>(stored: &Value) {
    coder::load::<T, _>(stored).expect_err(&stored.to_string());
}

#[test]
fn cval_08_what_is_not_the_form_is_not_read() {
    unreadable::<bool>(&json!(true));
    unreadable::<bool>(&json!("true"));
    unreadable::<bool>(&json!(1));
    unreadable::<Option<u8>>(&json!(null));
    unreadable::<Option<u8>>(&json!("7"));
    unreadable::<()>(&json!(null));
    unreadable::<Blob>(&json!("0"));
    unreadable::<Blob>(&json!([0]));
    unreadable::<Option<Blob>>(&json!("zz"));
    unreadable::<Vec<bool>>(&json!(["1", true]));
    // A type that accepts any value gets the unchanged text.
    assert_eq!(coder::load::<Value, _>(&json!(["1", ""])).unwrap(), json!(["1", ""]));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    #[serde(with = "coder::uuid")]
    id: Uuid,
    #[serde(with = "coder::decimal")]
    total: Decimal,
    #[serde(with = "coder::datetime")]
    placed: DateTime<Utc>,
    #[serde(with = "coder::datetime::option")]
    paid: Option<DateTime<FixedOffset>>,
    #[serde(with = "coder::datetime::option")]
    sent: Option<DateTime<Utc>>,
    #[serde(with = "coder::date")]
    due: NaiveDate,
    #[serde(with = "coder::time")]
    slot: NaiveTime,
    #[serde(with = "coder::timedelta")]
    took: TimeDelta,
    #[serde(with = "coder::timedelta")]
    wait: Duration,
    #[serde(with = "coder::bytes")]
    digest: Vec<u8>,
    #[serde(with = "coder::bytes")]
    short: [u8; 2],
    #[serde(with = "coder::bytes")]
    body: Bytes,
    #[serde(with = "coder::set")]
    tags: HashSet<String>,
    #[serde(with = "coder::bool")]
    gift: bool,
    #[serde(with = "coder::none")]
    note: Option<(bool, String)>,
    #[serde(with = "coder::none")]
    reason: Option<u8>,
}

fn order() -> Order {
    Order {
        id: Uuid::from_u128(0x1234_5678_1234_5678_1234_5678_1234_5678),
        total: Decimal::new(-110, 2),
        placed: coder::load_datetime("2026-04-17T12:30:45.678901+00:00").unwrap(),
        paid: Some(coder::load_datetime("2026-04-17T00:00:00+05:30").unwrap()),
        sent: None,
        due: coder::load_date("2026-04-17").unwrap(),
        slot: coder::load_time("23:59:59.999999").unwrap(),
        took: TimeDelta::milliseconds(-1500),
        wait: Duration::from_micros(1),
        digest: vec![0, 255],
        short: [1, 2],
        body: Bytes::from_static(b"\x00hello"),
        tags: HashSet::from(["b".to_owned(), "a".to_owned()]),
        gift: true,
        note: Some((true, "n".to_owned())),
        reason: None,
    }
}

#[tokio::test]
async fn cval_06_the_serde_modules_write_and_read_the_forms() {
    let expected = json!({
        "id": "12345678-1234-5678-1234-567812345678", "total": "-1.10", "placed": "2026-04-17T12:30:45.678901+00:00",
        "paid": "2026-04-17T00:00:00+05:30", "sent": "", "due": "2026-04-17", "slot": "23:59:59.999999", "took": -1.5, "wait": 1e-6,
        "digest": "00ff", "short": "0102", "body": "0068656c6c6f", "tags": ["a", "b"], "gift": "1", "note": ["1", "n"], "reason": "",
    });
    let cache = cache();
    // The forms do not change if the whole value is dumped too.
    for dumped_too in [false, true] {
        if dumped_too {
            cache.set("k", &coder::dump(&order()), Timeout::Default).await.unwrap();
            assert_eq!(cache.get::<coder::Coded<Order>>("k").await.unwrap().unwrap().0, order());
        } else {
            cache.set("k", &order(), Timeout::Default).await.unwrap();
        }
        assert_eq!(cache.get::<Value>("k").await.unwrap().unwrap(), expected);
        assert_eq!(cache.get::<Order>("k").await.unwrap().unwrap(), order());
    }

    let mut wrong = expected;
    wrong["short"] = json!("010203");
    assert!(serde_json::from_value::<Order>(wrong).is_err());
}

#[tokio::test]
async fn cval_06_a_refusal_of_the_coder_reaches_the_caller() {
    let nanos = Order {
        placed: DateTime::from_timestamp_nanos(1),
        ..order()
    };
    let refusal = cache().set("k", &nanos, Timeout::Default).await.unwrap_err();
    assert!(refusal.to_string().contains("whole microseconds"), "{refusal}");
    let nanos = Order {
        wait: Duration::from_nanos(1),
        ..order()
    };
    let refusal = cache().set("k", &nanos, Timeout::Default).await.unwrap_err();
    assert!(refusal.to_string().contains("a timedelta of the coder"), "{refusal}");
}

/// Returns a number inside `depth` lists.
fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn cval_09_what_is_too_deep_to_be_read_is_refused_when_it_is_dumped() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Around {
        Newtype(Value),
        Tuple(Value, u8),
        Struct { inner: Value },
    }
    fn written<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> bool {
        match serde_json::to_string(&coder::dump(value)) {
            Ok(text) => {
                let coder::Coded(read): coder::Coded<T> = serde_json::from_str(&text).unwrap();
                assert_eq!(read, *value);
                true
            }
            Err(error) => {
                assert!(error.to_string().contains("nested too deeply"), "{error}");
                false
            }
        }
    }
    for depth in [1, 125, 126, 127, 128, 300] {
        assert_eq!(written(&nested(depth)), depth <= 127, "{depth}");
        assert_eq!(written(&Around::Newtype(nested(depth))), depth <= 126, "{depth}");
        assert_eq!(written(&Around::Tuple(nested(depth), 1)), depth <= 125, "{depth}");
        assert_eq!(
            written(&Around::Struct { inner: nested(depth) }),
            depth <= 125,
            "{depth}"
        );
        assert_eq!(written(&(nested(depth), 1)), depth <= 126, "{depth}");
        let map = BTreeMap::from([("k".to_owned(), nested(depth))]);
        assert_eq!(written(&map), depth <= 126, "{depth}");
    }
}

/// The documented limits: reading fails and never returns another value.
#[test]
fn cval_08_wide_numbers_and_integer_keys_that_serde_buffers_are_errors() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wide {
        number: u128,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Keyed {
        by_id: BTreeMap<u32, u8>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat<T> {
        #[serde(flatten)]
        inner: T,
    }
    fn read<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, serde_json::Error> {
        let text = serde_json::to_string(&coder::dump(value)).unwrap();
        serde_json::from_str::<coder::Coded<T>>(&text).map(|coded| coded.0)
    }
    let wide = || Wide { number: u128::MAX };
    let keyed = || Keyed {
        by_id: BTreeMap::from([(1, 2)]),
    };
    assert_eq!(read(&wide()).unwrap(), wide());
    assert_eq!(read(&keyed()).unwrap(), keyed());
    read(&Flat { inner: wide() }).unwrap_err();
    read(&Flat {
        inner: BTreeMap::from([(1_u32, 2_u8)]),
    })
    .unwrap_err();
}
