//! Tests of handlers that do not complete: either all of their changes are saved, or none.

use std::time::Duration;

use axum::{BoxError, Router, error_handling::HandleErrorLayer, http::StatusCode, routing::get};
use codex_kv::{
    Login, SessionError,
    memory::MemoryBackend,
    web::{RequestSession, Session, SessionLayer},
};
use tower::ServiceBuilder;

use crate::{
    app::{Browser, routes, store},
    log::Log,
};

const LIMIT: Duration = Duration::from_millis(20);

/// Modifies the session, waits for longer than any timeout, and modifies it again.
async fn slow(session: Session) -> Result<&'static str, SessionError> {
    session.insert("first", "half").await?;
    std::future::pending::<()>().await;
    session.insert("second", "half").await?;
    Ok("done")
}

fn slow_routes() -> Router {
    routes().route("/slow", get(slow))
}

async fn saves_nothing_of_a_slow_handler(app: Router, status: u16) {
    let mut browser = Browser::new(app);
    browser.get("/set/name/Ada").await;
    let key = browser.key();
    let page = browser.get("/slow").await;
    assert_eq!((page.status.as_u16(), page.set_cookie()), (status, None));
    assert_eq!(browser.key(), key);
    assert_eq!(browser.get("/get/first").await.body, "nothing", "half of it was saved");
    assert_eq!(browser.get("/get/name").await.body, "Ada");
}

#[tokio::test]
async fn a_timeout_inside_the_layer_saves_nothing() {
    for status in [408, 500, 503, 504] {
        let answer = move |_: BoxError| async move { StatusCode::from_u16(status).unwrap() };
        let timeout = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(answer))
            .layer(tower::timeout::TimeoutLayer::new(LIMIT));
        let app = slow_routes()
            .layer(timeout)
            .layer(SessionLayer::new(store(MemoryBackend::new())));
        let (log, _guard) = Log::begin();
        saves_nothing_of_a_slow_handler(app, status).await;
        let warned = log.text().contains("put the timeout outside the session layer");
        assert_eq!(warned, matches!(status, 408 | 504), "{status}: {}", log.text());
    }
}

#[tokio::test]
async fn a_timeout_that_loses_a_new_key_is_warned_about() {
    let store = store(MemoryBackend::new());
    let request = RequestSession::begin(&store, None);
    request.login(&Login::new("42")).await.unwrap();
    let cookie = request.finish(200).await.set_cookie.unwrap();
    for ends_others in [false, true] {
        let request = RequestSession::begin(&store, cookie.as_str());
        if ends_others {
            request.end_others().await.unwrap();
        } else {
            request.cycle_key().await.unwrap();
        }
        let (log, _guard) = Log::begin();
        let _ = request.finish(504).await;
        assert!(
            log.text().contains("put the timeout outside"),
            "{ends_others}: {}",
            log.text()
        );
    }
}

#[tokio::test]
async fn a_timeout_that_loses_nothing_is_not_warned_about() {
    let (log, _guard) = Log::begin();
    let read = |session: Session| async move {
        let _: Option<String> = session.get("name").await?;
        Ok::<_, SessionError>(StatusCode::REQUEST_TIMEOUT)
    };
    let app = routes().route("/read", get(read));
    let mut browser = Browser::new(app.layer(SessionLayer::new(store(MemoryBackend::new()))));
    browser.get("/set/name/Ada").await;
    assert_eq!(browser.get("/read").await.status, StatusCode::REQUEST_TIMEOUT);
    assert!(!log.text().contains("put the timeout outside"), "{}", log.text());
}

#[tokio::test]
async fn a_timeout_outside_the_layer_saves_nothing() {
    let answer = |_: BoxError| async { StatusCode::GATEWAY_TIMEOUT };
    let timeout = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(answer))
        .layer(tower::timeout::TimeoutLayer::new(LIMIT));
    let app = slow_routes()
        .layer(SessionLayer::new(store(MemoryBackend::new())))
        .layer(timeout);
    saves_nothing_of_a_slow_handler(app, 504).await;
}

#[tokio::test]
async fn a_client_that_goes_away_saves_nothing() {
    let mut browser = Browser::new(slow_routes().layer(SessionLayer::new(store(MemoryBackend::new()))));
    browser.get("/set/name/Ada").await;
    assert!(tokio::time::timeout(LIMIT, browser.get("/slow")).await.is_err());
    assert_eq!(browser.get("/get/first").await.body, "nothing");
}
