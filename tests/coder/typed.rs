//! Tests of types inside whole values whose serde form differs from the coder's form.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use codex_kv::{
    Cache, Timeout,
    coder::{self, Coded},
    memory::MemoryBackend,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

fn at<T: coder::TextForm<coder::kind::DateTime>>(text: &str) -> T {
    coder::load_datetime(text).unwrap()
}

fn dumped<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(coder::dump(value)).unwrap()
}

/// Asserts that the value is written as `expected`, as a tree and as text, and is read back from
/// both.
#[track_caller]
fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, expected: &Value) {
    assert_eq!(dumped(value), *expected);
    assert_eq!(coder::load::<T, _>(expected.clone()).unwrap(), *value);
    let text = serde_json::to_string(&coder::dump(value)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *expected);
    assert_eq!(serde_json::from_str::<Coded<T>>(&text).unwrap().0, *value);
}

/// Asserts the same for the value inside a container.
#[track_caller]
fn everywhere<T>(value: &T, expected: &Value)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Held<T> {
        plain: T,
        optional: Option<T>,
        boxed: Box<T>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype<T>(T);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair<T>(T, Option<T>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape<T> {
        One(T),
        Two(T, bool),
        Named { value: T },
    }

    both_ways(value, expected);
    both_ways(&vec![value.clone()], &json!([expected]));
    both_ways(&(value.clone(), 1), &json!([expected, 1]));
    both_ways(
        &BTreeMap::from([("k".to_owned(), value.clone())]),
        &json!({"k": expected}),
    );
    both_ways(&Newtype(value.clone()), expected);
    both_ways(&Some(Newtype(value.clone())), expected);
    both_ways(&Pair(value.clone(), None), &json!([expected, ""]));
    both_ways(&Box::new(value.clone()), expected);
    both_ways(&Shape::One(value.clone()), &json!({"One": expected}));
    both_ways(&Shape::Two(value.clone(), true), &json!({"Two": [expected, "1"]}));
    both_ways(
        &Shape::Named { value: value.clone() },
        &json!({"Named": {"value": expected}}),
    );
    both_ways(
        &Held {
            plain: value.clone(),
            optional: Some(value.clone()),
            boxed: Box::new(value.clone()),
        },
        &json!({"plain": expected, "optional": expected, "boxed": expected}),
    );
    assert_eq!(dumped(&value), *expected);
    assert_eq!(dumped(&[value]), json!([expected]));
    assert_eq!(dumped(&Cow::Borrowed(value)), *expected);
}

#[test]
fn cval_08_a_span_is_its_seconds_wherever_it_lies() {
    everywhere(&Duration::from_millis(1_500), &json!(1.5));
    everywhere(&Duration::ZERO, &json!(0.0));
    everywhere(&Duration::from_micros(1), &json!(1e-6));
    everywhere(&TimeDelta::milliseconds(-1_500), &json!(-1.5));
    everywhere(&TimeDelta::microseconds(-1), &json!(-1e-6));
    everywhere(&TimeDelta::days(999_999_999), &json!(86_399_999_913_600.0));
    // Whole seconds, as a writer without floats writes them.
    assert_eq!(coder::load::<Duration, _>(json!(2)).unwrap(), Duration::from_secs(2));
    assert_eq!(coder::load::<TimeDelta, _>(json!(-2)).unwrap(), TimeDelta::seconds(-2));
}

#[test]
fn cval_08_a_moment_is_pythons_isoformat_wherever_it_lies() {
    let text = "2026-04-17T12:30:45.120000";
    everywhere::<DateTime<Utc>>(&at(&format!("{text}+00:00")), &json!(format!("{text}+00:00")));
    everywhere::<DateTime<FixedOffset>>(&at(&format!("{text}+05:30")), &json!(format!("{text}+05:30")));
    everywhere::<NaiveDateTime>(&at(text), &json!(text));
    everywhere::<SystemTime>(&at(&format!("{text}+00:00")), &json!(format!("{text}+00:00")));
    everywhere::<NaiveDate>(&coder::load_date("0999-01-02").unwrap(), &json!("0999-01-02"));
    everywhere::<NaiveTime>(&coder::load_time("12:30:45.120000").unwrap(), &json!("12:30:45.120000"));
    everywhere::<NaiveTime>(&coder::load_time("00:00:00").unwrap(), &json!("00:00:00"));
    for text in [
        "2026-04-17T12:30:45+00:00",
        "0001-01-01T00:00:00+00:00",
        "9999-12-31T23:59:59.999999+00:00",
    ] {
        everywhere::<DateTime<Utc>>(&at(text), &json!(text));
    }
    let local: DateTime<Local> = at::<DateTime<Utc>>("2026-04-17T12:30:45.120000+00:00").into();
    everywhere(&local, &json!(coder::dump_datetime(&local).unwrap()));
}

#[test]
fn cval_08_a_decimal_is_pythons_str_wherever_it_lies() {
    for text in [
        "1E-7",
        "-1.23E-7",
        "0.000001",
        "1.10",
        "-0.00",
        "0E-8",
        "0",
        "1E-28",
        "79228162514264337593543950335",
    ] {
        let decimal: Decimal = coder::load_decimal(text).unwrap();
        everywhere(&decimal, &json!(text));
        // The sign of a zero is lost; only the newtype reads it.
        let read: Decimal = coder::load(json!(text)).unwrap();
        assert_eq!(read.scale(), decimal.scale(), "{text}");
        let coder::Decimal(read) = coder::load::<coder::Decimal<Decimal>, _>(json!(text)).unwrap();
        assert_eq!(coder::dump_decimal(&read).unwrap(), text);
    }
    everywhere(&Uuid::from_u128(0xabc), &json!("00000000-0000-0000-0000-000000000abc"));
}

#[test]
fn cval_08_bytes_are_hex_wherever_they_lie() {
    everywhere(&vec![0_u8, 255], &json!("00ff"));
    everywhere(&[1_u8, 2], &json!("0102"));
    everywhere(&[7_u8; 32], &json!("07".repeat(32)));
    let boxed = vec![0_u8, 255].into_boxed_slice();
    both_ways(&(boxed.clone(), Some(boxed)), &json!(["00ff", "00ff"]));
    both_ways(&vec![Vec::<u8>::new()], &json!([""]));
    both_ways(&Vec::<u8>::new(), &json!(""));
    assert_eq!(dumped(&[1_u8, 2][..]), json!("0102"));
    assert_eq!(dumped(&(&[1_u8, 2][..],)), json!(["0102"]));
    assert_eq!(dumped(&(Cow::Borrowed(&[1_u8, 2][..]),)), json!(["0102"]));
    // Empty bytes in an option are read as `None`, like every value that is written as empty text.
    assert_eq!(
        coder::load::<Option<Vec<u8>>, _>(dumped(&Some(Vec::<u8>::new()))).unwrap(),
        None
    );
    // A wrong length, and text that is not hexadecimal.
    coder::load::<[u8; 2], _>(json!("010203")).unwrap_err();
    coder::load::<Vec<u8>, _>(json!("0g")).unwrap_err();
}

#[test]
fn cval_08_numbers_that_are_no_bytes_stay_lists() {
    both_ways(&vec![1_u16, 2], &json!([1, 2]));
    both_ways(&vec![1_i8, -2], &json!([1, -2]));
    both_ways(&(1_u8, 2_u8), &json!([1, 2]));
    both_ways(&vec![Some(1_u8)], &json!([1]));
    both_ways(&VecDeque::from([1_u8, 2]), &json!([1, 2]));
    both_ways(&(1_i64, 2_i32), &json!([1, 2]));
    both_ways(
        &vec!["2026-04-17T12:30:45.12Z".to_owned()],
        &json!(["2026-04-17T12:30:45.12Z"]),
    );
}

/// A different type that looks like serde's `Duration`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename = "Duration")]
struct Lookalike {
    secs: u64,
    nanos: u32,
}

#[test]
fn cval_08_a_type_of_the_same_name_and_shape_stays_what_it_is() {
    both_ways(&Lookalike { secs: 1, nanos: 2 }, &json!({"secs": 1, "nanos": 2}));
}

/// Behind a type that hides the value from the coder, the parts are written and read.
#[test]
fn cval_08_what_is_hidden_is_read_as_it_was_written() {
    use std::sync::Mutex;

    #[derive(Serialize, Deserialize)]
    struct Hidden {
        bytes: Mutex<Vec<u8>>,
        array: Mutex<[u8; 2]>,
        span: Mutex<Duration>,
        delta: Mutex<TimeDelta>,
        system: Mutex<SystemTime>,
        moment: Mutex<DateTime<Utc>>,
        total: Mutex<Decimal>,
    }

    let hidden = Hidden {
        bytes: Mutex::new(vec![1, 2]),
        array: Mutex::new([1, 2]),
        span: Mutex::new(Duration::from_millis(1_500)),
        delta: Mutex::new(TimeDelta::milliseconds(-1_500)),
        system: Mutex::new(at("2026-04-17T12:30:45.120000+00:00")),
        moment: Mutex::new(at("2026-04-17T12:30:45.120000+00:00")),
        total: Mutex::new(Decimal::new(1, 7)),
    };
    let read: Hidden = coder::load(dumped(&hidden)).unwrap();
    assert_eq!(read.bytes.into_inner().unwrap(), [1, 2]);
    assert_eq!(read.array.into_inner().unwrap(), [1, 2]);
    assert_eq!(read.span.into_inner().unwrap(), Duration::from_millis(1_500));
    assert_eq!(read.delta.into_inner().unwrap(), TimeDelta::milliseconds(-1_500));
    assert_eq!(read.system.into_inner().unwrap(), *hidden.system.lock().unwrap());
    assert_eq!(read.moment.into_inner().unwrap(), *hidden.moment.lock().unwrap());
    assert_eq!(read.total.into_inner().unwrap(), Decimal::new(1, 7));
}

#[test]
fn cval_08_what_a_form_cannot_hold_is_refused_inside_a_value_too() {
    let refusal = |error: serde_json::Error| error.to_string();
    let span = serde_json::to_value(coder::dump(&[Duration::from_nanos(1)]))
        .map_err(refusal)
        .unwrap_err();
    assert!(span.contains("whole microseconds"), "{span}");
    let moment = DateTime::from_timestamp_nanos(1);
    let moment = serde_json::to_value(coder::dump(&[moment]))
        .map_err(refusal)
        .unwrap_err();
    assert!(moment.contains("whole microseconds"), "{moment}");
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    serde_json::to_value(coder::dump(&[early])).unwrap_err();
    coder::load::<SystemTime, _>(json!("1969-12-31T23:59:59+00:00")).unwrap_err();
    coder::load::<SystemTime, _>(json!("2026-04-17T12:30:45.12Z")).unwrap_err();
    coder::load::<Duration, _>(json!(-1.0)).unwrap_err();
    coder::load::<Duration, _>(json!(1e-7)).unwrap_err();
    coder::load::<Duration, _>(json!(u64::MAX)).unwrap_err();
    coder::load::<TimeDelta, _>(json!(8.64e13)).unwrap_err();
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Forms {
    took: coder::Timedelta<Duration>,
    placed: coder::Datetime<DateTime<Utc>>,
    seen: coder::Datetime<SystemTime>,
    due: coder::Date<NaiveDate>,
    slot: coder::Time<NaiveTime>,
    total: coder::Decimal<Decimal>,
    id: coder::Uuid<Uuid>,
    digest: coder::Bytes<Vec<u8>>,
    gift: coder::Bool,
}

fn forms() -> Forms {
    Forms {
        took: coder::Timedelta(Duration::from_millis(1_500)),
        placed: coder::Datetime(at("2026-04-17T12:30:45.120000+00:00")),
        seen: coder::Datetime(at("1969-12-31T23:59:59.500000+00:00")),
        due: coder::Date(coder::load_date("2026-04-17").unwrap()),
        slot: coder::Time(coder::load_time("12:30:45").unwrap()),
        total: coder::Decimal(Decimal::new(1, 7)),
        id: coder::Uuid(Uuid::from_u128(1)),
        digest: coder::Bytes(vec![0, 255]),
        gift: coder::Bool(true),
    }
}

/// If serde buffers the input, only the newtypes read their forms.
#[tokio::test]
async fn cval_08_newtypes_work_where_serde_hides_the_type() {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        forms: Forms,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Untagged {
        Forms(Forms),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Forms(Forms),
    }

    let expected = json!({
        "took": 1.5, "placed": "2026-04-17T12:30:45.120000+00:00", "seen": "1969-12-31T23:59:59.500000+00:00",
        "due": "2026-04-17", "slot": "12:30:45", "total": "1E-7", "id": "00000000-0000-0000-0000-000000000001",
        "digest": "00ff", "gift": "1",
    });
    let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
    for whole in [false, true] {
        let value = (
            Flat {
                name: "n".into(),
                forms: forms(),
            },
            Untagged::Forms(forms()),
            Tagged::Forms(forms()),
        );
        if whole {
            cache.set("k", &coder::dump(&value), Timeout::Default).await.unwrap();
            let read = cache
                .get::<Coded<(Flat, Untagged, Tagged)>>("k")
                .await
                .unwrap()
                .unwrap();
            assert_eq!(read.0, value);
        } else {
            cache.set("k", &value, Timeout::Default).await.unwrap();
            assert_eq!(
                cache.get::<(Flat, Untagged, Tagged)>("k").await.unwrap().unwrap(),
                value
            );
        }
        let stored: Value = cache.get("k").await.unwrap().unwrap();
        assert_eq!(stored[1], expected);
    }
}

type Row = (
    DateTime<Utc>,
    DateTime<FixedOffset>,
    NaiveDateTime,
    SystemTime,
    TimeDelta,
    Vec<u8>,
    Decimal,
);

proptest! {
    #[test]
    fn cval_08_any_span_and_moment_comes_back_from_inside_a_value(
        micros in 0..(1_i64 << 52), offset in -1_439..=1_439_i32, bytes: Vec<u8>,
        coefficient in -79_228_162_514_264_337_593_543_950_335_i128..=79_228_162_514_264_337_593_543_950_335,
        scale in 0..=28_u32,
    ) {
        let utc = DateTime::from_timestamp_micros(micros).unwrap();
        let fixed = utc.with_timezone(&FixedOffset::east_opt(offset * 60).unwrap());
        let span = Duration::from_micros(micros.unsigned_abs());
        let value = (utc, fixed, utc.naive_utc(), SystemTime::UNIX_EPOCH + span, TimeDelta::microseconds(-micros), bytes,
            Decimal::from_i128_with_scale(coefficient, scale));
        let text = serde_json::to_string(&coder::dump(&value)).unwrap();
        let Coded(read): Coded<Row> = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(read.1.offset(), fixed.offset());
        prop_assert_eq!(read.6.scale(), scale);
        let tree: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&tree[0], &json!(coder::dump_datetime(&utc).unwrap()));
        prop_assert_eq!(&tree[1], &json!(coder::dump_datetime(&fixed).unwrap()));
        prop_assert_eq!(&tree[6], &json!(coder::dump_decimal(&value.6).unwrap()));
    }
}
