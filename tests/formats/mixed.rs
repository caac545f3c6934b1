//! Tests of values of one format that are read in another format.

use std::{collections::BTreeMap, fmt::Debug};

use bytes::Bytes;
use codex_kv::{Compressed, Json, MessagePack, Serializer, cache::Encrypted, crypto::KeyRing};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn keys() -> KeyRing {
    KeyRing::new(1, [1; 32])
}

const KEY: &str = "shop:1:k";

/// A format, with functions that write a value in it and that read any bytes in it.
struct Format {
    name: &'static str,
    write: fn(&Value) -> Bytes,
    reads: fn(&[u8]) -> Vec<bool>,
}

fn write(format: &impl Serializer, value: &Value) -> Bytes {
    format.serialize_for(KEY, value).unwrap()
}

/// Returns whether the bytes can be read as each of several types.
fn reads(format: &impl Serializer, stored: &[u8]) -> Vec<bool> {
    fn is_read<T: DeserializeOwned + Debug>(format: &impl Serializer, stored: &[u8]) -> bool {
        format.deserialize_for::<T>(KEY, stored).is_ok()
    }
    vec![
        is_read::<Value>(format, stored),
        is_read::<i64>(format, stored),
        is_read::<u8>(format, stored),
        is_read::<bool>(format, stored),
        is_read::<Option<String>>(format, stored),
        is_read::<String>(format, stored),
        is_read::<Vec<u8>>(format, stored),
        is_read::<BTreeMap<String, Value>>(format, stored),
        is_read::<()>(format, stored),
    ]
}

macro_rules! formats {
    ($($name:literal: $format:expr;)*) => {
        [$(Format {
            name: $name,
            write: |value| write(&$format, value),
            reads: |stored| reads(&$format, stored),
        }),*]
    };
}

fn formats() -> [Format; 7] {
    formats! {
        "json": Json;
        "messagepack": MessagePack;
        "compressed json": Compressed::new(Json).threshold(64);
        "compressed messagepack": Compressed::new(MessagePack).threshold(64);
        "encrypted json": Encrypted::new(Json, keys());
        "encrypted messagepack": Encrypted::new(MessagePack, keys());
        "encrypted compressed json": Encrypted::new(Compressed::new(Json).threshold(64), keys());
    }
}

fn values() -> Vec<Value> {
    let mut values: Vec<Value> = (-40..300).map(Value::from).collect();
    values.extend([
        Value::Null,
        true.into(),
        1.5.into(),
        "".into(),
        "text".into(),
        "long ".repeat(100).into(),
        vec![7_u8; 200].into(),
        serde_json::json!({"a": [1, {"b": null}]}),
    ]);
    values
}

#[test]
fn cval_11_a_value_of_one_format_is_an_error_in_every_other() {
    for written in formats() {
        for value in values() {
            let stored = (written.write)(&value);
            for read in formats() {
                let outcomes = (read.reads)(&stored);
                if read.name == written.name {
                    assert!(outcomes[0], "{} does not read its own {value}", read.name);
                } else {
                    let none = outcomes.iter().all(|is_read| !is_read);
                    assert!(none, "{} as {}: {value} gives {outcomes:?}", written.name, read.name);
                }
            }
        }
    }
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(format: &impl Serializer, value: &T) {
    let stored = format.serialize_for(KEY, value).unwrap();
    assert_eq!(format.deserialize_for::<T>(KEY, &stored).unwrap(), *value);
}

type Anything = (
    Vec<u8>,
    String,
    i64,
    u64,
    Option<bool>,
    BTreeMap<String, Vec<Option<f32>>>,
);

proptest! {
    #[test]
    fn cval_11_any_value_comes_back(
        bytes: Vec<u8>, text: String, signed: i64, unsigned: u64, flag: Option<bool>,
        map in prop::collection::btree_map(".{0,8}", prop::collection::vec(prop::option::of(-1e30_f32..1e30), 0..4), 0..8),
    ) {
        let value: Anything = (bytes, text, signed, unsigned, flag, map);
        comes_back(&MessagePack, &value);
        comes_back(&Compressed::new(Json).threshold(0), &value);
        comes_back(&Compressed::new(MessagePack).threshold(0), &value);
        comes_back(&Encrypted::new(Compressed::new(MessagePack).threshold(16), keys()), &value);
    }

    #[test]
    fn cval_11_reading_any_bytes_never_panics_and_shows_none(bytes: Vec<u8>, id in "[mze]") {
        let with_header = [b"\xc1", id.as_bytes(), &bytes].concat();
        for stored in [&bytes, &with_header] {
            for format in formats() {
                (format.reads)(stored);
            }
            if let Err(error) = MessagePack.deserialize::<String>(stored) {
                prop_assert!(error.is_decode());
            }
        }
    }
}
