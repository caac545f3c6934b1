//! Tests of outages, of sessions that end elsewhere, and of handlers that fail.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use codex_kv::{
    SessionError,
    memory::MemoryBackend,
    web::{Session, SessionLayer},
};
use tower::{Layer as _, Service as _, ServiceExt as _};

use crate::{
    app::{Browser, app, routes, store},
    log::Log,
    watched::{restore, take, take_down_after, take_verbs, watched},
};

#[tokio::test]
async fn an_outage_is_503_and_never_a_visitor_without_a_session() {
    let backend = watched();
    let mut browser = Browser::new(app(backend.clone()));
    browser.get("/set/name/Ada").await;
    let key = browser.key();

    take_down_after(&backend, 0);
    let (log, _guard) = Log::begin();
    for path in [
        "/get/name",
        "/careless",
        "/set/name/Grace",
        "/cycle/a/b",
        "/flush",
        "/clear",
        "/fail",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(!page.body.contains("nobody"), "{path}");
        assert_eq!(page.set_cookie(), None, "{path}");
    }
    // The other handlers return the error, which is logged as theirs.
    let ignored = log.text().matches("a request failed on its session").count();
    assert_eq!(ignored, 1, "{}", log.text());
    assert_eq!(
        browser.get("/plain").await.status,
        StatusCode::OK,
        "what needs no session goes on"
    );
    assert_eq!(Browser::new(app(backend.clone())).get("/set/a/b").await.status, 503);

    restore(&backend);
    assert_eq!(browser.get("/get/name").await.body, "Ada", "the session survives");
    assert_eq!(browser.key(), key);
}

#[tokio::test]
async fn a_response_of_500_and_above_saves_nothing() {
    let backend = watched();
    let mut browser = Browser::new(app(backend.clone()));
    browser.get("/set/name/Ada").await;
    let key = browser.key();
    take(&backend);
    let page = browser.get("/fail").await;
    assert_eq!((page.status.as_u16(), page.set_cookie()), (500, None));
    assert_eq!(take_verbs(&backend), ["get"]);
    assert_eq!(browser.get("/get/failed").await.body, "nothing");
    assert_eq!(browser.key(), key, "the key was not cycled");
}

#[tokio::test]
async fn a_handler_that_fails_on_the_session_saves_nothing_and_says_500() {
    let backend = watched();
    let mut browser = Browser::new(app(backend.clone()));
    let page = browser.get("/wrong-type").await;
    assert_eq!((page.status.as_u16(), page.set_cookie()), (500, None));
    assert!(!page.body.contains("no number"));
    assert_eq!(take_verbs(&backend), [""; 0]);
}

#[tokio::test]
async fn other_statuses_save() {
    let handler = |session: Session| async move {
        session.insert("last", "missing").await.unwrap();
        StatusCode::NOT_FOUND
    };
    let routes = routes().route("/found-nothing", get(handler));
    let mut browser = Browser::new(routes.layer(SessionLayer::new(store(MemoryBackend::new()))));
    assert_eq!(browser.get("/found-nothing").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/get/last").await.body, "missing");
}

/// Ends the session between a handler's read and its save.
fn app_that_loses_sessions(layer: impl FnOnce(SessionLayer) -> SessionLayer) -> axum::Router {
    let store = store(MemoryBackend::new());
    let elsewhere = store.clone();
    let handler = move |session: Session| async move {
        session.insert("late", 1).await?;
        let key = session.key().await?.unwrap();
        elsewhere.delete(&key).await?;
        Ok::<_, SessionError>("changed")
    };
    let cycled = {
        let elsewhere = store.clone();
        move |session: Session| async move {
            let key = session.key().await?.unwrap();
            elsewhere.delete(&key).await?;
            session.cycle_key().await?;
            session.insert("user", "42").await?;
            Ok::<_, SessionError>("logged in")
        }
    };
    let routes = routes().route("/lost", get(handler)).route("/lost-login", get(cycled));
    routes.layer(layer(SessionLayer::new(store)))
}

#[tokio::test]
async fn a_session_ended_elsewhere_is_400_and_not_written_back_to_life() {
    let mut browser = Browser::new(app_that_loses_sessions(|layer| layer));
    browser.get("/set/name/Ada").await;
    let page = browser.get("/lost").await;
    assert_eq!((page.status, page.set_cookie()), (StatusCode::BAD_REQUEST, None));
    assert_eq!(browser.get("/get/late").await.body, "nothing");
    assert_eq!(browser.get("/get/name").await.body, "nothing");
}

#[tokio::test]
async fn a_login_into_a_session_ended_elsewhere_begins_anew_with_nothing_of_the_old_one() {
    let mut browser = Browser::new(app_that_loses_sessions(|layer| layer));
    browser.get("/set/name/Ada").await;
    assert_eq!(browser.get("/lost-login").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/user").await.body, "42");
    assert_eq!(browser.get("/get/name").await.body, "nothing");
}

#[tokio::test]
async fn a_response_in_place_of_the_handlers_removes_the_cookie_of_an_ended_session() {
    let handler = |session: Session| async move {
        session.flush().await?;
        Err::<(), _>(SessionError::Gone)
    };
    let routes = routes().route("/flush-and-refuse", get(handler));
    let mut browser = Browser::new(routes.layer(SessionLayer::new(store(MemoryBackend::new()))));
    browser.get("/set/name/Ada").await;
    let page = browser.get("/flush-and-refuse").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.set_cookie().unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn a_handler_that_fails_with_a_session_error_saves_nothing_at_any_status() {
    let handler = |session: Session| async move {
        session.insert("late", "saved").await?;
        Err::<(), _>(SessionError::Gone)
    };
    let routes = routes().route("/change-and-refuse", get(handler));
    let mut browser = Browser::new(routes.layer(SessionLayer::new(store(MemoryBackend::new()))));
    browser.get("/set/name/Ada").await;
    let page = browser.get("/change-and-refuse").await;
    assert_eq!((page.status, page.set_cookie()), (StatusCode::BAD_REQUEST, None));
    assert_eq!(browser.get("/get/late").await.body, "nothing");
}

/// A service that must be ready when it is called. A clone is not ready.
#[derive(Default)]
struct ReadyOnce(bool);

impl Clone for ReadyOnce {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl tower::Service<Request> for ReadyOnce {
    type Response = Response;
    type Error = Infallible;
    type Future = Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request) -> Self::Future {
        assert!(self.0, "the service was called before it was ready");
        self.0 = false;
        ready(Ok(StatusCode::OK.into_response()))
    }
}

#[tokio::test]
async fn the_service_that_is_ready_is_the_one_that_is_called() {
    let layer = SessionLayer::new(store(MemoryBackend::new()));
    let mut service = layer.layer(ReadyOnce::default());
    for _ in 0..2 {
        let response = service.ready().await.unwrap().call(Request::default()).await;
        assert_eq!(response.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_answer_to_each_error_can_be_set() {
    let respond = |error: &SessionError| match error {
        SessionError::Gone => Redirect::to("/login").into_response(),
        _ => (StatusCode::IM_A_TEAPOT, "short and stout").into_response(),
    };
    let mut browser = Browser::new(app_that_loses_sessions(|layer| layer.on_error(respond)));
    browser.get("/set/name/Ada").await;
    assert_eq!(browser.get("/lost").await.headers["location"], "/login");

    // An error that a handler returns gets the same response as an error of the layer itself.
    let backend = watched();
    let app = routes().layer(SessionLayer::new(store(backend.clone())).on_error(respond));
    let mut browser = Browser::new(app);
    browser.get("/set/name/Ada").await;
    take_down_after(&backend, 0);
    for path in ["/get/name", "/careless", "/set/a/b"] {
        let page = browser.get(path).await;
        assert_eq!(
            (page.status, page.body.as_str()),
            (StatusCode::IM_A_TEAPOT, "short and stout"),
            "{path}"
        );
    }
}
