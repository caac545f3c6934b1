//! Tests of names and values written by other programs.

use std::collections::HashMap;

use codex_kv::session::{CodecError, SessionData};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::there_and_back;

#[test]
fn scod_05_a_name_may_look_like_a_number_of_python() {
    for (name, written) in [
        ("x ,NaN,y", r#""x ,NaN,y""#),
        ("a\" ,NaN, \"b", r#""a\" ,NaN, \"b""#),
        ("\\ :-Infinity]", r#""\\ :-Infinity]""#),
    ] {
        let json = format!("{{{written}:NaN}}");
        let data = SessionData::from_json(&json).unwrap();
        assert!(data.contains_key(name), "{json}");
        assert_eq!(data.to_json(), json);
    }
}

#[test]
fn scod_01_controls_and_del_are_written_as_python_does() {
    let data = SessionData::from_json("{\"a\":\"\u{7f}\"}").unwrap();
    assert_eq!(data.to_json(), r#"{"a":"\u007f"}"#);

    let mut data = SessionData::new();
    data.insert("\"\\\n\r\t\u{8}\u{c}\0\u{1f} \u{7f}", &1).unwrap();
    assert_eq!(data.to_json(), r#"{"\"\\\n\r\t\b\f\u0000\u001f \u007f":1}"#);
}

#[test]
fn scod_05_what_others_wrote_is_handed_back_unchanged() {
    for json in [
        r#"{"n":1180591620717411303424,"neg":-36893488147419103232}"#,
        r#"{"a":1e+16,"b":1e-07,"c":1.0,"d":-0.0,"e":1E5,"f":0.10}"#,
        r#"{"s":"\ud800x","t":"\udfff\ud800","pair":"\ud83e\udd80"}"#,
        r#"{"\ud800":1,"a\udfffb":{"\ud800":2},"\ud83e\udd80":3}"#,
        r#"{"z":1,"a":2,"m":{"z":1,"a":2,"z":3}}"#,
        r#"{"":"","\u0000":"\u0000","\"":"\\"}"#,
        r#"{"nan":NaN,"inf":[Infinity,-Infinity],"text":"NaN, \"Infinity\" \\","last":{"NaN":NaN}}"#,
    ] {
        assert_eq!(there_and_back(json), json);
    }
}

#[test]
fn scod_05_a_name_that_comes_twice_has_the_first_place_and_the_last_value() {
    // `json.dumps(json.loads(…), separators=(",", ":"))` of CPython 3.11.7.
    assert_eq!(there_and_back(r#"{"a":1,"b":2,"\u0061":3}"#), r#"{"a":3,"b":2}"#);
    assert_eq!(
        there_and_back(r#"{"\uD800":1,"b":2,"\ud800":3}"#),
        r#"{"\ud800":3,"b":2}"#
    );
}

#[test]
fn scod_05_values_are_typed_only_when_asked_for() {
    let data = SessionData::from_json(r#"{"big":1180591620717411303424,"s":"\ud800x","\ud800":1,"nan":NaN}"#).unwrap();
    assert_eq!(data.get::<i128>("big").unwrap(), Some(1_180_591_620_717_411_303_424));
    assert_eq!(data.get::<Box<RawValue>>("s").unwrap().unwrap().get(), r#""\ud800x""#);
    let expected = "alloc::string::String";
    assert_eq!(data.get::<String>("s"), Err(CodecError::WrongType { expected }));
    assert_eq!(data.get::<f64>("nan"), Err(CodecError::WrongType { expected: "f64" }));
    assert_eq!(
        (data.keys().collect::<Vec<_>>(), data.len()),
        (vec!["big", "s", "nan"], 4)
    );
}

#[test]
fn scod_05_a_raw_value_takes_the_numbers_of_python() {
    for value in [
        "NaN",
        "Infinity",
        "-Infinity",
        "[1,NaN]",
        r#"{"NaN":[-Infinity,"NaN"]}"#,
    ] {
        let data = SessionData::from_json(&format!(r#"{{"a":{value}}}"#)).unwrap();
        let raw = data.get::<Box<RawValue>>("a").unwrap().unwrap();
        assert_eq!(raw.get(), value);
        let raw = data.get::<Option<Box<RawValue>>>("a").unwrap().unwrap().unwrap();
        assert_eq!(raw.get(), value);

        let mut copy = SessionData::new();
        copy.insert("b", &raw).unwrap();
        copy.insert("c", &[&raw]).unwrap();
        assert_eq!(
            there_and_back(&copy.to_json()),
            format!(r#"{{"b":{value},"c":[{value}]}}"#)
        );

        // The value is never read as another number or as `null`.
        assert!(
            matches!(data.get::<f64>("a"), Err(CodecError::WrongType { .. })),
            "{value}"
        );
        assert!(
            matches!(data.get::<Option<f64>>("a"), Err(CodecError::WrongType { .. })),
            "{value}"
        );
        assert!(
            matches!(data.get::<serde_json::Value>("a"), Err(CodecError::WrongType { .. })),
            "{value}"
        );
        assert!(
            matches!(data.get::<()>("a"), Err(CodecError::WrongType { .. })),
            "{value}"
        );
    }
    let data = SessionData::from_json(r#"{"text":"NaN","null":null}"#).unwrap();
    assert_eq!(data.get::<String>("text").unwrap().as_deref(), Some("NaN"));
    assert_eq!(
        data.get::<Option<Box<RawValue>>>("null")
            .unwrap()
            .flatten()
            .map(|raw| raw.get().to_owned()),
        None
    );
}

#[test]
fn scod_05_a_raw_value_can_be_put_back_as_it_was() {
    let mut data = SessionData::from_json(r#"{"a":[1180591620717411303424,"\ud800",1E5]}"#).unwrap();
    let raw = data.get::<Box<RawValue>>("a").unwrap().unwrap();
    data.insert("b", &raw).unwrap();
    data.insert("c", &[&raw]).unwrap();
    data.insert("d", &RawValue::from_string("\"é\"".to_owned()).unwrap())
        .unwrap();
    assert_eq!(data.get_json("b"), data.get_json("a"));
    assert_eq!(data.get_json("c"), Some(r#"[[1180591620717411303424,"\ud800",1E5]]"#));
    assert_eq!(data.get_json("d"), Some(r#""\u00e9""#));
}

/// A raw value in each kind of container.
#[derive(Debug, Deserialize)]
struct Readings {
    first: Box<RawValue>,
    all: Vec<Box<RawValue>>,
    named: HashMap<String, Box<RawValue>>,
    pair: (u8, Box<RawValue>),
    last: Option<Box<RawValue>>,
    none: Option<Box<RawValue>>,
    unit: Reading,
    tagged: Reading,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Reading {
    Missing,
    Of { value: Box<RawValue>, unit: String },
}

#[test]
fn scod_05_a_raw_value_inside_another_type_takes_the_numbers_of_python() {
    let json = r#"{"a":{"first":NaN,"all":[1,-Infinity,[NaN]],"named":{"x":Infinity,"y":"NaN"},"pair":[7,NaN],"last":NaN,"none":null,"unit":"missing","tagged":{"of":{"value":-Infinity,"unit":"K"}},"text":"f\u00fcr NaN","skipped":[NaN,{"b":NaN}]}}"#;
    let data = SessionData::from_json(json).unwrap();
    let read: Readings = data.get("a").unwrap().unwrap();
    assert_eq!(read.first.get(), "NaN");
    let all: Vec<_> = read.all.iter().map(|raw| raw.get()).collect();
    assert_eq!(all, ["1", "-Infinity", "[NaN]"]);
    assert_eq!((read.named["x"].get(), read.named["y"].get()), ("Infinity", r#""NaN""#));
    assert_eq!((read.pair.0, read.pair.1.get()), (7, "NaN"));
    assert_eq!((read.last.unwrap().get(), read.none.is_none()), ("NaN", true));
    assert!(matches!(read.unit, Reading::Missing), "{:?}", read.unit);
    let Reading::Of { value, unit } = read.tagged else {
        panic!("another variant")
    };
    assert_eq!((value.get(), &*unit, &*read.text), ("-Infinity", "K", "für NaN"));

    // Reading such a number as a number fails, at any depth.
    for value in ["[1,NaN]", r#"{"x":NaN}"#] {
        let data = SessionData::from_json(&format!(r#"{{"a":{value}}}"#)).unwrap();
        assert!(data.get::<Vec<f64>>("a").is_err(), "{value}");
        assert!(data.get::<Vec<Option<f64>>>("a").is_err(), "{value}");
        assert!(data.get::<HashMap<String, f64>>("a").is_err(), "{value}");
    }
}

#[test]
fn scod_06_deep_nesting_around_a_number_of_python_is_no_stack_overflow() {
    for depth in [127, 128, 100_000] {
        let value = format!("{}NaN{}", "[".repeat(depth), "]".repeat(depth));
        let data = SessionData::from_json(&format!(r#"{{"a":{value}}}"#)).unwrap();
        assert_eq!(data.get::<Box<RawValue>>("a").unwrap().unwrap().get(), value);
        assert!(matches!(
            data.get::<serde_json::Value>("a"),
            Err(CodecError::WrongType { .. })
        ));
    }
}
