//! Tests of values.

use std::collections::BTreeMap;

use codex_kv::{Cache, Json, Outage, Serializer as _, SetOutcome, Timeout};
use codex_testkit::doubles::MockBackend;
use proptest::prelude::*;
use serde_json::Value;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |float| float.is_finite())
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn cval_01_any_json_comes_back_and_is_what_serde_json_writes(value in any_json()) {
        let written = Json.serialize(&value).unwrap();
        prop_assert_eq!(&written[..], serde_json::to_vec(&value).unwrap());
        prop_assert_eq!(Json.deserialize::<Value>(&written).unwrap(), value);
    }

    #[test]
    fn cval_01_any_float_comes_back_bit_for_bit(float: f64) {
        prop_assume!(float.is_finite());
        let read: f64 = Json.deserialize(&Json.serialize(&float).unwrap()).unwrap();
        prop_assert_eq!(read.to_bits(), float.to_bits());
    }

    #[test]
    fn cval_04_reading_any_bytes_never_panics_and_shows_none(bytes: Vec<u8>) {
        for error in [Json.deserialize::<u8>(&bytes).err(), Json.deserialize::<BTreeMap<String, f64>>(&bytes).err()] {
            prop_assert!(error.is_none_or(|error| error.is_decode()));
        }
    }
}

#[tokio::test]
async fn a_written_value_is_shared_only_for_an_outage() {
    for outage in [None, Some(Outage::Stale)] {
        let mut backend = MockBackend::new();
        let writes = backend.expect_set().times(2);
        writes.returning(move |_, value, _| {
            // A backend can take over a buffer that nobody shares.
            assert_eq!(value.is_unique(), outage.is_none());
            Ok(SetOutcome::Written)
        });
        let mut builder = Cache::builder(backend).key_prefix("shop");
        if let Some(outage) = outage {
            builder = builder.on_outage(outage);
        }
        let cache = builder.build().unwrap();
        cache.set_bytes("k", vec![7; 2000], Timeout::Default).await.unwrap();
        assert!(cache.add_bytes("k", vec![7; 2000], Timeout::Default).await.unwrap());
    }
}
