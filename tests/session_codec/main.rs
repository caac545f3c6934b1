//! Tests of the session codec with Django's payloads and with arbitrary input.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod django;
mod hostile;
mod properties;
mod values;

use std::time::{Duration, SystemTime};

use codex_kv::session::{DjangoSigned, SessionCodec, SessionData};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    secret_key: String,
    sessions: Vec<Vector>,
    bad: Vec<Bad>,
    fallback: Vec<Fallback>,
    not_a_dict: NotADict,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    unix_time: u64,
    data_json: String,
    encoded: String,
    compressed: bool,
}

#[derive(Deserialize)]
struct Bad {
    why: String,
    payload: String,
}

#[derive(Deserialize)]
struct Fallback {
    #[serde(rename = "fallback_key")]
    secret: String,
    encoded: String,
    data_json: String,
}

#[derive(Deserialize)]
struct NotADict {
    encoded: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../data/sessions.json")).unwrap()
}

fn codec() -> DjangoSigned {
    DjangoSigned::new(golden().secret_key)
}

fn at(unix_time: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_time)
}

fn encode(codec: &DjangoSigned, json: &str) -> String {
    let data = SessionData::from_json(json).unwrap();
    let payload = codec.encode(&data, at(1_700_000_000)).unwrap();
    String::from_utf8(payload.into()).unwrap()
}

/// Returns the JSON text after a round trip through the codec.
fn there_and_back(json: &str) -> String {
    let codec = codec();
    codec.decode(encode(&codec, json).as_bytes()).unwrap().to_json()
}
