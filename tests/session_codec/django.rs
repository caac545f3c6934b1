//! Tests of Django's payloads and of the spelling of values from Rust.

use codex_kv::session::{CodecError, DjangoSigned, SessionCodec, SessionData};

use super::{Bad, Fallback, at, codec, encode, golden};

#[test]
fn scod_01_and_02_golden_payloads_are_read_and_written() {
    let codec = codec();
    let vectors = golden().sessions;
    assert_eq!(vectors.len(), 30, "the golden file was cut");
    for vector in vectors {
        let name = &vector.name;
        let data = codec.decode(vector.encoded.as_bytes()).unwrap();
        assert_eq!(data.to_json(), vector.data_json, "{name}: read");

        let payload = codec.encode(&data, at(vector.unix_time)).unwrap();
        let payload = std::str::from_utf8(&payload).unwrap();
        assert_eq!(payload.starts_with('.'), vector.compressed, "{name}: compressed");
        if !vector.compressed {
            assert_eq!(payload, vector.encoded, "{name}: written");
        }
        let timestamp = |payload: &str| payload.split(':').nth(1).unwrap().to_owned();
        assert_eq!(timestamp(payload), timestamp(&vector.encoded), "{name}: timestamp");
        assert_eq!(
            codec.decode(payload.as_bytes()).unwrap().to_json(),
            vector.data_json,
            "{name}: read again"
        );
    }
}

// Values from Rust are spelt as Python spells them.
#[test]
fn scod_01_values_from_rust_are_spelt_as_python_does() {
    let mut data = SessionData::new();
    data.insert("q", "\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}\u{2028}").unwrap();
    assert_eq!(data.to_json(), r#"{"q":"\"\\/\b\f\n\r\t\u0000\u001f\u007f\u2028"}"#);

    let mut data = SessionData::new();
    data.insert("emoji", "🦀").unwrap();
    data.insert("ключ", &true).unwrap();
    data.insert("\u{7f}\n\"", &()).unwrap();
    assert_eq!(
        data.to_json(),
        r#"{"emoji":"\ud83e\udd80","\u043a\u043b\u044e\u0447":true,"\u007f\n\"":null}"#
    );

    let mut data = SessionData::new();
    let floats = [
        1e16,
        1e-7,
        123_456_789.125,
        5e-324,
        f64::MAX,
        -0.0,
        1.0,
        0.0001,
        0.000_01,
        1.5e300,
        1e15,
    ];
    data.insert("f", &floats).unwrap();
    // `json.dumps` of CPython 3.11.7.
    let python =
        "[1e+16,1e-07,123456789.125,5e-324,1.7976931348623157e+308,-0.0,1.0,0.0001,1e-05,1.5e+300,1000000000000000.0]";
    assert_eq!(data.get_json("f"), Some(python));
    // Python has no 32-bit floats. The digits are the shortest for the 32-bit value.
    data.insert("f", &[0.1_f32, 1e20]).unwrap();
    assert_eq!(data.get_json("f"), Some("[0.1,1e+20]"));
}

#[test]
fn scod_01_compression_is_taken_where_shorter_by_more_than_one_byte() {
    let codec = codec();
    let compressed_from =
        (1..200).find(|&length| encode(&codec, &format!(r#"{{"a":"{}"}}"#, "a".repeat(length))).starts_with('.'));
    // `next(n for n in range(1, 200) if len(zlib.compress(b'{"a":"%s"}' % (b"a" * n))) < 8 + n - 1)`
    // is 12 in CPython 3.11.7.
    assert_eq!(compressed_from, Some(12));
}

#[test]
fn scod_03_bad_payloads_are_unreadable() {
    let codec = codec();
    let bad = golden().bad;
    assert_eq!(bad.len(), 11, "the golden file was cut");
    for Bad { why, payload } in bad {
        let error = codec.decode(payload.as_bytes()).expect_err(&why);
        assert_eq!(error, CodecError::BadSignature, "{why}");
    }
}

#[test]
fn scod_03_a_changed_byte_anywhere_is_unreadable() {
    let codec = codec();
    let payload = encode(&codec, r#"{"uid":42}"#);
    for at in 0..payload.len() {
        for bit in 0..8 {
            let mut changed = payload.clone().into_bytes();
            changed[at] ^= 1 << bit;
            assert_eq!(
                codec.decode(&changed),
                Err(CodecError::BadSignature),
                "byte {at}, bit {bit}"
            );
        }
    }
}

#[test]
fn scod_04_fallback_secrets_are_read_and_the_current_one_signs() {
    let golden = golden();
    for Fallback {
        secret,
        encoded,
        data_json,
    } in golden.fallback
    {
        assert_eq!(codec().decode(encoded.as_bytes()), Err(CodecError::BadSignature));

        let both = codec().with_fallbacks([secret.as_str()]);
        let data = both.decode(encoded.as_bytes()).unwrap();
        assert_eq!(data.to_json(), data_json);

        let again = both.encode(&data, at(1_700_000_000)).unwrap();
        assert_eq!(codec().decode(&again).unwrap(), data);
        assert_eq!(DjangoSigned::new(secret).decode(&again), Err(CodecError::BadSignature));
    }
}

#[test]
fn scod_04_an_empty_secret_is_refused() {
    for codec in [DjangoSigned::new(""), DjangoSigned::new("x").with_fallbacks([""])] {
        assert_eq!(codec.validate(), Err(CodecError::EmptySecret));
        assert_eq!(codec.encode(&SessionData::new(), at(0)), Err(CodecError::EmptySecret));
        let signed_with_nothing = "e30:1r31eq:".to_owned() + &"A".repeat(43);
        assert_eq!(
            codec.decode(signed_with_nothing.as_bytes()),
            Err(CodecError::EmptySecret)
        );
    }
}

// `signing.dumps(data, key=…, salt="django.contrib.sessions.TenantSession", compress=True)` of
// Django 5.2.
#[test]
fn scod_01_the_salt_of_another_class_is_a_setting() {
    let tenant = "django.contrib.sessions.TenantSession";
    let plain = DjangoSigned::new("secret");
    for salted in [
        DjangoSigned::new("secret").with_salt(tenant),
        DjangoSigned::new("another")
            .with_fallbacks(["secret"])
            .with_salt(tenant),
        DjangoSigned::new("another")
            .with_salt(tenant)
            .with_fallbacks(["secret"]),
    ] {
        let data = salted.decode(TENANT.as_bytes()).unwrap();
        assert_eq!(data.to_json(), r#"{"uid":42}"#);
        assert_eq!(plain.decode(TENANT.as_bytes()), Err(CodecError::BadSignature));
        let payload = salted.encode(&data, at(1_700_000_000)).unwrap();
        assert_eq!(plain.decode(&payload), Err(CodecError::BadSignature));
    }
    let data = SessionData::from_json(r#"{"uid":42}"#).unwrap();
    let payload = plain.with_salt(tenant).encode(&data, at(1_700_000_000)).unwrap();
    assert_eq!(payload, TENANT);
}

const TENANT: &str = "eyJ1aWQiOjQyfQ:1r31eq:g0cea2hJQBS74NHTMfYPom8pYJxE_IGZ6WPyJWVaWzc";
