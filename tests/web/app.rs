//! The service under test, and a browser that keeps its cookie.

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use codex_kv::{
    DjangoSigned, KvBackend, SessionError, SessionExpiry, SessionKey, SessionStore,
    web::{Session, SessionLayer},
};
use tower::ServiceExt as _;

pub(crate) fn store<B: KvBackend>(backend: B) -> SessionStore<B> {
    SessionStore::builder(backend)
        .project("shop")
        .codec(DjangoSigned::new("a secret of the tests"))
        .build()
        .unwrap()
}

/// Returns the stored key of a session of [`store`].
pub(crate) fn record(key: &SessionKey) -> String {
    format!("shop:session:{}", key.as_str())
}

type Answer = Result<String, SessionError>;

async fn set(session: Session, Path((name, value)): Path<(String, String)>) -> Answer {
    session.insert(&name, value).await?;
    Ok("set".to_owned())
}

async fn count(session: Session, Path(name): Path<String>) -> Answer {
    let count = session
        .update(&name, |count: Option<u64>| count.unwrap_or(0) + 1)
        .await?;
    Ok(count.to_string())
}

async fn read(session: Session, Path(name): Path<String>) -> Answer {
    Ok(session
        .get::<String>(&name)
        .await?
        .unwrap_or_else(|| "nothing".to_owned()))
}

async fn remove(session: Session, Path(name): Path<String>) -> Answer {
    Ok(session.remove(&name).await?.to_string())
}

async fn clear(session: Session) -> Answer {
    session.with(codex_kv::Session::clear).await?;
    Ok("clear".to_owned())
}

async fn flush(session: Session) -> Answer {
    session.flush().await?;
    Ok("flushed".to_owned())
}

async fn cycle(session: Session, Path((name, value)): Path<(String, String)>) -> Answer {
    session.cycle_key().await?;
    session.insert(&name, value).await?;
    Ok("cycled".to_owned())
}

async fn expiry(session: Session, Path(seconds): Path<u64>) -> Answer {
    let expiry = match seconds {
        0 => SessionExpiry::BrowserClose,
        seconds => SessionExpiry::After(std::time::Duration::from_secs(seconds)),
    };
    session.set_expiry(expiry).await?;
    Ok("set".to_owned())
}

async fn fail(session: Session) -> Result<StatusCode, SessionError> {
    session.insert("failed", true).await?;
    session.cycle_key().await?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn flush_and_fail(session: Session) -> Result<StatusCode, SessionError> {
    session.flush().await?;
    Ok(StatusCode::BAD_GATEWAY)
}

/// Treats any failure as a visitor without a session.
async fn careless(session: Session) -> String {
    let name = session.get::<String>("name").await.ok().flatten();
    name.unwrap_or_else(|| "nobody is logged in".to_owned())
}

async fn wrong_type(session: Session) -> Result<String, SessionError> {
    session.insert("text", "no number").await?;
    Ok(session.get::<u64>("text").await?.unwrap_or(0).to_string())
}

/// Returns the routes, without the layer.
pub(crate) fn routes() -> Router {
    Router::new()
        .route("/plain", get(|| async { "plain" }))
        .route("/unused", get(|_: Session| async { "unused" }))
        .route("/set/{name}/{value}", get(set))
        .route("/count/{name}", get(count))
        .route("/get/{name}", get(read))
        .route("/remove/{name}", get(remove))
        .route("/clear", get(clear))
        .route("/flush", get(flush))
        .route("/cycle/{name}/{value}", get(cycle))
        .route("/expiry/{seconds}", get(expiry))
        .route("/fail", get(fail))
        .route("/flush-and-fail", get(flush_and_fail))
        .route("/careless", get(careless))
        .route("/wrong-type", get(wrong_type))
        .route("/missing", get(|| async { StatusCode::NOT_FOUND.into_response() }))
}

pub(crate) fn app<B: KvBackend>(backend: B) -> Router {
    routes().layer(SessionLayer::new(store(backend)))
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn set_cookie(&self) -> Option<&str> {
        let mut all = self.headers.get_all(header::SET_COOKIE).iter();
        let one = all.next().map(|value| value.to_str().unwrap());
        assert!(all.next().is_none(), "one cookie at most");
        one
    }

    pub(crate) fn vary(&self) -> Option<&str> {
        self.headers.get(header::VARY).map(|value| value.to_str().unwrap())
    }
}

/// A browser of one visitor, which keeps the session cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn new(app: Router) -> Self {
        Self { app, cookie: None }
    }

    /// Sends a request and ignores the response's cookie, like a concurrent request.
    pub(crate) async fn peek(&self, path: &str) -> Page {
        let mut request = Request::get(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, format!("sessionid={cookie}"));
        }
        send(&self.app, request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        let page = self.peek(path).await;
        if let Some(cookie) = page.set_cookie() {
            let value = cookie.strip_prefix("sessionid=").unwrap().split(';').next().unwrap();
            self.cookie = (!value.is_empty()).then(|| value.to_owned());
        }
        page
    }

    pub(crate) fn key(&self) -> SessionKey {
        self.cookie.as_deref().unwrap().parse().unwrap()
    }
}

pub(crate) async fn send(app: &Router, request: Request) -> Page {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Page {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
