//! The verbs on Redis, beyond the clauses of the contract.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use codex_redis::RedisBackend;
use codex_testkit::{
    redis::{Database, Value},
    require,
};
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions, Ttl};
use support::{assert_kind, put};

async fn connect(database: &Database) -> RedisBackend {
    RedisBackend::connect(&database.patient_url()).await.unwrap()
}

#[tokio::test]
async fn a_unix_socket_and_a_port_lead_to_the_same_database() {
    let database = require!("redis", Database::lease());
    let unix_url = require!(
        "redis",
        database
            .unix_url()
            .ok_or_else(|| codex_testkit::require::Unavailable::new("the test server has no unix socket"))
    );
    let by_socket = RedisBackend::connect(&unix_url).await.unwrap();
    put(&by_socket, "k", Bytes::from_static(b"v")).await;
    assert_eq!(connect(&database).await.get("k").await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn a_counter_beyond_53_bits_loses_nothing_in_lua() {
    let database = require!("redis", Database::lease());
    let backend = connect(&database).await;
    let start = (1_i64 << 53) + 1;
    let create = OnMissing::Create(Expiry::After(Duration::from_secs(100)));
    assert_eq!(backend.incr("n", start, create).await.unwrap(), Some(start));
    assert_eq!(backend.incr("n", 2, create).await.unwrap(), Some(start + 2));
    assert_eq!(backend.incr("n", 2, OnMissing::Refuse).await.unwrap(), Some(start + 4));
    assert_eq!(backend.incr("lowest", i64::MIN, create).await.unwrap(), Some(i64::MIN));
    assert_kind(
        "incr",
        backend.incr("lowest", -1, OnMissing::Refuse).await,
        ErrorKind::Data,
    );
}

#[tokio::test]
async fn a_list_is_a_data_error_in_lua_too() {
    let database = require!("redis", Database::lease());
    database.command(&["RPUSH", "list", "x"]).unwrap();
    let backend = connect(&database).await;
    let equal = SetOptions::new().with_condition(Condition::IfEquals("x".into()));
    assert_kind("set", backend.set("list", "y".into(), equal).await, ErrorKind::Data);
    assert_kind(
        "del_if_equals",
        backend.del_if_equals("list", b"x").await,
        ErrorKind::Data,
    );
    assert_kind(
        "incr",
        backend.incr("list", 1, OnMissing::Refuse).await,
        ErrorKind::Data,
    );
    assert_kind(
        "incr",
        backend.incr("list", 1, OnMissing::Create(Expiry::Never)).await,
        ErrorKind::Data,
    );
    assert_eq!(database.command(&["LLEN", "list"]).unwrap(), Value::Int(1));
}

#[tokio::test]
async fn the_longest_expiry_is_refused_a_little_beyond_what_redis_takes() {
    let database = require!("redis", Database::lease());
    let backend = connect(&database).await;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    // A minute of slack for the request.
    let longest = Duration::from_millis(i64::MAX.unsigned_abs() - now - 60_000);
    let too_long = longest + Duration::from_secs(120);
    let _ = backend
        .set("k", "v".into(), SetOptions::expires_after(longest))
        .await
        .unwrap();
    assert!(matches!(backend.ttl("k").await.unwrap(), Ttl::Remaining(left) if left <= longest));
    let different = SetOptions::expires_after(too_long).with_condition(Condition::IfEquals("other".into()));
    assert_kind(
        "set",
        backend.set("k", "w".into(), different).await,
        ErrorKind::InvalidArgument,
    );
    assert_kind(
        "expire",
        backend.expire("k", Expiry::After(too_long)).await,
        ErrorKind::InvalidArgument,
    );
    assert_kind(
        "set_many",
        backend.set_many(&[("m", "v".into())], Expiry::After(too_long)).await,
        ErrorKind::InvalidArgument,
    );
    let created = OnMissing::Create(Expiry::After(too_long));
    assert_kind("incr", backend.incr("n", 1, created).await, ErrorKind::InvalidArgument);
    assert_eq!(
        backend.get_many(&["k", "m", "n"]).await.unwrap(),
        [Some("v".into()), None, None]
    );
    assert!(backend.expire("k", Expiry::After(longest)).await.unwrap());
}

#[tokio::test]
async fn a_cursor_that_redis_did_not_give_out_is_refused_or_ends() {
    let database = require!("redis", Database::lease());
    let backend = connect(&database).await;
    let pattern = Pattern::all();
    for made_up in [
        "abc",
        "0",
        "-1",
        "+1",
        "007",
        "18446744073709551616",
        "1.5",
        "99999999999999999999999999",
    ] {
        let request = ScanRequest::new(&pattern).with_cursor(made_up.parse().unwrap());
        assert_kind(made_up, backend.scan(request).await, ErrorKind::InvalidArgument);
    }
    let request = ScanRequest::new(&pattern).with_cursor("18446744073709551615".parse().unwrap());
    assert!(backend.scan(request).await.unwrap().next.is_none());
    // Any hint is accepted. A hint that would block the server is reduced.
    let request = ScanRequest::new(&pattern).with_count_hint(usize::MAX);
    assert!(backend.scan(request).await.unwrap().next.is_none());
}

#[tokio::test]
async fn more_keys_than_one_command_takes_are_one_snapshot_still() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::builder()
        .url(&database.url())
        .command_timeout(Duration::from_secs(60))
        .build()
        .await
        .unwrap();
    put(&backend, "here", "v").await;
    let mut keys = vec!["missing"; 250_000];
    keys[100_001] = "here";
    keys[249_999] = "here";
    let values = backend.get_many(&keys).await.unwrap();
    assert_eq!(values.len(), keys.len());
    let found: Vec<usize> = values
        .iter()
        .enumerate()
        .filter_map(|(at, value)| value.is_some().then_some(at))
        .collect();
    assert_eq!(found, [100_001, 249_999]);
}

#[tokio::test]
async fn a_key_of_another_type_among_many_is_none_across_a_transaction_too() {
    let database = require!("redis", Database::lease());
    database.command(&["RPUSH", "list", "x"]).unwrap();
    let backend = connect(&database).await;
    assert_eq!(backend.get_many(&["list"]).await.unwrap(), [None]);
}

#[tokio::test]
async fn del_matching_leaves_what_is_not_utf_8_and_counts_the_rest() {
    let database = require!("redis", Database::lease());
    let backend = connect(&database).await;
    database.command(&[b"SET".as_slice(), b"p:\xff", b"v"]).unwrap();
    let entries: Vec<(String, Bytes)> = (0..5000).map(|n| (format!("p:{n}"), Bytes::new())).collect();
    let entries: Vec<(&str, Bytes)> = entries
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect();
    backend.set_many(&entries, Expiry::Never).await.unwrap();
    put(&backend, "q", Bytes::new()).await;
    assert_eq!(backend.del_matching(&Pattern::prefix("p:")).await.unwrap(), 5000);
    assert_eq!(database.command(&["DBSIZE"]).unwrap(), Value::Int(2));
    assert_eq!(backend.del_matching(&Pattern::prefix("p:")).await.unwrap(), 0);
}

#[tokio::test]
async fn a_ttl_in_its_last_millisecond_is_not_zero() {
    let database = require!("redis", Database::lease());
    let backend = connect(&database).await;
    for _ in 0..200 {
        let _ = backend
            .set("k", "v".into(), SetOptions::expires_after(Duration::from_millis(2)))
            .await
            .unwrap();
        if let Ttl::Remaining(left) = backend.ttl("k").await.unwrap() {
            assert!(
                left >= Duration::from_millis(1) && left <= Duration::from_millis(2),
                "{left:?}"
            );
        }
    }
}
