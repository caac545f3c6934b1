//! Helpers for the tests of failures.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

pub(crate) mod load;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_redis::RedisBackend;
use codex_testkit::secret_audit;
use codex_traits::{Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions};

/// A text that no error and no log line may show, wherever it is used.
pub(crate) const SECRET: &str = "hunter2";

/// Calls every verb with secret keys and values, and returns the results. The first four verbs only
/// read.
pub(crate) async fn every_verb(backend: &RedisBackend) -> Vec<(&'static str, Result<(), Error>)> {
    secret_audit::secret(SECRET.as_bytes());
    let answers = verbs(backend).await;
    answers
        .iter()
        .filter_map(|(_, answer)| answer.as_ref().err())
        .for_each(seen);
    answers
}

async fn verbs(backend: &RedisBackend) -> Vec<(&'static str, Result<(), Error>)> {
    let value = || Bytes::from_static(SECRET.as_bytes());
    let pattern = Pattern::prefix(SECRET);
    let second = Expiry::After(Duration::from_secs(1));
    let equal = SetOptions::new().with_condition(Condition::IfEquals(value()));
    vec![
        ("get", backend.get(SECRET).await.map(drop)),
        ("get_many", backend.get_many(&[SECRET]).await.map(drop)),
        ("ttl", backend.ttl(SECRET).await.map(drop)),
        ("scan", backend.scan(ScanRequest::new(&pattern)).await.map(drop)),
        ("set", backend.set(SECRET, value(), SetOptions::new()).await.map(drop)),
        ("set if equal", backend.set(SECRET, value(), equal).await.map(drop)),
        ("set_many", backend.set_many(&[(SECRET, value())], second).await),
        (
            "del_if_equals",
            backend.del_if_equals(SECRET, SECRET.as_bytes()).await.map(drop),
        ),
        ("expire", backend.expire(SECRET, second).await.map(drop)),
        ("expire never", backend.expire(SECRET, Expiry::Never).await.map(drop)),
        ("del", backend.del(&[SECRET]).await.map(drop)),
        (
            "incr",
            backend
                .incr("counter", 1, OnMissing::Create(Expiry::Never))
                .await
                .map(drop),
        ),
        (
            "incr to end",
            backend.incr("other", 1, OnMissing::Create(second)).await.map(drop),
        ),
        (
            "incr there",
            backend.incr("counter", 1, OnMissing::Refuse).await.map(drop),
        ),
        ("del_matching", backend.del_matching(&pattern).await.map(drop)),
    ]
}

/// Calls every verb on this key, which holds no number. Verbs on several keys also use another key.
pub(crate) async fn every_verb_on(
    backend: &RedisBackend,
    key: &str,
    other: &str,
) -> Vec<(&'static str, Result<(), Error>)> {
    let second = Expiry::After(Duration::from_secs(1));
    let on = |condition| SetOptions::new().with_condition(condition);
    let set = async |condition| backend.set(key, "x".into(), on(condition)).await.map(drop);
    // The pattern matches only this key, which has no special characters.
    let pattern = Pattern::glob(key);
    let incr = async |on_missing| backend.incr(key, 1, on_missing).await.map(drop);
    vec![
        ("get", backend.get(key).await.map(drop)),
        ("get_many", backend.get_many(&[other, key]).await.map(drop)),
        ("ttl", backend.ttl(key).await.map(drop)),
        ("set", set(Condition::Always).await),
        ("set if absent", set(Condition::IfAbsent).await),
        ("set if present", set(Condition::IfPresent).await),
        ("set if equal", set(Condition::IfEquals("v".into())).await),
        (
            "set_many",
            backend
                .set_many(&[(other, "v".into()), (key, "v".into())], Expiry::Never)
                .await,
        ),
        ("del_if_equals", backend.del_if_equals(key, b"v").await.map(drop)),
        ("expire", backend.expire(key, second).await.map(drop)),
        ("expire keep", backend.expire(key, Expiry::Keep).await.map(drop)),
        (
            "expire at once",
            backend.expire(key, Expiry::After(Duration::ZERO)).await.map(drop),
        ),
        ("expire never", backend.expire(key, Expiry::Never).await.map(drop)),
        ("del", backend.del(&[key]).await.map(drop)),
        ("incr", incr(OnMissing::Create(Expiry::Never)).await),
        ("incr to end", incr(OnMissing::Create(second)).await),
        ("incr there", incr(OnMissing::Refuse).await),
        ("del_matching", backend.del_matching(&pattern).await.map(drop)),
        ("scan", walked(backend, &pattern).await),
    ]
}

/// Runs a whole scan, because only a later page fails if a node is dead.
async fn walked(backend: &RedisBackend, pattern: &Pattern) -> Result<(), Error> {
    let mut request = ScanRequest::new(pattern);
    while let Some(next) = backend.scan(request).await?.next {
        request = ScanRequest::new(pattern).with_cursor(next);
    }
    Ok(())
}

/// The number of verbs of [`every_verb`] that only read.
pub(crate) const READING: usize = 4;

/// Registers a key that no error and no log line may show.
pub(crate) fn plant(key: &str) {
    secret_audit::secret(key.as_bytes());
}

/// Checks an error that a test has received.
pub(crate) fn seen(error: &Error) {
    secret_audit::error(error);
    assert_discreet(error);
}

/// Checks that an error shows no secret, neither in `Display` nor in `Debug`.
pub(crate) fn assert_discreet(error: &Error) {
    let shown = format!(
        "{error} {error:?} {:?} {}",
        std::error::Error::source(error).map(ToString::to_string),
        error.kind()
    );
    assert!(!shown.contains(SECRET), "{shown}");
}

#[track_caller]
pub(crate) fn assert_kind<T>(verb: &str, result: Result<T, Error>, kind: ErrorKind) -> Error {
    let Err(error) = result else {
        panic!("{verb} did not fail")
    };
    assert_eq!(error.kind(), kind, "{verb}: {error:?}");
    seen(&error);
    error
}

/// Writes a key without a condition and without an expiry.
pub(crate) async fn put(backend: &RedisBackend, key: &str, value: impl Into<Bytes>) {
    let outcome = backend.set(key, value.into(), SetOptions::new()).await.unwrap();
    assert!(outcome.is_written());
}

/// Checks repeatedly until the condition holds, for up to 20 s.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
