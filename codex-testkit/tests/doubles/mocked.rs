//! A mock must give its scripted answers as often as expected, and no others.

use codex_memory::MemoryBackend;
use codex_testkit::doubles::{MockBackend, Verb};
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions, SetOutcome};

#[tokio::test]
async fn what_is_expected_is_answered() {
    let mut mock = MockBackend::new();
    mock.expect_miss("k");
    mock.expect_refused_write("k", "1");
    mock.expect_write("k", "2");
    mock.expect_hit("k", "2");
    assert_eq!(mock.get("k").await.unwrap(), None);
    assert_eq!(
        mock.set("k", "2".into(), SetOptions::new()).await.unwrap(),
        SetOutcome::Written
    );
    assert_eq!(
        mock.set("k", "1".into(), SetOptions::if_absent()).await.unwrap(),
        SetOutcome::Refused
    );
    assert_eq!(mock.get("k").await.unwrap().unwrap(), "2");
}

#[tokio::test]
#[should_panic(expected = "No matching expectation found")]
async fn what_is_not_expected_panics() {
    let mut mock = MockBackend::new();
    mock.expect_miss("k");
    let _ = mock.get("another").await;
}

#[tokio::test]
#[should_panic(expected = "called 0 time(s) which is fewer than expected 1")]
async fn what_was_expected_in_vain_panics() {
    let mut mock = MockBackend::new();
    mock.expect_hit("k", "1");
}

#[tokio::test]
async fn every_verb_can_be_made_to_fail_and_comes_back() {
    for &verb in Verb::ALL {
        let mut mock = MockBackend::new();
        mock.expect_failure(verb, ErrorKind::Timeout);
        mock.fall_back_to(MemoryBackend::new());
        for kind in [Some(ErrorKind::Timeout), None] {
            let all = Pattern::all();
            let answer = match verb {
                Verb::Get => mock.get("k").await.map(drop),
                Verb::Set => mock.set("k", "1".into(), SetOptions::new()).await.map(drop),
                Verb::Del => mock.del(&["k"]).await.map(drop),
                Verb::DelIfEquals => mock.del_if_equals("k", b"1").await.map(drop),
                Verb::Expire => mock.expire("k", Expiry::Never).await.map(drop),
                Verb::Ttl => mock.ttl("k").await.map(drop),
                Verb::Scan => mock.scan(ScanRequest::new(&all)).await.map(drop),
                Verb::GetMany => mock.get_many(&["k"]).await.map(drop),
                Verb::SetMany => mock.set_many(&[("k", "1".into())], Expiry::Never).await,
                Verb::Incr => mock.incr("k", 1, OnMissing::Refuse).await.map(drop),
                Verb::DelMatching => mock.del_matching(&all).await.map(drop),
                Verb::GetWithTtl => mock.get_with_ttl("k").await.map(drop),
                Verb::Health => mock.health().await,
                _ => unreachable!("a verb that this test does not know"),
            };
            let failed = answer.err().map(|error| {
                assert_eq!(error.operation(), verb.name());
                error.kind()
            });
            assert_eq!(failed, kind, "{verb}");
        }
    }
}
