//! Tests with two browsers that poll every 50 ms during logins and logouts: no login is lost to a
//! late response.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::future_not_send,
    clippy::print_stdout,
    reason = "a test fails by panicking, its helpers too; actix-web runs a request on the thread that accepted it; a long run prints its counts"
)]

#[allow(dead_code, reason = "tests/shop uses the rest")]
#[path = "../../../shop/chromium.rs"]
mod chromium;
#[allow(dead_code, reason = "the shop of tests/shop is not run here")]
#[path = "../../../shop/process.rs"]
mod process;
#[allow(dead_code, reason = "tests/shop uses the rest")]
#[path = "../../../shop/visitor.rs"]
mod visitor;

use std::{sync::mpsc, thread};

use codex_kv::{
    AnyBackend, DjangoSigned, Login, SessionError, SessionStore,
    web::{Session, SessionLayer, actix::SessionMiddleware},
};
use codex_testkit::redis::Database;

use crate::chromium::Chromium;

/// The number of rounds per browser. The full run, 100 rounds in each of two browsers, is
/// `CODEX_ROUNDS=100`.
const ROUNDS: u32 = 20;

/// A script for a page of the service. It polls every 50 ms, and once just before each login, so
/// that a request with the old key is in progress. It returns the numbers of lost logins, of lost
/// logouts and of polls.
const SCRIPT: &str = r"
    const done = arguments[arguments.length - 1];
    const read = async path => (await fetch(path)).text();
    const post = path => fetch(path, {method: 'POST'});
    (async () => {
        let lostLogins = 0, lostLogouts = 0, polls = 0, underWay = [];
        const poll = () => { polls++; underWay.push(read('/whoami')); };
        const timer = setInterval(poll, 50);
        for (let round = 0; round < ROUNDS; round++) {
            await read('/visit');
            poll();
            const login = post('/login');
            poll();
            await login;
            poll();
            await Promise.all(underWay.splice(0));
            if (await read('/whoami') !== 'ada') lostLogins++;
            poll();
            await post('/logout');
            await Promise.all(underWay.splice(0));
            if (await read('/whoami') !== 'nobody') lostLogouts++;
        }
        clearInterval(timer);
        return [lostLogins, lostLogouts, polls];
    })().then(done, error => done(String(error)));
";

type Answer = Result<String, SessionError>;

async fn page() -> &'static str {
    "a page"
}

async fn visit(session: Session) -> Answer {
    let visits = session
        .update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)
        .await?;
    Ok(visits.to_string())
}

async fn whoami(session: Session) -> Answer {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".to_owned()))
}

async fn log_in(session: Session) -> Answer {
    session.login(&Login::new("ada")).await?;
    Ok("in".to_owned())
}

async fn log_out(session: Session) -> Answer {
    session.logout().await?;
    Ok("out".to_owned())
}

async fn store(database: &Database) -> SessionStore<AnyBackend> {
    let backend = codex_kv::connect(&database.patient_url()).await.unwrap();
    let builder = SessionStore::builder(backend).codec(DjangoSigned::new("a secret of the tests"));
    builder.build().unwrap()
}

async fn no_login_is_lost(url: String, name: &'static str) {
    let chromium = codex_testkit::require!("browser", Chromium::start());
    let rounds = std::env::var("CODEX_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let script = SCRIPT.replace("ROUNDS", &rounds.to_string());
    let browsers = [
        chromium.visitor_of(&url, name).await,
        chromium.visitor_of(&url, name).await,
    ];
    chromium::closing(browsers.clone(), async move {
        for browser in &browsers {
            browser.open("/").await;
        }
        let (one, two) = tokio::join!(browsers[0].script_async(&script), browsers[1].script_async(&script));
        for counts in [one, two] {
            println!("{name}: {rounds} logins; lost logins, lost logouts, polls: {counts}");
            assert_eq!((&counts[0], &counts[1]), (&0.into(), &0.into()), "{name}: {counts}");
            assert!(counts[2].as_u64() >= Some(u64::from(rounds)), "{counts}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scook_01_two_browsers_that_poll_lose_no_login_in_axum() {
    use axum::routing::{get, post};
    let database = codex_testkit::require!("redis", Database::lease());
    let app = axum::Router::new()
        .route("/", get(page))
        .route("/visit", get(visit))
        .route("/whoami", get(whoami))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .layer(SessionLayer::new(store(&database).await));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    no_login_is_lost(url, "axum").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scook_01_two_browsers_that_poll_lose_no_login_in_actix() {
    use actix_web::web::{get, post};
    let database = codex_testkit::require!("redis", Database::lease());
    let sessions = SessionMiddleware::new(store(&database).await);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let app = move || {
                actix_web::App::new()
                    .wrap(sessions.clone())
                    .route("/", get().to(page))
                    .route("/visit", get().to(visit))
                    .route("/whoami", get().to(whoami))
                    .route("/login", post().to(log_in))
                    .route("/logout", post().to(log_out))
            };
            let server = actix_web::HttpServer::new(app).workers(2).disable_signals();
            let server = server.bind(("127.0.0.1", 0)).unwrap();
            tell.send(server.addrs()[0].port()).unwrap();
            server.run().await.unwrap();
        });
    });
    let url = format!("http://localhost:{}", told.recv().unwrap());
    no_login_is_lost(url, "actix").await;
}
