//! Tests of the core that every framework's middleware shares.

use codex_kv::{
    DjangoSigned, KvBackend as _, Login, SessionError, SessionStore,
    memory::MemoryBackend,
    web::{RequestSession, Sessions},
};

use crate::{
    app::{record, store},
    watched::{restore, take, take_down_after, take_verbs, watched},
};

fn cookie(set_cookie: Option<String>) -> String {
    let set_cookie = set_cookie.expect("a cookie is set");
    set_cookie.split(';').next().unwrap().to_owned()
}

/// Returns the stored key of the session with this cookie.
fn record_of(cookie: &str) -> String {
    record(&cookie.strip_prefix("sessionid=").unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_request_that_asks_nothing_costs_nothing() {
    let backend = watched();
    let store = store(backend.clone());
    for header in [None, Some("sessionid=0123456789abcdef0123456789abcdef"), Some("junk")] {
        let outcome = RequestSession::begin(&store, header).finish(200).await;
        assert_eq!((outcome.set_cookie, outcome.vary), (None, false));
        assert!(outcome.error.is_none());
    }
    assert_eq!(take_verbs(&backend), [""; 0]);
}

#[tokio::test]
async fn a_login_cannot_be_lost_and_a_logout_sets_no_cookie() {
    let store = store(MemoryBackend::new());
    let request = RequestSession::begin(&store, None);
    request.login(&Login::new("42")).await.unwrap();
    let logged_in = cookie(request.finish(303).await.set_cookie);

    let request = RequestSession::begin(&store, logged_in.as_str());
    assert_eq!(request.user().await.unwrap().as_deref(), Some("42"));
    request.logout().await.unwrap();
    assert_eq!(request.user().await.unwrap(), None);
    let removal = request.finish(303).await.set_cookie.unwrap();
    assert!(
        removal.starts_with("sessionid=;") && removal.contains("Max-Age=0"),
        "{removal}"
    );

    let request = RequestSession::begin(&store, logged_in.as_str());
    assert_eq!(request.user().await.unwrap(), None);
    assert_eq!(request.finish(200).await.set_cookie, None);
}

#[tokio::test]
async fn a_failed_response_saves_nothing_and_a_dropped_request_neither() {
    let backend = watched();
    let store = store(backend.clone());
    let request = RequestSession::begin(&store, None);
    request.insert("name", "Ada").await.unwrap();
    let ada = cookie(request.finish(200).await.set_cookie);
    for status in [408, 500, 503, 599] {
        take(&backend);
        let request = RequestSession::begin(&store, ada.as_str());
        request.insert("name", "Grace").await.unwrap();
        request.cycle_key().await.unwrap();
        let outcome = request.finish(status).await;
        assert_eq!((outcome.set_cookie, outcome.vary), (None, true), "{status}");
        assert_eq!(take_verbs(&backend), ["get"], "{status}");
    }

    let request = RequestSession::begin(&store, ada.as_str());
    request.insert("name", "Grace").await.unwrap();
    let outcome = request.finish_without_saving().await;
    assert!(outcome.set_cookie.is_none() && outcome.error.is_none());

    let request = RequestSession::begin(&store, ada.as_str());
    let session = request.session().clone();
    session.insert("name", "Grace").await.unwrap();
    drop(request);
    assert!(matches!(
        session.insert("name", "Eve").await,
        Err(SessionError::Finished)
    ));
    let request = RequestSession::begin(&store, ada.as_str());
    assert_eq!(request.get::<String>("name").await.unwrap().as_deref(), Some("Ada"));
}

#[tokio::test]
async fn another_users_session_ends_only_with_the_login() {
    let backend = MemoryBackend::new();
    let store = store(backend.clone());
    let request = RequestSession::begin(&store, None);
    request.login(&Login::new("ada")).await.unwrap();
    let ada = cookie(request.finish(200).await.set_cookie);

    let request = RequestSession::begin(&store, ada.as_str());
    request.login(&Login::new("grace")).await.unwrap();
    let record = record_of(&ada);
    assert!(
        backend.get(&record).await.unwrap().is_some(),
        "the handler is not done yet"
    );
    let grace = cookie(request.finish(200).await.set_cookie);
    assert!(backend.get(&record).await.unwrap().is_none());

    // So does a login that also ends the user's other sessions.
    let request = RequestSession::begin(&store, grace.as_str());
    request.login(&Login::new("ada")).await.unwrap();
    request.end_others().await.unwrap();
    let ada = cookie(request.finish(200).await.set_cookie);
    let record = record_of(&grace);
    assert!(backend.get(&record).await.unwrap().is_none());

    // A login and a logout in one request end both sessions.
    let request = RequestSession::begin(&store, ada.as_str());
    request.login(&Login::new("grace")).await.unwrap();
    request.logout().await.unwrap();
    assert!(request.finish(200).await.set_cookie.unwrap().contains("Max-Age=0"));
    let record = record_of(&ada);
    assert!(backend.get(&record).await.unwrap().is_none());
}

#[tokio::test]
async fn a_login_that_is_repeated_after_an_outage_is_saved() {
    let backend = watched();
    let store = store(backend.clone());
    let request = RequestSession::begin(&store, None);
    take_down_after(&backend, 0);
    assert!(request.login(&Login::new("ada")).await.is_err());
    restore(&backend);
    request.login(&Login::new("ada")).await.unwrap();
    let outcome = request.finish(200).await;
    assert!(outcome.error.is_none() && outcome.set_cookie.is_some(), "{outcome:?}");

    // A handler that ignores the error would tell the visitor that the login succeeded.
    let request = RequestSession::begin(&store, None);
    take_down_after(&backend, 0);
    assert!(request.login(&Login::new("ada")).await.is_err());
    restore(&backend);
    let outcome = request.finish(303).await;
    assert!(matches!(outcome.error, Some(SessionError::Backend(_))), "{outcome:?}");
    assert_eq!(outcome.set_cookie, None);
}

#[tokio::test]
async fn a_logout_that_failed_is_reported_though_a_later_read_succeeds() {
    let backend = watched();
    let store = store(backend.clone());
    let request = RequestSession::begin(&store, None);
    request.login(&Login::new("ada")).await.unwrap();
    let ada = cookie(request.finish(200).await.set_cookie);

    let request = RequestSession::begin(&store, ada.as_str());
    take_down_after(&backend, 0);
    assert!(request.logout().await.is_err());
    restore(&backend);
    assert_eq!(request.user().await.unwrap().as_deref(), Some("ada"));
    let outcome = request.finish(200).await;
    assert!(matches!(outcome.error, Some(SessionError::Backend(_))), "{outcome:?}");

    let request = RequestSession::begin(&store, ada.as_str());
    take_down_after(&backend, 0);
    assert!(request.logout().await.is_err());
    restore(&backend);
    request.logout().await.unwrap();
    let outcome = request.finish(200).await;
    assert!(outcome.error.is_none() && outcome.set_cookie.is_some(), "{outcome:?}");
}

#[tokio::test]
async fn a_logout_removes_a_record_that_the_load_hid() {
    let backend = MemoryBackend::new();
    let here = store(backend.clone());
    for is_revoked in [false, true] {
        let request = RequestSession::begin(&here, None);
        request.login(&Login::new("ada")).await.unwrap();
        let ada = cookie(request.finish(200).await.set_cookie);
        let record = record_of(&ada);
        let reader = if is_revoked {
            here.revoke_all("ada").await.unwrap();
            here.clone()
        } else {
            let builder = SessionStore::builder(backend.clone()).project("shop");
            builder.codec(DjangoSigned::new("another secret")).build().unwrap()
        };
        let request = RequestSession::begin(&reader, ada.as_str());
        assert_eq!(request.user().await.unwrap(), None);
        assert!(backend.get(&record).await.unwrap().is_some());
        request.logout().await.unwrap();
        let removal = request.finish(200).await.set_cookie;
        assert!(removal.is_some_and(|removal| removal.contains("Max-Age=0")));
        assert!(backend.get(&record).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn an_unreadable_session_is_reported_though_the_handler_ignores_it() {
    let backend = MemoryBackend::new();
    let request = RequestSession::begin(&store(backend.clone()), None);
    request.insert("name", "Ada").await.unwrap();
    let ada = cookie(request.finish(200).await.set_cookie);
    let signed = DjangoSigned::new("a secret of the tests");
    for (codec, is_too_large) in [
        (DjangoSigned::new("another secret"), false),
        (signed.with_max_size(2), true),
    ] {
        let strict = SessionStore::builder(backend.clone()).project("shop").codec(codec);
        let strict = strict.fail_on_unreadable(true).build().unwrap();
        let request = RequestSession::begin(&strict, ada.as_str());
        assert_eq!(request.user().await.unwrap_or(None), None);
        let outcome = request.finish(200).await;
        match outcome.error {
            Some(SessionError::TooLarge { limit: 2 }) if is_too_large => {}
            Some(SessionError::Codec(_)) if !is_too_large => {}
            error => panic!("{error:?}"),
        }
        assert_eq!(outcome.set_cookie, None);
    }
}

#[tokio::test]
async fn a_request_that_is_dropped_while_a_handle_is_in_use_is_finished() {
    let request = RequestSession::begin(&store(MemoryBackend::new()), None);
    let session = request.session().clone();
    session.with(|_| drop(request)).await.unwrap();
    let late = session.insert("late", 1).await;
    assert!(matches!(late, Err(SessionError::Finished)), "{late:?}");
}

#[tokio::test]
async fn a_closure_needs_one_question_mark() {
    let store = store(MemoryBackend::new());
    let request = RequestSession::begin(&store, None);
    let items: usize = request
        .with(|session| {
            session.insert("cart", ["SKU-1"])?;
            Ok(session.keys().count())
        })
        .await
        .unwrap();
    assert_eq!(items, 1);
    assert!(request.with(|session| session.remove("cart")).await.unwrap());
    request.with(codex_kv::Session::clear).await.unwrap();
    let failed = request.with(|session| session.insert("nan", f64::NAN)).await;
    assert!(matches!(failed, Err(SessionError::Codec(_))));
}

#[tokio::test]
async fn headers_come_in_many_forms() {
    let sessions = Sessions::new(store(MemoryBackend::new()));
    let request = sessions.begin(None);
    request.insert("name", "Ada").await.unwrap();
    let ada = cookie(request.finish(200).await.set_cookie);
    let mut map = axum::http::HeaderMap::new();
    map.append("cookie", axum::http::HeaderValue::from_bytes(b"theme=\xff").unwrap());
    map.append("cookie", ada.parse().unwrap());
    for request in [
        sessions.begin(ada.as_str()),
        sessions.begin(&ada),
        sessions.begin(Some(ada.as_str())),
        sessions.begin(ada.as_bytes()),
        sessions.begin(vec![b"theme=\xff".as_slice(), ada.as_bytes()]),
        sessions.begin(&map),
    ] {
        assert_eq!(request.get::<String>("name").await.unwrap().as_deref(), Some("Ada"));
    }
}

#[tokio::test]
async fn no_key_is_shown() {
    let store = store(MemoryBackend::new());
    let request = RequestSession::begin(&store, None);
    request.insert("name", "hunter2").await.unwrap();
    let shown = format!("{request:?}");
    let outcome = request.finish(200).await;
    let key = outcome.set_cookie.clone().unwrap();
    let shown = format!("{shown} {outcome:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains(key.split(';').next().unwrap()),
        "{shown}"
    );
}
