//! A small shop: logins, a visit counter, a cart, a cached slow page, and the list of the user's
//! sessions.
//!
//! `cargo run -p shop` keeps everything in memory. With `REDIS_URL=redis://127.0.0.1:6379` it uses
//! Redis, under keys that begin with `web-example`. The page is at <http://127.0.0.1:3000>; `PORT`
//! sets another port, and 0 selects a free port.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

mod failure;
mod page;
mod safety;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Form, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use codex_kv::{
    AnyBackend, Cache, DjangoSigned, Login, SessionError, SessionStore,
    web::{Session, SessionCookie, SessionLayer},
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower_http::csrf::CsrfLayer;

use crate::failure::Failure;

/// Users and passwords. A real service keeps password hashes in a database.
const USERS: [(&str, &str); 2] = [("ada", "lovelace"), ("grace", "hopper")];

/// The time that the slow page takes to compute, and the time that it is cached.
const SLOW: Duration = Duration::from_secs(2);
const KEPT: Duration = Duration::from_secs(20);

#[derive(Clone)]
struct Shop {
    store: SessionStore<AnyBackend>,
    cache: Cache<AnyBackend>,
    slow: Duration,
}

fn app(shop: Shop, cookie: SessionCookie) -> Result<Router, SessionError> {
    let sessions = SessionLayer::new(shop.store.clone())
        .cookie(cookie)?
        .on_error(failure::page_of);
    let router = Router::new()
        .route("/", get(home))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/logout-everywhere", post(log_out_everywhere))
        .route("/cart/add", post(add_to_cart))
        .route("/cart/clear", post(clear_cart))
        .route("/slow", get(slow))
        .route("/sessions", get(sessions_of_mine))
        .route("/sessions/end", post(end_session))
        .route("/whoami", get(whoami))
        .layer(sessions)
        .layer(CsrfLayer::new().with_rejection_response(safety::from_another_site))
        .layer(middleware::map_response(safety::headers))
        .with_state(Arc::new(shop));
    Ok(router)
}

async fn home(session: Session) -> Result<Html<String>, SessionError> {
    // Runs again if another request of this browser saved first, so that each visit counts.
    let visits = session
        .update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)
        .await?;
    let user = session.user().await?;
    let cart: Vec<String> = session.get("cart").await?.unwrap_or_default();
    Ok(Html(page::home(user.as_deref(), visits, &cart)))
}

/// Returns the user's name, for a page that polls: it reads the session and changes nothing.
async fn whoami(session: Session) -> Result<String, SessionError> {
    Ok(session.user().await?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

async fn log_in(session: Session, headers: HeaderMap, Form(form): Form<Credentials>) -> Result<Response, SessionError> {
    if !USERS.contains(&(form.user.as_str(), form.password.as_str())) {
        let text = Html(page::message("No such user, or wrong password."));
        return Ok((StatusCode::FORBIDDEN, text).into_response());
    }
    let browser = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let label: String = browser.unwrap_or("unknown").chars().take(120).collect();
    session.login(&Login::new(&form.user).label(label)).await?;
    Ok(Redirect::to("/").into_response())
}

async fn log_out(session: Session) -> Result<Redirect, SessionError> {
    session.logout().await?;
    Ok(Redirect::to("/"))
}

async fn log_out_everywhere(State(shop): State<Arc<Shop>>, session: Session) -> Result<Redirect, SessionError> {
    if let Some(user) = session.user().await? {
        shop.store.revoke_all(&user).await?;
        session.logout().await?;
    }
    Ok(Redirect::to("/"))
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

async fn add_to_cart(session: Session, Form(form): Form<Item>) -> Result<Redirect, SessionError> {
    let item: String = form.item.chars().take(60).collect();
    let add = move |cart: Option<Vec<String>>| {
        let mut cart = cart.unwrap_or_default();
        // A session has a maximum size.
        if cart.len() < 50 {
            cart.push(item.clone());
        }
        cart
    };
    session.update("cart", add).await?;
    Ok(Redirect::to("/"))
}

async fn clear_cart(session: Session) -> Result<Redirect, SessionError> {
    session.remove("cart").await?;
    Ok(Redirect::to("/"))
}

/// Serves a page that is computed once for all visitors that request it at the same time.
async fn slow(State(shop): State<Arc<Shop>>) -> Result<Html<String>, Failure> {
    let compute = || async {
        tokio::time::sleep(shop.slow).await;
        Ok::<_, Infallible>(now_millis())
    };
    let computed: u64 = shop.cache.get_or_try_set_with("slow", KEPT, compute).await?;
    let age = now_millis().saturating_sub(computed);
    Ok(Html(page::slow(age, shop.slow, KEPT)))
}

async fn sessions_of_mine(State(shop): State<Arc<Shop>>, session: Session) -> Result<Response, SessionError> {
    let Some(user) = session.user().await? else {
        return Ok(Redirect::to("/").into_response());
    };
    let here = session.with(|session| session.login_id()).await?;
    let all = shop.store.sessions(&user).await?;
    Ok(Html(page::sessions(&user, &all, here.as_deref())).into_response())
}

#[derive(Deserialize)]
struct Device {
    id: String,
}

/// Ends a session of the user. The id is looked up in the user's own list.
async fn end_session(
    State(shop): State<Arc<Shop>>,
    session: Session,
    Form(device): Form<Device>,
) -> Result<Redirect, SessionError> {
    if let Some(user) = session.user().await? {
        shop.store.end(&user, &device.id).await?;
    }
    Ok(Redirect::to("/sessions"))
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Shop {
    fn new(backend: &AnyBackend, secret: &str, slow: Duration) -> Result<Self, Box<dyn std::error::Error>> {
        let cache = Cache::builder(backend.clone())
            .key_prefix("web-example:cache")
            .build()?;
        Ok(Self {
            store: SessionStore::builder(backend.clone())
                .project("web-example")
                .codec(DjangoSigned::new(secret))
                .build()?,
            cache,
            slow,
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "memory://".to_owned());
    // In production, set SECRET_KEY; a service next to Django uses Django's.
    let secret = std::env::var("SECRET_KEY").unwrap_or_else(|_| {
        eprintln!("SECRET_KEY is not set: sessions are signed with a publicly known secret");
        "a secret for trying things out".to_owned()
    });
    let shop = Shop::new(&codex_kv::connect(&url).await?, &secret, SLOW)?;
    // Plain HTTP suffices on the loopback interface.
    let app = app(shop, SessionCookie::new().over_plain_http())?;
    let port = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
