//! Tests of MessagePack.

use std::collections::{BTreeMap, HashMap};

use codex_kv::{MessagePack, Serializer as _, coder};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

fn round_trip<T: Serialize + DeserializeOwned>(value: &T) -> T {
    MessagePack.deserialize(&MessagePack.serialize(value).unwrap()).unwrap()
}

fn stored(bytes: &[u8]) -> Vec<u8> {
    [b"\xc1m", bytes].concat()
}

#[test]
fn cval_11_messagepack_holds_what_json_does_not() {
    assert!(round_trip(&f64::NAN).is_nan());
    assert_eq!(round_trip(&f64::NEG_INFINITY).to_bits(), f64::NEG_INFINITY.to_bits());
    assert_eq!(round_trip(&0.1_f32).to_bits(), 0.1_f32.to_bits());
    assert_eq!(round_trip(&(u128::MAX, i128::MIN)), (u128::MAX, i128::MIN));
    let keys: HashMap<[u8; 2], bool> = HashMap::from([([1, 2], true)]);
    assert_eq!(round_trip(&keys), keys);
    let forms = coder::Coded((true, vec![0_u8, 255], None::<u8>));
    assert_eq!(round_trip(&forms), forms);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nick: Option<String>,
    age: u8,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New {
    #[serde(default)]
    tags: Vec<String>,
    age: u8,
    name: String,
}

#[test]
fn cval_11_a_field_can_be_added_left_out_and_moved() {
    let old = Old {
        name: "Ada".into(),
        nick: None,
        age: 36,
    };
    assert_eq!(round_trip(&old), old);
    let new: New = MessagePack.deserialize(&MessagePack.serialize(&old).unwrap()).unwrap();
    assert_eq!((new.tags.len(), new.age, &*new.name), (0, 36, "Ada"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Link(Box<Chain>),
}

fn chain(links: usize) -> Chain {
    (0..links).fold(Chain::End, |chain, _| Chain::Link(Box::new(chain)))
}

#[test]
fn cval_09_what_messagepack_writes_it_reads() {
    let nested = |depth: usize| (0..depth).fold(Value::Null, |value, _| Value::from(vec![value]));
    assert_eq!(round_trip(&nested(127)), nested(127));
    assert_eq!(round_trip(&chain(127)), chain(127));
    let empty = (0..126).fold(Value::from(Vec::<u8>::new()), |value, _| Value::from(vec![value]));
    assert_eq!(round_trip(&empty), empty);
    for refusal in [
        MessagePack.serialize(&nested(128)).unwrap_err(),
        MessagePack.serialize(&chain(128)).unwrap_err(),
        MessagePack.serialize(&vec![empty; 2]).unwrap_err(),
    ] {
        assert!(!refusal.is_decode());
        assert!(refusal.to_string().contains("nested too deeply"), "{refusal}");
    }
}

/// A reader that recurses to the depth of the input would overflow its stack.
#[test]
fn cval_11_hostile_bytes_are_an_error() {
    let link = b"\x81\xa4Link";
    let chain = [link.repeat(100_000), b"\xa3End".to_vec()].concat();
    let arrays = vec![0x91; 1_000_000];
    let cases: [&[u8]; 12] = [
        &chain,
        &arrays,
        b"",
        b"\xc1",
        b"\x91",
        b"\x01\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff\x01",
        b"\xdb\xff\xff\xff\xffa",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xa2\xff\xfe",
    ];
    for case in cases {
        let stored = stored(case);
        for error in [
            MessagePack.deserialize::<Value>(&stored).unwrap_err(),
            MessagePack.deserialize::<Chain>(&stored).unwrap_err(),
            MessagePack.deserialize::<Vec<u8>>(&stored).unwrap_err(),
        ] {
            assert!(error.is_decode());
        }
    }
}

#[test]
fn cval_04_an_error_shows_no_value() {
    let secret = MessagePack.serialize("hunter2").unwrap();
    let map = MessagePack.serialize(&BTreeMap::from([("hunter2", 1)])).unwrap();
    for error in [
        MessagePack.deserialize::<u8>(&secret).unwrap_err(),
        MessagePack.deserialize::<bool>(&secret).unwrap_err(),
        MessagePack.deserialize::<Chain>(&secret).unwrap_err(),
        MessagePack.deserialize::<New>(&map).unwrap_err(),
        MessagePack.deserialize::<char>(&secret).unwrap_err(),
    ] {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
