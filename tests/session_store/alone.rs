//! Tests of unsaved sessions, and of arguments that are refused before the backend is called.

use std::time::{Duration, SystemTime};

use codex_kv::{
    DjangoSigned, SessionError, SessionKey, SessionStore,
    memory::MemoryBackend,
    session::{CodecError, InvalidSessionKey},
};

use crate::support::store;

#[test]
fn skey_03_only_what_could_be_a_key_is_parsed() {
    for good in ["a".repeat(8), "Z".repeat(128), "0123-_aZ".to_owned(), "a".repeat(32)] {
        assert_eq!(good.parse::<SessionKey>().unwrap().as_str(), good);
        assert!(SessionKey::try_from(good.as_str()).is_ok());
    }
    let hostile = [
        "",
        "a",
        "1234567",
        "shop:session:aaaaaaaa",
        "aaaaaaaa*",
        "[a-z]aaaaaaaa",
        "aaaa aaaa",
        "aaaaaaaa\n",
        "aaaaaaaa\0",
        "\r\nDEL aaaaaaaa",
        "../../etc/passwd",
        "ааааааааа",
        "aaaaaaaa'; --",
        "\u{feff}aaaaaaaa",
    ];
    for bad in hostile
        .into_iter()
        .map(str::to_owned)
        .chain(["a".repeat(129), "a".repeat(1 << 20)])
    {
        assert_eq!(bad.parse::<SessionKey>(), Err(InvalidSessionKey), "{bad:.20}");
    }
    let debug = format!("{:?}", "0123456789".parse::<SessionKey>().unwrap());
    assert_eq!(debug, "SessionKey(..)");
}

#[test]
fn scod_04_an_empty_secret_builds_no_store() {
    let error = SessionStore::builder(MemoryBackend::new())
        .codec(DjangoSigned::new(""))
        .build()
        .unwrap_err();
    assert_eq!(error.to_string(), "a secret key must not be empty");
}

#[test]
fn sdat_01_a_value_is_typed_when_asked_for() {
    let mut session = store(MemoryBackend::new()).new_session();
    session.insert("n", 42).unwrap();
    session.insert("list", vec!["a", "b"]).unwrap();
    session.insert("n", "text").unwrap();
    assert_eq!(
        session.keys().collect::<Vec<_>>(),
        ["n", "list"],
        "a value keeps its place"
    );
    assert_eq!(session.get::<String>("n").unwrap().as_deref(), Some("text"));
    assert_eq!(session.get::<u64>("missing").unwrap(), None);

    session.insert("secret", "hunter2").unwrap();
    let error = session.get::<u64>("secret").unwrap_err();
    assert!(matches!(
        error,
        SessionError::Codec(CodecError::WrongType { expected: "u64" })
    ));
    let shown = format!("{error} {error:?} {session:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn sexp_02_a_date_is_kept_as_iso_8601_text() {
    let date = SystemTime::UNIX_EPOCH + Duration::new(1_893_553_445, 678_901_234);
    let mut session = store(MemoryBackend::new()).new_session();
    session.set_expiry(date).unwrap();
    let kept = session.get::<String>("_session_expiry").unwrap();
    assert_eq!(kept.as_deref(), Some("2030-01-02T03:04:05.678901+00:00"));
    assert_eq!(
        session.expiry_date(),
        SystemTime::UNIX_EPOCH + Duration::new(1_893_553_445, 678_901_000)
    );
}
