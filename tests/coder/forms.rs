//! Tests of each form on its own.

use std::{
    collections::{BTreeSet, HashSet},
    fmt::Debug,
    time::Duration,
};

use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use codex_kv::coder::{self, CoderError, OffsetTime, SecondsForm, TextForm};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

#[derive(Deserialize)]
struct Golden {
    coder: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    kind: String,
    dumped: Value,
    microseconds: Option<i64>,
    hex: Option<String>,
}

/// Asserts that the type reads `text` and writes it again.
fn read_and_written<K, T: TextForm<K>>(text: &str) -> T {
    let value = T::from_text(text).unwrap();
    assert_eq!(value.to_text().unwrap(), text);
    value
}

#[test]
fn cval_06_every_golden_form_is_read_and_written() {
    let golden: Golden = serde_json::from_str(include_str!("../data/cache.json")).unwrap();
    assert_eq!(golden.coder.len(), 33);
    for Entry {
        kind,
        dumped,
        microseconds,
        hex,
    } in golden.coder
    {
        let text = dumped.as_str().unwrap_or_default();
        match &*kind {
            "datetime" if text.get(19..).is_some_and(|rest| rest.contains('+')) => {
                let moment: DateTime<FixedOffset> = read_and_written(text);
                assert_eq!(coder::load_datetime::<DateTime<Utc>>(text).unwrap(), moment);
                assert!(coder::load_datetime::<NaiveDateTime>(text).is_err(), "{text}");
            }
            "datetime" => {
                read_and_written::<_, NaiveDateTime>(text);
                assert!(coder::load_datetime::<DateTime<Utc>>(text).is_err(), "{text}");
            }
            "date" => drop(read_and_written::<_, NaiveDate>(text)),
            "time" if text.contains('+') => {
                let OffsetTime { time, offset } = read_and_written(text);
                assert_eq!(
                    (time.to_string(), offset.to_string()),
                    ("01:02:03".into(), "+05:30".into())
                );
                assert!(coder::load_time::<NaiveTime>(text).is_err());
            }
            "time" => drop(read_and_written::<_, NaiveTime>(text)),
            "timedelta" => {
                let (seconds, micros) = (dumped.as_f64().unwrap(), microseconds.unwrap());
                let span: TimeDelta = coder::load_timedelta(seconds).unwrap();
                assert_eq!(span, TimeDelta::microseconds(micros));
                assert_eq!(coder::dump_timedelta(&span).unwrap().to_bits(), seconds.to_bits());
                let unsigned = coder::load_timedelta::<Duration>(seconds).ok();
                assert_eq!(unsigned, u64::try_from(micros).ok().map(Duration::from_micros));
            }
            "decimal" => golden_decimal(text),
            "uuid" => drop(read_and_written::<_, Uuid>(text)),
            "bytes" => {
                assert_eq!(Some(text), hex.as_deref());
                let bytes = coder::load_bytes(text).unwrap();
                assert_eq!(bytes.len() * 2, text.len());
                assert!(bytes.len() < 256 || bytes == (0..=255).collect::<Vec<u8>>());
                assert_eq!(coder::dump_bytes(&bytes), text);
            }
            "bool" => {
                assert_eq!(coder::load_bool(text), Ok(text == "1"));
                assert_eq!(coder::dump_bool(text == "1"), text);
            }
            "none" => {
                assert_eq!((coder::dump_none(), text), ("", ""));
                coder::load_none(text).unwrap();
            }
            "set" => {
                let set: HashSet<i64> = coder::load_set(serde_json::from_value(dumped.clone()).unwrap()).unwrap();
                assert_eq!(set, HashSet::from([1, 2, 3]));
                assert_eq!(serde_json::to_value(coder::dump_set(&set)).unwrap(), dumped);
            }
            other => panic!("a kind that is not tested: {other}"),
        }
    }
}

fn golden_decimal(text: &str) {
    match text {
        // 107 bits, which is more than a `Decimal` can hold.
        "123456789012345678901234567890.12" => {
            let error = coder::load_decimal::<Decimal>(text).unwrap_err();
            assert!(error.to_string().contains("at most 96 bits"), "{error}");
        }
        // The value is held exactly, but a `Decimal` cannot write an exponent.
        "1E+3" => assert_eq!(coder::load_decimal::<Decimal>(text).unwrap(), Decimal::ONE_THOUSAND),
        _ => drop(read_and_written::<_, Decimal>(text)),
    }
}

#[track_caller]
fn refused<T: Debug>(load: impl Fn(&str) -> Result<T, CoderError>, texts: &[&str]) {
    for text in texts {
        let error = load(text).expect_err(text);
        assert!(error.to_string().contains("expected"), "{error}");
    }
}

#[test]
fn cval_06_a_text_that_is_not_written_is_not_read() {
    refused(
        coder::load_datetime::<NaiveDateTime>,
        &[
            "",
            "T",
            "2026-04-17",
            "2026-04-17 12:30:45",
            "2026-04-17T12:30",
            "2026-04-17T12:30:45Z",
            "2026-04-17T12:30:45.12",
            "2026-04-17T12:30:45.000000",
            "2026-04-17T12:30:45.1234567",
            "2026-4-17T12:30:45",
            "2026-02-29T12:30:45",
            "2026-04-17T24:00:00",
            "2026-04-17T23:59:60",
            "+2026-04-17T12:30:45",
            "0000-01-01T00:00:00",
            "10000-01-01T00:00:00",
            "2026-04-17T12:30:45 ",
            "2026-04-17T12:30:45\n",
        ],
    );
    refused(
        coder::load_datetime::<DateTime<FixedOffset>>,
        &[
            "2026-04-17T12:30:45",
            "2026-04-17T12:30:45Z",
            "2026-04-17T12:30:45+5:30",
            "2026-04-17T12:30:45+0530",
            "2026-04-17T12:30:45+05",
            "2026-04-17T12:30:45+24:00",
            "2026-04-17T12:30:45+05:60",
            "2026-04-17T12:30:45+05:30:00",
            "2026-04-17T12:30:45-00:00",
            "2026-04-17T12:30:45+05:30:15:1",
            "2026-04-17T12:30:45+",
            "+05:30",
            "é+05:30",
            "2026-04-17T12:30:45++5:30",
            "2026-04-17T12:30:45+99999999999:00",
        ],
    );
    refused(
        coder::load_date::<NaiveDate>,
        &[
            "",
            "2026-04",
            "20260417",
            "2026-13-01",
            "2026-04-31",
            "-001-01-01",
            "2026-04-17T00:00:00",
        ],
    );
    refused(
        coder::load_time::<NaiveTime>,
        &["", "12:30", "1:02:03", "12:30:45.5", "25:00:00", "12:30:45+00:00"],
    );
    refused(
        coder::load_time::<OffsetTime>,
        &["12:30:45", "12:30:45.5+00:00", "+00:00"],
    );
    refused(
        coder::load_uuid::<Uuid>,
        &[
            "",
            "12345678123456781234567812345678",
            "{12345678-1234-5678-1234-567812345678}",
            "12345678-1234-5678-1234-56781234567",
            "urn:uuid:12345678-1234-5678-1234-567812345678",
            "ABCDEF12-1234-5678-1234-567812345678",
            "1234567-81234-5678-1234-567812345678",
        ],
    );
    refused(coder::load_bytes, &["0", "0g", "FF", " 00", "0x00", "é"]);
    refused(coder::load_bool, &["", "2", "true", "01", " 1"]);
    refused(coder::load_none, &[" ", "None", "null"]);
    assert!(coder::load_set::<_, BTreeSet<u8>>(vec![1, 2, 1]).is_err());
}

#[test]
fn cval_06_a_decimal_that_cannot_be_held_is_an_error() {
    refused(
        coder::load_decimal::<Decimal>,
        &[
            "",
            "-",
            ".",
            "1.",
            ".5",
            "+1",
            " 1",
            "1 ",
            "01",
            "-00",
            "1e3",
            "1E3",
            "1E+",
            "1E+03",
            "10E+2",
            "1.50E+1",
            "0x10",
            "1_000",
            "NaN",
            "Infinity",
            "-Infinity",
            "sNaN",
            "1E-29",
            "1.0E-28",
            "1E+29",
            "1E+99999999999999999999",
            "1E-9223372036854775808",
            "٣",
            "79228162514264337593543950336",
            "0.00000000001",
            "12E-10",
            "--1",
            "1-",
        ],
    );
    for (text, value) in [
        ("79228162514264337593543950335", Decimal::MAX),
        ("-79228162514264337593543950335", Decimal::MIN),
        ("0.000001", Decimal::new(1, 6)),
        ("1E-7", Decimal::new(1, 7)),
        ("1.23E-7", Decimal::new(123, 9)),
        ("0E-8", Decimal::new(0, 8)),
        ("0.000000", Decimal::new(0, 6)),
        ("-1.50", Decimal::new(-150, 2)),
    ] {
        let read: Decimal = read_and_written(text);
        assert_eq!((read, read.scale()), (value, value.scale()), "{text}");
    }
    // The sign of a zero and the zeros after the point are kept.
    let zero: Decimal = coder::load_decimal("-0.00").unwrap();
    assert!(zero.is_sign_negative() && zero.scale() == 2);
    for (text, value) in [("1.5E+3", 1500), ("-7E+2", -700), ("0E+5", 0), ("0E+999999", 0)] {
        assert_eq!(
            coder::load_decimal::<Decimal>(text).unwrap(),
            Decimal::from(value),
            "{text}"
        );
    }
}

#[test]
fn cval_06_a_moment_that_cannot_be_written_is_an_error() {
    let day = NaiveDate::from_ymd_opt(2026, 4, 17).unwrap();
    let nanos = day.and_hms_nano_opt(12, 30, 45, 1).unwrap();
    let leap = day.and_hms_micro_opt(23, 59, 59, 1_000_000).unwrap();
    for moment in [nanos, leap, NaiveDateTime::MIN, NaiveDateTime::MAX] {
        let error = coder::dump_datetime(&moment).unwrap_err();
        assert!(error.to_string().contains("whole microseconds"), "{error}");
        assert!(coder::dump_datetime(&moment.and_utc()).is_err());
        let west = FixedOffset::west_opt(86_399).unwrap();
        assert!(coder::dump_datetime(&west.from_utc_datetime(&moment)).is_err());
    }
    for year in [-1, 0, 10_000] {
        assert!(coder::dump_date(&NaiveDate::from_ymd_opt(year, 1, 1).unwrap()).is_err());
    }
    // Year 1 at this offset is year 0 in UTC.
    let early = "0001-01-01T00:00:00+05:30";
    read_and_written::<_, DateTime<FixedOffset>>(early);
    assert!(coder::dump_datetime(&coder::load_datetime::<DateTime<Utc>>(early).unwrap()).is_err());
    // Python writes the seconds of an offset only if they are not zero.
    for text in [
        "2026-04-17T12:30:45-00:44:30",
        "2026-04-17T12:30:45-03:30",
        "2026-04-17T00:00:00.000001+23:59:59",
    ] {
        read_and_written::<_, DateTime<FixedOffset>>(text);
    }
}

#[test]
fn cval_06_a_timedelta_that_a_float_cannot_hold_is_an_error() {
    for seconds in [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        1e300,
        8.64e13,
        1e-7,
        0.123_456_7,
        1.5e-6,
    ] {
        assert!(coder::load_timedelta::<TimeDelta>(seconds).is_err(), "{seconds}");
    }
    assert!(coder::load_timedelta::<Duration>(-1.0).is_err());
    assert!(coder::dump_timedelta(&TimeDelta::nanoseconds(1)).is_err());
    assert!(coder::dump_timedelta(&TimeDelta::nanoseconds(-1500)).is_err());
    assert!(coder::dump_timedelta(&Duration::MAX).is_err());
    // 2^53 + 1 microseconds, and Python's longest timedelta. A float cannot represent its last
    // microsecond.
    let long = TimeDelta::microseconds((1 << 60) + 1);
    assert!(coder::dump_timedelta(&long).is_err());
    let days = TimeDelta::days(999_999_999);
    assert_eq!(
        coder::dump_timedelta(&days).unwrap().to_bits(),
        86_399_999_913_600_f64.to_bits()
    );
    assert!(coder::dump_timedelta(&TimeDelta::days(1_000_000_000)).is_err());
    assert_eq!(
        coder::load_timedelta::<TimeDelta>(0.1).unwrap(),
        TimeDelta::milliseconds(100)
    );
}

proptest! {
    #[test]
    fn cval_06_any_datetime_comes_back(
        micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000, offset in -86_399..=86_399_i32,
    ) {
        let utc = DateTime::from_timestamp_micros(micros).unwrap();
        let text = coder::dump_datetime(&utc).unwrap();
        prop_assert_eq!(coder::load_datetime::<DateTime<Utc>>(&text).unwrap(), utc);
        let fixed = utc.with_timezone(&FixedOffset::east_opt(offset).unwrap());
        if let Ok(text) = coder::dump_datetime(&fixed) {
            let read: DateTime<FixedOffset> = coder::load_datetime(&text).unwrap();
            prop_assert_eq!((read, read.offset()), (fixed, fixed.offset()));
        }
    }

    #[test]
    fn cval_06_any_decimal_comes_back(coefficient in -79_228_162_514_264_337_593_543_950_335_i128..=79_228_162_514_264_337_593_543_950_335, scale in 0..=28_u32) {
        let decimal = Decimal::from_i128_with_scale(coefficient, scale);
        let read: Decimal = coder::load_decimal(&coder::dump_decimal(&decimal).unwrap()).unwrap();
        prop_assert_eq!((read, read.scale()), (decimal, scale));
    }

    #[test]
    fn cval_06_any_timedelta_that_is_written_comes_back(micros in prop_oneof![any::<i64>(), -(1_i64 << 53)..(1 << 53)]) {
        match coder::dump_timedelta(&TimeDelta::microseconds(micros)) {
            Ok(seconds) => prop_assert_eq!(coder::load_timedelta::<TimeDelta>(seconds).unwrap().to_micros(), Some(micros.into())),
            // Floats distinguish microseconds up to 2^33 seconds.
            Err(_) => prop_assert!(micros.unsigned_abs() > (1 << 33) * 1_000_000),
        }
    }

    #[test]
    fn cval_06_any_bytes_and_uuid_come_back(bytes: Vec<u8>, number: u128) {
        prop_assert_eq!(coder::load_bytes(&coder::dump_bytes(&bytes)).unwrap(), bytes);
        let uuid = Uuid::from_u128(number);
        prop_assert_eq!(coder::load_uuid::<Uuid>(&coder::dump_uuid(&uuid).unwrap()).unwrap(), uuid);
    }

    #[test]
    fn cval_06_whatever_text_is_read_is_the_one_that_is_written(text in "[-+]?[0-9]{1,4}[-:.E]?[+-]?[0-9]{0,6}[-:.T]?[0-9+:.]{0,12}") {
        if let Ok(decimal) = coder::load_decimal::<Decimal>(&text) {
            prop_assert!(text.contains("E+") || decimal.to_text().unwrap() == text);
        }
        if let Ok(value) = coder::load_datetime::<NaiveDateTime>(&text) {
            prop_assert_eq!(coder::dump_datetime(&value).unwrap(), &*text);
        }
        if let Ok(value) = coder::load_time::<NaiveTime>(&text) {
            prop_assert_eq!(coder::dump_time(&value).unwrap(), text);
        }
    }
}
