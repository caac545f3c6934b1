//! The log must have every call in order, with its answer. It has no values, and on request no
//! keys.

use std::time::Duration;

use codex_memory::MemoryBackend;
use codex_testkit::doubles::{Answer, ConditionKind, Fault, FaultyBackend, RecordingBackend, Redaction, Verb};
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions};

/// Calls every verb once, with secrets for keys and values.
async fn every_verb(backend: &impl KvBackend) {
    let minute = Duration::from_secs(60);
    let equal = SetOptions::expires_after(minute).with_condition(Condition::IfEquals("secret-old".into()));
    let _ = backend.set("secret-a", "secret-1".into(), equal).await.unwrap();
    let _ = backend
        .set("secret-a", "17".into(), SetOptions::if_absent())
        .await
        .unwrap();
    backend.get("secret-a").await.unwrap();
    backend.get_many(&["secret-b", "secret-a"]).await.unwrap();
    backend
        .set_many(&[("secret-b", "secret-3".into())], Expiry::Never)
        .await
        .unwrap();
    backend.expire("secret-b", Expiry::Keep).await.unwrap();
    backend.ttl("secret-b").await.unwrap();
    backend.incr("secret-a", 1, OnMissing::Refuse).await.unwrap();
    let pattern = Pattern::prefix("secret_");
    backend.scan(ScanRequest::new(&pattern)).await.unwrap();
    backend.del_if_equals("secret-a", b"secret").await.unwrap();
    backend.del(&["secret-a", "secret-a", "x"]).await.unwrap();
    backend.del_matching(&Pattern::all()).await.unwrap();
    backend
        .set("secret-a", "".into(), SetOptions::expires_after(Duration::ZERO))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn the_log_has_every_call_with_its_answer() {
    let backend = RecordingBackend::new(MemoryBackend::new());
    every_verb(&backend).await;
    assert_eq!(
        backend.lines(),
        [
            r#"set "secret-a" 8 bytes 10 bytes if equal for 60s -> refused"#,
            r#"set "secret-a" 2 bytes if absent for ever -> written"#,
            r#"get "secret-a" -> 2 bytes"#,
            r#"get_many "secret-b" "secret-a" -> none, 2 bytes"#,
            r#"set_many "secret-b" 8 bytes for ever -> done"#,
            r#"expire "secret-b" for as long as it had -> true"#,
            r#"ttl "secret-b" -> persistent"#,
            r#"incr "secret-a" -> true"#,
            r#"scan "secret_*" -> 0 keys, the last page"#,
            r#"del_if_equals "secret-a" 6 bytes -> false"#,
            r#"del "secret-a" "secret-a" "x" -> 1"#,
            r#"del_matching "*" -> 1"#,
            r#"set "secret-a" 0 bytes for 0ns -> failed (invalid argument)"#,
        ]
    );
    assert_eq!(backend.count(Verb::Set), 3);
    let calls = backend.calls();
    assert_eq!(calls[0].condition, Some(ConditionKind::IfEquals));
    assert_eq!(calls[0].expiry, Some(Expiry::After(Duration::from_secs(60))));
    assert_eq!(calls[3].answer, Answer::Values(vec![None, Some(2)]));
    backend.clear();
    assert!(backend.calls().is_empty());
}

#[tokio::test]
async fn redacted_keys_are_numbers_that_tell_them_apart() {
    let backend = RecordingBackend::with_redaction(MemoryBackend::new(), Redaction::ValuesAndKeys);
    backend.get("secret-a").await.unwrap();
    backend.get_many(&["secret-b", "secret-a"]).await.unwrap();
    backend.clear();
    backend.ttl("secret-b").await.unwrap();
    backend.del_matching(&Pattern::prefix("secret-")).await.unwrap();
    assert_eq!(
        backend.lines(),
        [r##"ttl "#2" -> missing"##, r##"del_matching "#" -> 0"##]
    );
}

#[tokio::test]
async fn nothing_leaks() {
    let backend = RecordingBackend::with_redaction(MemoryBackend::new(), Redaction::ValuesAndKeys);
    every_verb(&backend).await;
    let shown = format!("{backend:?} {:?} {}", backend.calls(), backend.lines().join("\n"));
    assert!(!shown.contains("secret") && !shown.contains("17"), "{shown}");

    // By default the log has keys, but its `Debug` output does not. Neither has values.
    let backend = RecordingBackend::new(MemoryBackend::new());
    every_verb(&backend).await;
    let debug = format!("{backend:?} {:?}", backend.calls());
    assert!(!debug.contains("secret"), "{debug}");
    let lines = backend.lines().join("\n");
    for value in ["secret-1", "secret-3", "secret-old", "17"] {
        assert!(!lines.contains(value), "{lines}");
    }
}

#[tokio::test]
async fn a_call_without_an_answer_stays_without_one() {
    let slow = FaultyBackend::new(MemoryBackend::new()).with_sleep(|_| std::future::pending());
    let backend = RecordingBackend::new(slow);
    backend.inner().inject(Fault::delay(Duration::ZERO).on(Verb::Get));
    let mut dropped = Box::pin(backend.get("k"));
    assert!(futures_util::poll!(&mut dropped).is_pending());
    drop(dropped);
    backend.ttl("k").await.unwrap();
    assert_eq!(backend.lines(), [r#"get "k" -> no answer"#, r#"ttl "k" -> missing"#]);
}

#[tokio::test]
async fn the_answer_of_a_call_that_was_cleared_meanwhile_goes_nowhere() {
    let (open, gate) = tokio::sync::watch::channel(false);
    let slow = FaultyBackend::new(MemoryBackend::new()).with_sleep(move |_| {
        let mut gate = gate.clone();
        async move { drop(gate.wait_for(|open| *open).await) }
    });
    slow.inject(Fault::delay(Duration::ZERO).on(Verb::Get));
    slow.inject(Fault::refused(ErrorKind::Server).on(Verb::Get));
    let backend = RecordingBackend::new(slow);
    let mut under_way = Box::pin(backend.get("k"));
    assert!(futures_util::poll!(&mut under_way).is_pending());
    backend.clear();
    backend.ttl("k").await.unwrap();
    open.send(true).unwrap();
    under_way.await.unwrap_err();
    assert_eq!(backend.lines(), [r#"ttl "k" -> missing"#]);
}
