//! Work that needs no server: encoding and decoding a session, a get from an in-memory cache, and a
//! call through the trait.

use std::{
    collections::HashMap,
    hint::black_box,
    path::Path,
    pin::pin,
    process::Command,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use codex_kv::{
    Cache,
    memory::MemoryBackend,
    session::{DjangoSigned, SessionCodec as _, SessionData},
};
use codex_traits::{AnyBackend, KvBackend, SetOptions};
use flate2::{Compression, bufread::ZlibDecoder, write::ZlibEncoder};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::value::RawValue;
use sha2::Sha256;

use crate::{
    pairs::{Turn, interleaved, median, ratio, rounds, turn},
    stores::{Item, item},
    throughput::json,
};

pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it waited"),
    }
}

pub(crate) fn nanos(turn: &Turn) -> f64 {
    turn.cpu_micros() * 1e3
}

pub(crate) fn repeat(times: usize, mut work: impl FnMut()) -> Turn {
    turn(times, || {
        for _ in 0..times {
            work();
        }
    })
}

pub(crate) fn run() {
    let rounds = rounds(15);
    println!("## Without a server: ns of processor time, median of {rounds} interleaved rounds, one thread\n");
    println!("| | ours | beside it | ratio (median of the pairs) |");
    println!("|---|---|---|---|");
    sessions(rounds);
    cache(rounds);
    the_trait(rounds);
    println!();
}

pub(crate) fn row(title: &str, ours: f64, theirs: f64, ratio: f64) {
    println!("| {title} | {ours:.0} | {theirs:.0} | **{ratio:.2}** |");
}

/// Returns a session of about 300 bytes, the size of a shop's session.
fn session_json() -> String {
    let mut text = String::from(
        r#"{"_auth_user_id":"42","_auth_user_backend":"django.contrib.auth.backends.ModelBackend","_auth_user_hash":"c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00","cart":["#,
    );
    for number in 0..12 {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&(1000 + number * 77).to_string());
    }
    text.push_str(r#"],"lang":"en","seen":"2026-01-01T00:00:00"}"#);
    text
}

fn sessions(rounds: usize) {
    let text = session_json();
    let codec = DjangoSigned::new("a secret of some length, as SECRET_KEY is");
    let data = SessionData::from_json(&text).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let payload = codec.encode(&data, time).unwrap();
    let map: Vec<(String, Box<RawValue>)> = data
        .keys()
        .map(|key| {
            (
                key.to_owned(),
                RawValue::from_string(data.get_json(key).unwrap().to_owned()).unwrap(),
            )
        })
        .collect();
    let mac = Hmac::<Sha256>::new_from_slice(b"thirty-two bytes that are a key.").unwrap();
    let compressed = payload[0] == b'.';
    let body = &payload[usize::from(compressed)..payload.iter().position(|byte| *byte == b':').unwrap()];
    let zlib = URL_SAFE_NO_PAD.decode(body).unwrap();

    let turns = interleaved(
        rounds,
        &mut [
            &mut || repeat(5000, || drop(black_box(codec.encode(black_box(&data), time).unwrap()))),
            &mut || repeat(5000, || drop(black_box(json_of(black_box(&map))))),
            &mut || {
                repeat(5000, || {
                    let mut encoder = ZlibEncoder::new(Vec::with_capacity(text.len()), Compression::default());
                    std::io::Write::write_all(&mut encoder, black_box(text.as_bytes())).unwrap();
                    drop(black_box(encoder.finish().unwrap()));
                })
            },
            &mut || repeat(5000, || drop(black_box(URL_SAFE_NO_PAD.encode(black_box(&zlib))))),
            &mut || {
                repeat(5000, || {
                    drop(black_box(mac.clone().chain_update(black_box(&payload)).finalize()))
                })
            },
        ],
    );
    let sum = |from: usize| -> Vec<Turn> {
        (0..rounds)
            .map(|round| Turn {
                cpu: (from..turns.len()).map(|step| turns[step][round].cpu).sum(),
                ..turns[1][round]
            })
            .collect()
    };
    let steps = sum(1);
    let title = format!(
        "session of {} bytes, encoded; the sum of JSON, zlib, base64, HMAC",
        text.len()
    );
    let encode = median(turns[0].iter().map(nanos));
    row(
        &title,
        encode,
        median(steps.iter().map(nanos)),
        ratio(&turns[0], &steps, nanos),
    );

    let turns = interleaved(
        rounds,
        &mut [
            &mut || repeat(5000, || drop(black_box(codec.decode(black_box(&payload)).unwrap()))),
            &mut || {
                repeat(5000, || {
                    let raw: indexmap::IndexMap<String, Box<RawValue>> =
                        serde_json::from_str(black_box(&text)).unwrap();
                    drop(black_box(raw));
                })
            },
            &mut || {
                repeat(5000, || {
                    let mut json = Vec::with_capacity(text.len());
                    std::io::Read::read_to_end(&mut ZlibDecoder::new(black_box(&zlib[..])), &mut json).unwrap();
                    drop(black_box(json));
                })
            },
            &mut || {
                repeat(5000, || {
                    drop(black_box(URL_SAFE_NO_PAD.decode(black_box(body)).unwrap()))
                })
            },
            &mut || {
                repeat(5000, || {
                    drop(black_box(mac.clone().chain_update(black_box(&payload)).finalize()))
                })
            },
        ],
    );
    let steps: Vec<Turn> = (0..rounds)
        .map(|round| Turn {
            cpu: (1..turns.len()).map(|step| turns[step][round].cpu).sum(),
            ..turns[1][round]
        })
        .collect();
    let decode = median(turns[0].iter().map(nanos));
    row(
        "the same, decoded; the sum of HMAC, base64, zlib, JSON",
        decode,
        median(steps.iter().map(nanos)),
        ratio(&turns[0], &steps, nanos),
    );
    if let Some((dumps, loads)) = django(&text) {
        row(
            "the same, encoded; Django's `signing.dumps`",
            encode,
            dumps,
            dumps / encode,
        );
        row(
            "the same, decoded; Django's `signing.loads`",
            decode,
            loads,
            loads / decode,
        );
    }
}

fn json_of(map: &[(String, Box<RawValue>)]) -> String {
    let fields: HashMap<&str, &RawValue> = map.iter().map(|(key, value)| (key.as_str(), &**value)).collect();
    serde_json::to_string(&fields).unwrap()
}

/// Measures the same work in Django. `BENCH_DJANGO` is the path of the Python of
/// `scripts/django-venv`.
fn django(text: &str) -> Option<(f64, f64)> {
    const PROGRAM: &str = r#"
import json, sys, time
from django.conf import settings
settings.configure(SECRET_KEY="a secret of some length, as SECRET_KEY is", USE_TZ=True)
from django.core import signing
data = json.loads(sys.argv[1])
salt = "django.contrib.sessions.SessionStore"
text = signing.dumps(data, compress=True, salt=salt)
def median(work):
    turns = []
    for _ in range(15):
        start = time.process_time_ns()
        for _ in range(1000):
            work()
        turns.append((time.process_time_ns() - start) / 1000)
    return sorted(turns)[7]
print(median(lambda: signing.dumps(data, compress=True, salt=salt)), median(lambda: signing.loads(text, salt=salt)))
"#;
    let python = std::env::var("BENCH_DJANGO").ok()?;
    let output = Command::new(Path::new(&python))
        .args(["-c", PROGRAM, text])
        .output()
        .expect("BENCH_DJANGO is a python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    let mut figures = output.split_whitespace().map(|figure| figure.parse().unwrap());
    Some((figures.next().unwrap(), figures.next().unwrap()))
}

fn cache(rounds: usize) {
    let cache = Cache::builder(MemoryBackend::new())
        .key_prefix("bench")
        .build()
        .unwrap();
    let names: Vec<String> = (0..100).map(|number| format!("item:{number}")).collect();
    for name in &names {
        now(cache.set(name, &item(), Duration::from_secs(3600))).unwrap();
    }
    let text = json();
    let turns = interleaved(
        rounds,
        &mut [
            &mut || {
                let mut number = 0;
                repeat(50_000, || {
                    number += 1;
                    let item: Option<Item> = now(cache.get(black_box(&names[number % 100]))).unwrap();
                    drop(black_box(item.unwrap()));
                })
            },
            &mut || {
                repeat(50_000, || {
                    drop(black_box(serde_json::from_slice::<Item>(black_box(&text)).unwrap()))
                })
            },
        ],
    );
    let title = format!(
        "`Cache<Memory, Json>::get`, {} bytes, 100 hot keys; serde_json's decode alone",
        text.len()
    );
    row(
        &title,
        median(turns[0].iter().map(nanos)),
        median(turns[1].iter().map(nanos)),
        ratio(&turns[0], &turns[1], nanos),
    );
}

/// Measures calls by a generic caller, as `Cache` and `SessionStore` are, and calls to a backend
/// that is chosen at run time.
fn the_trait(rounds: usize) {
    const CALLS: usize = 200_000;
    // Makes many calls within one poll, as callers do.
    async fn through<B: KvBackend>(backend: &B, keys: &[String]) {
        for number in 0..CALLS {
            drop(black_box(backend.get(&keys[number % keys.len()]).await.unwrap()));
        }
    }
    let keys: Vec<String> = (0..1000).map(|number| format!("bench:{number:026}")).collect();
    let store = Arc::new(MemoryBackend::new());
    for key in &keys {
        let outcome = now(store.set(key, json(), SetOptions::new())).unwrap();
        assert!(outcome.is_written());
    }
    let any = AnyBackend::new(Arc::clone(&store));
    let turns = interleaved(
        rounds,
        &mut [
            &mut || {
                turn(CALLS, || {
                    now(async {
                        let store: &MemoryBackend = black_box(&store);
                        for number in 0..CALLS {
                            drop(black_box(store.get(&keys[number % keys.len()]).await.unwrap()));
                        }
                    })
                })
            },
            &mut || turn(CALLS, || now(through(black_box(&store), &keys))),
            &mut || turn(CALLS, || now(through(black_box(&any), &keys))),
        ],
    );
    let direct = median(turns[0].iter().map(nanos));
    for (title, at) in [
        (
            "get of codex-memory by a generic caller; called directly, 1,000 keys",
            1,
        ),
        ("the same by `AnyBackend`; called directly", 2),
    ] {
        row(
            title,
            median(turns[at].iter().map(nanos)),
            direct,
            ratio(&turns[at], &turns[0], nanos),
        );
    }
}
