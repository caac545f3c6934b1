//! A comparison with Django's own cache, with JSON values on one Redis. The same generated calls
//! give the same results and leave the same values, except for the documented differences.
//!
//! `CODEX_DJANGO_CALLS` is the number of calls (`scripts/long cache` makes 10,000).

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use codex_kv::{Cache, CacheError, ErrorKind, Timeout, redis::RedisBackend};
use codex_testkit::{redis::Database, require, require::Unavailable};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use serde_json::{Value, json};

fn python() -> Result<String, Unavailable> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/django-venv");
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("django-venv-5.2");
    let made = Command::new(script).arg("5.2").arg(venv).output();
    let made = made.map_err(|error| Unavailable::new(format!("scripts/django-venv does not run: {error}")))?;
    if !made.status.success() {
        return Err(Unavailable::new(String::from_utf8_lossy(&made.stderr)));
    }
    Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
}

/// Returns calls as JSON lists: the verb, then its arguments in Python's notation.
fn calls(count: usize) -> Vec<Value> {
    let key = || (0..6).prop_map(|number| format!("k{number}"));
    let value = || {
        prop_oneof![
            4 => (-5_i64..100).prop_map(Value::from),
            1 => any::<i64>().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
            1 => (-1e6..1e6).prop_map(|float: f64| json!(float)),
            2 => ".{0,8}".prop_map(Value::from),
            1 => Just(json!({"a": [1, "ü", null], "b": {}})),
        ]
    };
    // Python's `None` means forever.
    let timeout = || prop_oneof![3 => Just(json!(100)), 1 => Just(json!(0)), 1 => Just(Value::Null)];
    let keys = || prop::collection::btree_set(key(), 0..4);
    let call = prop_oneof![
        4 => key().prop_map(|key| json!(["get", key])),
        3 => (key(), value(), timeout()).prop_map(|(key, value, timeout)| json!(["set", key, value, timeout])),
        2 => (key(), value(), timeout()).prop_map(|(key, value, timeout)| json!(["add", key, value, timeout])),
        1 => key().prop_map(|key| json!(["delete", key])),
        1 => key().prop_map(|key| json!(["has_key", key])),
        1 => (key(), timeout()).prop_map(|(key, timeout)| json!(["touch", key, timeout])),
        2 => (key(), -9_i64..9).prop_map(|(key, delta)| json!(["incr", key, delta])),
        1 => (key(), -9_i64..9).prop_map(|(key, delta)| json!(["decr", key, delta])),
        1 => keys().prop_map(|keys| json!(["get_many", keys])),
        1 => (prop::collection::btree_map(key(), value(), 0..4), timeout())
            .prop_map(|(entries, timeout)| json!(["set_many", entries, timeout])),
        1 => keys().prop_map(|keys| json!(["delete_many", keys])),
        1 => (key(), (0_i64..50).prop_map(Value::from), timeout())
            .prop_map(|(key, value, timeout)| json!(["get_or_set", key, value, timeout])),
    ];
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| call.new_tree(&mut runner).unwrap().current())
        .collect()
}

fn timeout(argument: &Value) -> Timeout {
    argument.as_u64().map(Duration::from_secs).into()
}

/// Returns the cache's result in the notation of `django_answers.py`.
async fn answer(cache: &Cache<RedisBackend>, call: &Value) -> Value {
    let (verb, first, second) = (call[0].as_str().unwrap(), &call[1], &call[2]);
    let key = first.as_str().unwrap_or_default();
    let keys = || first.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
    let answer: Result<Value, CacheError> = match verb {
        "get" => cache
            .get(key)
            .await
            .map(|value| value.map_or(json!(["miss"]), |value: Value| json!(["hit", value]))),
        "set" => cache.set(key, second, timeout(&call[3])).await.map(|()| Value::Null),
        "add" => cache.add(key, second, timeout(&call[3])).await.map(Value::from),
        "delete" => cache.delete(key).await.map(Value::from),
        "has_key" => cache.has_key(key).await.map(Value::from),
        "touch" => cache.touch(key, timeout(second)).await.map(Value::from),
        "incr" => cache.incr(key, second.as_i64().unwrap()).await.map(Value::from),
        "decr" => cache.decr(key, second.as_i64().unwrap()).await.map(Value::from),
        "get_many" => cache.get_many::<Value>(keys()).await.map(|found| json!(found)),
        "set_many" => {
            let entries: BTreeMap<String, Value> = serde_json::from_value(first.clone()).unwrap();
            cache.set_many(entries, timeout(second)).await.map(|()| Value::Null)
        }
        "delete_many" => cache.delete_many(keys()).await.map(|_| Value::Null),
        "get_or_set" => cache.get_or_set(key, second.clone(), timeout(&call[3])).await,
        _ => unreachable!(),
    };
    match answer {
        Ok(answer) => answer,
        Err(CacheError::NotFound) => json!({"error": "missing"}),
        Err(CacheError::Backend(error)) if error.kind() == ErrorKind::Data => json!({"error": "not an integer"}),
        Err(error) => panic!("{call}: {error}"),
    }
}

/// Returns whether the contract documents the difference.
fn is_documented(call: &Value, ours: &Value, theirs: &Value) -> bool {
    match call[0].as_str().unwrap() {
        // ctime-04: Django returns whether a time to live was removed.
        "touch" => call[2].is_null() && *ours == json!(true) && *theirs == json!(false),
        // Django stores and then removes the value. Nothing stays stored, so `add` returns `false`
        // here.
        "add" => call[3] == json!(0) && *ours == json!(false) && *theirs == json!(true),
        _ => false,
    }
}

#[tokio::test]
async fn cverb_01_the_verbs_answer_as_djangos_do() {
    let database = require!("redis", Database::lease());
    let python = require!("django", python());
    let count = std::env::var("CODEX_DJANGO_CALLS").map_or(1000, |count| count.parse().unwrap());
    let calls = calls(count);
    let mut django = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache/django_answers.py"))
        .arg(database.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines: Vec<String> = calls.iter().map(ToString::to_string).collect();
    // The last line needs a line break too.
    lines.push(String::new());
    let lines = lines.join("\n");
    let mut input = django.stdin.take().unwrap();
    // Write in a separate thread, because both pipes have limited buffers.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = django.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let theirs: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(theirs.len(), calls.len());

    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let cache = Cache::builder(backend.clone()).key_prefix("rust").build().unwrap();
    let mut documented = 0;
    for (at, (call, theirs)) in calls.iter().zip(&theirs).enumerate() {
        let ours = answer(&cache, call).await;
        if ours != *theirs {
            assert!(
                is_documented(call, &ours, theirs),
                "call {at}, {call}: {ours} here, {theirs} in Django"
            );
            documented += 1;
        }
    }
    println!("{count} calls, {documented} of the documented differences");
    let django = Cache::builder(backend).key_prefix("python").build().unwrap();
    for number in 0..6 {
        let key = format!("k{number}");
        assert_eq!(
            cache.get::<Value>(&key).await.unwrap(),
            django.get::<Value>(&key).await.unwrap(),
            "{key}"
        );
    }
}
