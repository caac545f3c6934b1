//! Tests of properties that hold for any data.

use codex_kv::session::{SessionCodec, SessionData};
use proptest::prelude::*;

use super::{at, codec, golden};

/// Returns arbitrary JSON trees, including problematic strings.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_filter_map("finite", |float| serde_json::Number::from_f64(float).map(Into::into)),
        text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\/\u{0}-\u{1f}\u{7f}-\u{a0}\u{2028}\u{d7ff}\u{e000}\u{ffff}\u{10ffff}🦀:,{}]{0,12}",
        "(NaN|Infinity|,|\"|\\\\){0,6}"
    ]
}

proptest! {
    #[test]
    fn scod_02_any_data_comes_back(entries in prop::collection::vec((text(), json()), 0..8), seconds in 0..u64::from(u32::MAX)) {
        let mut data = SessionData::new();
        for (name, value) in &entries {
            data.insert(name, value).unwrap();
        }
        let codec = codec();
        let payload = codec.encode(&data, at(seconds)).unwrap();
        prop_assert!(payload.is_ascii());
        let read = codec.decode(&payload).unwrap();
        prop_assert_eq!(read.to_json(), data.to_json());
        for (index, (name, value)) in entries.iter().enumerate() {
            if !entries[index + 1..].iter().any(|(later, _)| later == name) {
                prop_assert_eq!(&read.get::<serde_json::Value>(name).unwrap().unwrap(), value);
            }
        }
    }

    #[test]
    fn scod_05_floats_are_read_back_to_the_bit(bits in any::<u64>()) {
        let float = f64::from_bits(bits);
        let mut data = SessionData::new();
        if float.is_finite() {
            data.insert("f", &float).unwrap();
            prop_assert_eq!(data.get::<f64>("f").unwrap().map(f64::to_bits), Some(bits));
        } else {
            prop_assert!(data.insert("f", &float).is_err());
        }
    }

    #[test]
    fn scod_06_arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(codec().decode(&bytes).is_err());
    }

    #[test]
    fn scod_06_arbitrary_text_never_panics(text in "[\\[\\]{}:,\"\\\\0-9a-zNIfity eE+\\-.\u{d7ff}🦀]{0,40}") {
        if let Ok(data) = SessionData::from_json(&text) {
            prop_assert_eq!(SessionData::from_json(&data.to_json()).unwrap().to_json(), data.to_json());
        }
    }

    #[test]
    fn scod_03_mutated_payloads_are_refused(which in 0..30_usize, at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let original = golden().sessions[which].encoded.clone().into_bytes();
        let mut payload = original.clone();
        let at = at.index(payload.len());
        if cut { payload.truncate(at) } else { payload[at] = to }
        let read = codec().decode(&payload);
        prop_assert_eq!(read.is_ok(), payload == original);
    }
}
