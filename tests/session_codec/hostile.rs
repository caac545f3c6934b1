//! Tests of payloads and values that are refused.

use codex_kv::session::{CodecError, DjangoSigned, SessionCodec, SessionData};
use serde::Serialize;

use super::{at, codec, encode, golden, there_and_back};

#[test]
fn scod_06_signed_but_not_an_object_is_unreadable() {
    let not_an_object = golden().not_a_dict.encoded;
    let error = codec().decode(not_an_object.as_bytes()).unwrap_err();
    assert_eq!(error, CodecError::Malformed("the JSON is not an object"));
}

#[test]
fn scod_06_text_that_is_no_json_is_unreadable() {
    for text in [
        "",
        "{",
        "{}x",
        "{\"a\":}",
        "{\"a\":01}",
        "{\"a\":1NaN}",
        "{\"a\":NaN5}",
        "{\"a\":-NaN}",
        "{\"a\":--Infinity}",
        "{NaN:1}",
        "{\"a\":nan}",
        "{\"a\":NaN",
        "{\"a\":\"\n\"}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"NaN",
    ] {
        let error = SessionData::from_json(text).expect_err(text);
        assert_eq!(error, CodecError::Malformed("the text is not JSON"), "{text}");
    }
    for text in ["NaN", "null", "[{}]", "\"{}\"", "-Infinity", "5"] {
        let error = SessionData::from_json(text).expect_err(text);
        assert_eq!(error, CodecError::Malformed("the JSON is not an object"), "{text}");
    }
}

#[test]
fn scod_06_deep_nesting_is_no_stack_overflow() {
    let json = format!(r#"{{"deep":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(there_and_back(&json), json);
}

/// Returns `depth` nested arrays.
fn nested(depth: usize) -> serde_json::Value {
    (0..depth).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]))
}

#[test]
fn scod_06_a_value_nested_deeper_than_it_can_be_read_is_refused() {
    let mut data = SessionData::new();
    let as_object = (0..128).fold(serde_json::json!(1), |inner, _| serde_json::json!({ "a": inner }));
    for too_deep in [
        nested(127),
        nested(128),
        nested(1_000),
        as_object,
        serde_json::json!({ "a": nested(126 + 1) }),
    ] {
        let error = data.insert("a", &too_deep).unwrap_err();
        assert!(error.to_string().contains("nested too deeply"), "{error}");
        assert!(data.is_empty(), "nothing is changed");
    }
    for deep in [nested(126), serde_json::json!({ "a": nested(125) })] {
        data.insert("a", &deep).unwrap();
        assert_eq!(data.get::<serde_json::Value>("a").unwrap(), Some(deep));
    }
}

#[derive(Serialize)]
struct Unwritable {
    nested: Vec<Option<f32>>,
}

#[test]
fn scod_06_values_without_a_form_in_json_are_refused() {
    struct Raw;
    impl Serialize for Raw {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(b"raw")
        }
    }
    let mut data = SessionData::from_json(r#"{"a":1}"#).unwrap();
    let keyed = std::collections::BTreeMap::from([((1, 2), 3)]);
    let nested = Unwritable {
        nested: vec![None, Some(f32::INFINITY)],
    };
    assert!(matches!(data.insert("a", &f64::NAN), Err(CodecError::Unwritable(_))));
    assert!(matches!(data.insert("a", &nested), Err(CodecError::Unwritable(_))));
    assert!(matches!(data.insert("a", &keyed), Err(CodecError::Unwritable(_))));
    assert!(matches!(data.insert("a", &Raw), Err(CodecError::Unwritable(_))));
    assert_eq!(data.to_json(), r#"{"a":1}"#, "nothing is changed");
}

#[test]
fn scod_07_a_payload_past_the_limit_is_refused() {
    let wide = codec().with_max_size(usize::MAX);
    let bomb = encode(
        &wide,
        &format!(r#"{{"a":"{}"}}"#, "a".repeat(DjangoSigned::DEFAULT_MAX_SIZE)),
    );
    assert!(bomb.len() < 2_000, "it is compressed");
    assert_eq!(
        codec().decode(bomb.as_bytes()),
        Err(CodecError::TooLarge { limit: 1 << 20 })
    );
    assert!(wide.decode(bomb.as_bytes()).is_ok());

    // Text of exactly the limit is accepted and one byte more is refused, compressed and plain, on
    // read and on write.
    for json in [format!(r#"{{"a":"{}"}}"#, "a".repeat(92)), r#"{"q":"xy"}"#.to_owned()] {
        let payload = encode(&wide, &json);
        let data = SessionData::from_json(&json).unwrap();
        let exact = codec().with_max_size(json.len());
        assert_eq!(exact.decode(payload.as_bytes()).unwrap(), data);
        assert!(exact.encode(&data, at(0)).is_ok());
        let limit = json.len() - 1;
        let short = codec().with_max_size(limit);
        assert_eq!(short.decode(payload.as_bytes()), Err(CodecError::TooLarge { limit }));
        assert_eq!(short.encode(&data, at(0)), Err(CodecError::TooLarge { limit }));
    }
}

#[test]
fn scod_06_a_signed_body_that_is_cut_is_unreadable() {
    // Signed here, because the codec never writes such payloads.
    let sign = |signed: &str| {
        use base64::Engine as _;
        use hmac::{Hmac, KeyInit as _, Mac as _};
        use sha2::{Digest as _, Sha256};
        let key = Sha256::digest(format!(
            "django.contrib.sessions.SessionStoresigner{}",
            golden().secret_key
        ));
        let tag = Hmac::<Sha256>::new_from_slice(&key)
            .unwrap()
            .chain_update(signed)
            .finalize();
        format!(
            "{signed}:{}",
            base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(tag.into_bytes())
        )
    };
    assert_eq!(
        sign("e30:1r31eq"),
        golden().sessions[0].encoded,
        "it signs as Django does"
    );
    let whole = encode(&codec(), &format!(r#"{{"a":"{}"}}"#, "a".repeat(100)));
    let body = whole.split(':').next().unwrap();
    for signed in [
        &format!("{}:1r31eq", &body[..body.len() - 4]),
        ".:1r31eq",
        ":1r31eq",
        "e30=:1r31eq",
        "e3:1r31eq",
        "e30",
        "e30:",
        "e30:1r-1",
        "::",
        "é:1",
    ] {
        let error = codec().decode(sign(signed).as_bytes()).expect_err(signed);
        assert!(matches!(error, CodecError::Malformed(_)), "{signed}: {error}");
    }
}
