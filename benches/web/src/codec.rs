//! The cost of a session's codec, without a store.

use std::{
    hint::black_box,
    time::{Instant, SystemTime},
};

use codex_kv::{DjangoSigned, SessionCodec, session::SessionData};

const CALLS: u32 = 20_000;

pub fn print_costs() {
    let codec = DjangoSigned::new("the secret of a bench");
    let cart: Vec<String> = (0..40).map(|number| format!("\"SKU-{number}\"")).collect();
    let sessions = [
        ("a counter", r#"{"visits":12}"#.to_owned()),
        (
            "a login",
            r#"{"_auth_user_id":"42","visits":12,"theme":"dark"}"#.to_owned(),
        ),
        (
            "a cart of 40",
            format!("{{\"visits\":12,\"cart\":[{}]}}", cart.join(",")),
        ),
    ];
    println!("| | bytes of JSON | bytes stored | encode | decode |");
    println!("|---|---|---|---|---|");
    for (name, json) in sessions {
        let data = SessionData::from_json(&json).expect("JSON");
        let now = SystemTime::now();
        let payload = codec.encode(&data, now).expect("it fits");
        let encode = microseconds(|| black_box(codec.encode(&data, now).is_ok()));
        let decode = microseconds(|| black_box(codec.decode(&payload).is_ok()));
        println!(
            "| {name} | {} | {} | {encode:.2} µs | {decode:.2} µs |",
            json.len(),
            payload.len()
        );
    }
}

/// Returns the microseconds per call in the best of five runs of many calls.
fn microseconds(mut call: impl FnMut() -> bool) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = Instant::now();
        for _ in 0..CALLS {
            assert!(call());
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    best
}
