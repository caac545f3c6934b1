//! Tests that nothing is loaded before it is accessed, and that nothing unchanged is saved.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Path, Request},
    http::StatusCode,
    response::IntoResponse,
    routing::get,
};
use codex_kv::{
    DjangoSigned, SessionError, SessionStore,
    web::{Session, SessionLayer},
};

use crate::{
    app::{Browser, app, record, routes, send, store},
    watched::{take, take_verbs, watched},
};

#[tokio::test]
async fn a_session_that_nobody_asks_costs_nothing() {
    let backend = watched();
    let mut browser = Browser::new(app(backend.clone()));
    browser.get("/set/name/Ada").await;
    take(&backend);
    for path in ["/plain", "/unused", "/missing"] {
        let page = browser.get(path).await;
        assert_eq!((page.set_cookie(), page.vary()), (None, None), "{path}");
    }
    assert_eq!(take_verbs(&backend), [""; 0]);
}

#[tokio::test]
async fn a_visitor_without_a_session_gets_no_cookie_and_no_record() {
    let backend = watched();
    let mut browser = Browser::new(app(backend.clone()));
    for path in ["/get/name", "/remove/name", "/clear", "/flush", "/careless"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert_eq!(page.set_cookie(), None, "{path}");
        assert_eq!(
            page.vary(),
            Some("Cookie"),
            "the answer depends on there being no cookie: {path}"
        );
    }
    assert_eq!(take_verbs(&backend), [""; 0]);
}

#[tokio::test]
async fn a_session_is_loaded_once_and_saved_once_where_it_was_changed() {
    let backend = watched();
    let mut browser = Browser::new(app(backend.clone()));
    let page = browser.get("/set/name/Ada").await;
    assert_eq!((page.body.as_str(), page.vary()), ("set", Some("Cookie")));
    let record = record(&browser.key());
    assert_eq!(take(&backend), [("set", record.clone())]);

    let page = browser.get("/get/name").await;
    assert_eq!(
        (page.body.as_str(), page.set_cookie(), page.vary()),
        ("Ada", None, Some("Cookie"))
    );
    assert_eq!(take(&backend), [("get", record.clone())]);

    assert_eq!(
        browser.get("/remove/nothing").await.set_cookie(),
        None,
        "nothing was changed"
    );
    assert_eq!(take_verbs(&backend), ["get"]);

    assert!(browser.get("/set/name/Grace").await.set_cookie().is_some());
    assert_eq!(take(&backend), [("get", record.clone()), ("set", record)]);
    assert_eq!(browser.get("/get/name").await.body, "Grace");
}

#[tokio::test]
async fn handler_and_middleware_share_one_session_that_is_loaded_once() {
    async fn middleware(session: Session, request: Request, next: axum::middleware::Next) -> axum::response::Response {
        session.insert("seen", "by the middleware").await.unwrap();
        next.run(request).await
    }
    let backend = watched();
    let routes = routes().layer(axum::middleware::from_fn(middleware));
    let mut browser = Browser::new(routes.layer(SessionLayer::new(store(backend.clone()))));
    assert_eq!(browser.get("/get/seen").await.body, "by the middleware");
    take(&backend);
    browser.get("/get/seen").await;
    assert_eq!(take_verbs(&backend), ["get", "set"]);
}

#[tokio::test]
async fn save_every_request_renews_the_time_of_those_who_have_a_session() {
    let backend = watched();
    let layer = SessionLayer::new(store(backend.clone())).save_every_request();
    let mut browser = Browser::new(routes().layer(layer));
    assert_eq!(browser.get("/plain").await.set_cookie(), None, "there is none to renew");
    assert_eq!(take_verbs(&backend), [""; 0]);

    browser.get("/set/name/Ada").await;
    let key = browser.key();
    take(&backend);
    let page = browser.get("/plain").await;
    assert!(page.set_cookie().unwrap().contains("Max-Age=1209600"));
    assert_eq!(take_verbs(&backend), ["get", "expire"], "the data is not written again");
    assert_eq!(
        page.vary(),
        Some("Cookie"),
        "a shared cache is to hand this cookie to nobody else"
    );
    assert_eq!(browser.key(), key);

    // A session without a record in the store is not recreated.
    store(backend.clone()).delete(&key).await.unwrap();
    let page = browser.get("/plain").await;
    assert_eq!((page.status, page.set_cookie()), (StatusCode::OK, None));
}

#[tokio::test]
async fn save_every_request_keeps_to_the_stores_touch_interval() {
    let backend = watched();
    let builder = SessionStore::builder(backend.clone()).touch_interval(Duration::from_secs(300));
    let store = builder.codec(DjangoSigned::new("a secret")).build().unwrap();
    let mut browser = Browser::new(routes().layer(SessionLayer::new(store).save_every_request()));
    browser.get("/set/name/Ada").await;
    take(&backend);
    let page = browser.get("/plain").await;
    assert_eq!((page.status, page.set_cookie()), (StatusCode::OK, None));
    assert_eq!(take_verbs(&backend), ["get_with_ttl"]);
}

/// The headers of the handler stay beside those of the session.
#[tokio::test]
async fn other_cookies_and_other_reasons_to_vary_are_kept() {
    async fn handler(session: Session, Path(vary): Path<String>) -> Result<impl IntoResponse, SessionError> {
        session.insert("seen", &vary).await?;
        Ok([("set-cookie", "theme=dark".to_owned()), ("vary", vary)])
    }
    let routes = Router::new().route("/{vary}", get(handler));
    let app = routes.layer(SessionLayer::new(store(watched())));
    for (vary, expected) in [
        ("accept-encoding", &["accept-encoding", "Cookie"][..]),
        ("x-cookie-consent", &["x-cookie-consent", "Cookie"]),
        ("cookies", &["cookies", "Cookie"]),
        ("cookie", &["cookie"]),
        ("Accept, COOKIE", &["Accept, COOKIE"]),
        ("*", &["*"]),
    ] {
        let path = format!("/{}", vary.replace(' ', "%20"));
        let page = send(&app, Request::get(path).body(Body::empty()).unwrap()).await;
        let headers = |name| -> Vec<_> {
            page.headers
                .get_all(name)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect()
        };
        assert_eq!(headers("vary"), expected);
        let cookies = headers("set-cookie");
        assert_eq!((cookies.len(), cookies[0]), (2, "theme=dark"), "{vary}");
        assert!(cookies[1].starts_with("sessionid="), "{vary}");
    }
}

#[tokio::test]
async fn after_the_response_every_method_fails_rather_than_lose_a_change() {
    let (sender, receiver) = tokio::sync::oneshot::channel::<Session>();
    let sender = std::sync::Arc::new(std::sync::Mutex::new(Some(sender)));
    let handler = move |session: Session| async move {
        sender.lock().unwrap().take().unwrap().send(session).unwrap();
        "sent"
    };
    let app = Router::new().route("/", get(handler));
    let app = app.layer(SessionLayer::new(store(watched())));
    send(&app, Request::get("/").body(Body::empty()).unwrap()).await;
    let session = receiver.await.unwrap();
    assert!(matches!(session.insert("late", 1).await, Err(SessionError::Finished)));
    assert!(matches!(session.get::<u64>("late").await, Err(SessionError::Finished)));
    assert!(matches!(session.flush().await, Err(SessionError::Finished)));
    assert!(matches!(session.cycle_key().await, Err(SessionError::Finished)));
    assert_eq!(format!("{session:?}"), "Session { .. }");
}

#[tokio::test]
async fn without_the_layer_the_handler_does_not_run() {
    let page = Browser::new(routes()).get("/unused").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    let optional = Router::new().route(
        "/",
        get(|session: Option<Session>| async move { session.is_none().to_string() }),
    );
    assert_eq!(Browser::new(optional).get("/").await.body, "true");
}
