//! Clauses on the values of a loaded session and on its flags.

use super::{
    super::context::{Cx, clauses},
    key,
};
use crate::{KvBackend, Session};

clauses! {
    sdat_01_reading_marks_accessed_and_writing_marks_modified {
        reading_marks_accessed_and_writing_marks_modified
    }
    sdat_02_the_test_cookie_is_set_worked_and_is_deleted {
        the_test_cookie_is_set_worked_and_is_deleted
    }
}

/// An operation on a session.
type Touch = fn(&mut Session);

async fn reading_marks_accessed_and_writing_marks_modified<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    store.save(&mut session).await.unwrap();
    let session = key(&session);

    let cases: [(&str, Touch, bool, bool); 14] = [
        ("nothing", |_| (), false, false),
        ("key", |session| drop(session.key().cloned()), false, false),
        ("get", |session| drop(session.get::<u8>("a")), true, false),
        (
            "get of a missing value",
            |session| drop(session.get::<u8>("b")),
            true,
            false,
        ),
        (
            "contains_key",
            |session| assert!(session.contains_key("a")),
            true,
            false,
        ),
        ("keys", |session| assert_eq!(session.keys().count(), 1), true, false),
        ("insert", |session| session.insert("b", 2).unwrap(), true, true),
        (
            "insert of the same value",
            |session| session.insert("a", 1).unwrap(),
            true,
            true,
        ),
        (
            "refused insert",
            |session| assert!(session.insert("a", f64::NAN).is_err()),
            true,
            false,
        ),
        (
            "update",
            |session| assert_eq!(session.update("a", |a: Option<u8>| a.unwrap() + 1).unwrap(), 2),
            true,
            true,
        ),
        ("remove", |session| assert!(session.remove("a")), true, true),
        (
            "remove of a missing value",
            |session| assert!(!session.remove("b")),
            true,
            false,
        ),
        ("clear", Session::clear, true, true),
        (
            "expiry_age",
            |session| assert!(!session.expiry_age().is_zero()),
            true,
            false,
        ),
    ];
    for (what, touch, accessed, modified) in cases {
        let mut loaded = store.load(&session).await.unwrap().unwrap();
        touch(&mut loaded);
        assert_eq!(
            (loaded.is_accessed(), loaded.is_modified()),
            (accessed, modified),
            "{what}"
        );
    }
    let mut empty = store.create().await.unwrap();
    empty.clear();
    assert!(empty.is_modified(), "clear of an empty session");
}

async fn the_test_cookie_is_set_worked_and_is_deleted<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    assert!(!session.test_cookie_worked());
    session.set_test_cookie();
    assert!(session.is_modified());
    store.save(&mut session).await.unwrap();

    let mut next = store.load(&key(&session)).await.unwrap().unwrap();
    assert_eq!(
        next.get::<String>("testcookie").unwrap().as_deref(),
        Some("worked"),
        "as Django has it"
    );
    assert!(next.test_cookie_worked());
    assert!(next.delete_test_cookie());
    assert!(!next.test_cookie_worked() && next.is_modified());
    assert!(!next.delete_test_cookie());

    next.insert("testcookie", 5).unwrap();
    assert!(!next.test_cookie_worked());
}
