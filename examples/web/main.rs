//! A small shop: logins, a counter, a cart, a slow page that is cached, and one's sessions.
//!
//! `cargo run --example web --features axum` keeps everything in memory; `REDIS_URL=redis://127.0.0.1:6379` keeps it there. The page is at
//! <http://127.0.0.1:3000> (`PORT` sets another).
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod page;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Form, Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use codex_kv::{
    AnyBackend, Cache, CacheError, ComputeError, DjangoSigned, Error, ErrorKind, Login, SessionError, SessionStore,
    web::{Session, SessionCookie, SessionLayer},
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// Who can log in. A service of yours would look into its database, and keep no password in the clear.
const USERS: [(&str, &str); 2] = [("ada", "lovelace"), ("grace", "hopper")];

/// How long the slow page is kept.
const KEPT: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Shop {
    store: SessionStore<AnyBackend>,
    cache: Cache<AnyBackend>,
    /// How long the slow page takes.
    slow: Duration,
}

/// A login, as the page of one's sessions shows it. It names no session key: whoever reads this page is not to become the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Visit {
    id: u128,
    browser: String,
}

fn now_micros() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros())
}

fn app(shop: Shop, cookie: SessionCookie) -> Router {
    let sessions = SessionLayer::new(shop.store.clone()).cookie(cookie).on_error(|error| {
        let (status, text) = match error {
            SessionError::Gone => (StatusCode::BAD_REQUEST, "You were logged out meanwhile."),
            SessionError::Backend(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "The store is out of service. Your login is safe; try again shortly.",
            ),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong."),
        };
        (status, Html(page::message(text))).into_response()
    });
    Router::new()
        .route("/", get(home))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/logout-everywhere", post(log_out_everywhere))
        .route("/cart/add", post(add_to_cart))
        .route("/cart/clear", post(clear_cart))
        .route("/slow", get(slow))
        .route("/sessions", get(visits))
        .layer(sessions)
        .layer(middleware::from_fn(same_origin))
        .with_state(Arc::new(shop))
}

/// Against CSRF, beside the cookie's `SameSite=Lax`: what another site's page makes the browser send changes nothing. Browsers say where a
/// request comes from; what says nothing is no browser, and has no cookie of a victim.
async fn same_origin(request: Request, next: Next) -> Response {
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    if changes && is_foreign(request.headers()) {
        return (
            StatusCode::FORBIDDEN,
            Html(page::message("That came from another site.")),
        )
            .into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) != text("host"),
        (None, None) => false,
    }
}

async fn home(session: Session) -> Result<Html<String>, SessionError> {
    let visits = session.get::<u64>("visits").await?.unwrap_or(0) + 1;
    session.insert("visits", visits).await?;
    let user = session.user().await?;
    let cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    Ok(Html(page::home(user.as_deref(), visits, &cart)))
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

async fn log_in(
    State(shop): State<Arc<Shop>>,
    session: Session,
    headers: HeaderMap,
    Form(form): Form<Credentials>,
) -> Result<Response, Failure> {
    if !USERS.contains(&(form.user.as_str(), form.password.as_str())) {
        let text = Html(page::message("No such user, or another password."));
        return Ok((StatusCode::FORBIDDEN, text).into_response());
    }
    session.login(&Login::new(&form.user)).await?;
    let browser = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let visit = Visit {
        id: now_micros(),
        browser: browser.unwrap_or("unknown").chars().take(120).collect(),
    };
    session.insert("visit", visit.id.to_string()).await?;
    let mut all = shop.visits(&form.user).await?;
    all.push(visit);
    shop.keep_visits(&form.user, &all).await?;
    Ok(Redirect::to("/").into_response())
}

async fn log_out(State(shop): State<Arc<Shop>>, session: Session) -> Result<Redirect, Failure> {
    if let (Some(user), Some(visit)) = (session.user().await?, session.get::<String>("visit").await?) {
        let mut all = shop.visits(&user).await?;
        all.retain(|other| other.id.to_string() != visit);
        shop.keep_visits(&user, &all).await?;
    }
    session.logout().await?;
    Ok(Redirect::to("/"))
}

async fn log_out_everywhere(State(shop): State<Arc<Shop>>, session: Session) -> Result<Redirect, Failure> {
    if let Some(user) = session.user().await? {
        shop.store.revoke_all(&user).await?;
        shop.keep_visits(&user, &[]).await?;
        session.logout().await?;
    }
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

async fn add_to_cart(session: Session, Form(form): Form<Item>) -> Result<Redirect, SessionError> {
    session
        .with(|session| {
            let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
            cart.push(form.item.chars().take(60).collect());
            session.insert("cart", cart)
        })
        .await??;
    Ok(Redirect::to("/"))
}

async fn clear_cart(session: Session) -> Result<Redirect, SessionError> {
    session.remove("cart").await?;
    Ok(Redirect::to("/"))
}

/// What takes long is computed once, however many ask meanwhile.
async fn slow(State(shop): State<Arc<Shop>>) -> Result<Html<String>, Failure> {
    let compute = || async {
        tokio::time::sleep(shop.slow).await;
        Ok::<_, Infallible>(now_micros().to_string())
    };
    let computed: String = shop.cache.get_or_try_set_with("slow", KEPT, compute).await?;
    let age = now_micros().saturating_sub(computed.parse().unwrap_or(0)) / 1_000;
    Ok(Html(page::slow(age, shop.slow.as_millis(), KEPT.as_secs())))
}

async fn visits(State(shop): State<Arc<Shop>>, session: Session) -> Result<Response, Failure> {
    let Some(user) = session.user().await? else {
        return Ok(Redirect::to("/").into_response());
    };
    let this = session.get::<String>("visit").await?;
    let all = shop.visits(&user).await?;
    let shown: Vec<(String, bool)> = all
        .into_iter()
        .map(|visit| (visit.browser, this == Some(visit.id.to_string())))
        .collect();
    Ok(Html(page::sessions(&user, &shown)).into_response())
}

impl Shop {
    fn new(backend: &AnyBackend, slow: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        // In production the secret comes from outside; with Django beside it, it is Django's SECRET_KEY.
        let secret = std::env::var("SECRET_KEY").unwrap_or_else(|_| "a secret for trying things out".to_owned());
        Ok(Self {
            store: SessionStore::builder(backend.clone())
                .project("web-example")
                .codec(DjangoSigned::new(secret))
                .build()?,
            cache: Cache::builder(backend.clone())
                .key_prefix("web-example:cache")
                .build()?,
            slow,
        })
    }

    async fn visits(&self, user: &str) -> Result<Vec<Visit>, CacheError> {
        Ok(self.cache.get(&format!("visits:{user}")).await?.unwrap_or_default())
    }

    async fn keep_visits(&self, user: &str, visits: &[Visit]) -> Result<(), CacheError> {
        // As long as a session lives, and the latest twenty.
        let latest = &visits[visits.len().saturating_sub(20)..];
        let two_weeks = Duration::from_secs(1_209_600);
        self.cache.set(&format!("visits:{user}"), latest, two_weeks).await
    }
}

/// Session or cache: the store is out of service, or something is wrong in here.
struct Failure(SessionError);

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self(error)
    }
}

impl From<&CacheError> for Failure {
    fn from(error: &CacheError) -> Self {
        let kind = match error {
            CacheError::Backend(error) => error.kind(),
            _ => ErrorKind::Data,
        };
        Self(SessionError::Backend(Error::new(kind, "cache", "the cache failed")))
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::from(&error)
    }
}

impl From<ComputeError<Infallible>> for Failure {
    fn from(error: ComputeError<Infallible>) -> Self {
        match error {
            ComputeError::Cache(error) => Self::from(&*error),
            // The computation itself cannot fail.
            _ => Self::from(&CacheError::NotFound),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "memory://".to_owned());
    let shop = Shop::new(&codex_kv::connect(&url).await?, Duration::from_secs(2))?;
    // Plain HTTP, because this runs on the machine that it is looked at from.
    let app = app(shop, SessionCookie::new().over_plain_http());
    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
