//! The test that a divergence prints, pasted unchanged.

use super::harness;

#[tokio::test]
async fn answers_as_the_model_does() {
    use bytes::Bytes;
    use codex_testkit::Op;
    use codex_traits::{Condition, Expiry, OnMissing, Pattern, SetOptions};
    use std::time::Duration;
    let operations = [
        Op::set("k\0\"\\é{}", b"\"\\\x00\xff\n", SetOptions::if_absent()),
        Op::set("k\0\"\\é{}", b"", SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static(b"\"\\\x00\xff\n"))).with_expiry(Expiry::After(Duration::from_millis(1500)))),
        Op::set("", b"7", SetOptions::if_present().with_expiry(Expiry::Keep)),
        Op::set("e", b"", SetOptions::new()),
        Op::del(&[]),
        Op::del(&["one", "one", "another"]),
        Op::del_if_equals("k", b"\r"),
        Op::expire("k", Expiry::After(Duration::MAX)),
        Op::expire("k", Expiry::After(Duration::ZERO)),
        Op::expire("k", Expiry::After(Duration::new(1, 1))),
        Op::ttl("k\0\"\\é{}"),
        Op::get_many(&[]),
        Op::get_many(&["k", ""]),
        Op::set_many(&[], Expiry::Never),
        Op::set_many(&[("a", b"1"), ("b", b"longer"), ("a", b"")], Expiry::After(Duration::from_secs(1))),
        Op::incr("n", i64::MIN, OnMissing::Create(Expiry::Never)),
        Op::incr("n", i64::MAX, OnMissing::Refuse),
        Op::incr("n", -5, OnMissing::Create(Expiry::Keep)),
        Op::scan(Pattern::glob(b"a\\*\"\\\\*"), 3),
        Op::scan(Pattern::glob(b"\xff[^a-z]"), 0),
        Op::del_matching(Pattern::glob(b"*")),
        Op::Pass(Duration::from_millis(999)),
        Op::set("e", b"", SetOptions::new()),
        Op::get("e"),
    ];
    // The model answers Value(Some(b"")),
    // the backend       Value(None).
    codex_testkit::replay(&harness(), &operations).await.unwrap();
}
