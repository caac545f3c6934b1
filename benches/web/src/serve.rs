//! The same two pages in each library. Both count the visitor's visits in the session and return
//! the number. `/` stores nothing else. `/shop` is the page of a user who is logged in and has a
//! cart.

mod actix;
mod axum_session;
mod codex;
mod tower;

pub use self::{actix::actix, actix::codex_actix, axum_session::axum_session, codex::codex, tower::tower};

use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use tokio::net::TcpListener;

/// The maximum age of sessions and cookies, which is the default of codex-kv and Django.
const TWO_WEEKS: u64 = 1_209_600;

/// The texts that `/shop` stores beside the counter and the user, about 280 bytes of JSON in total.
const TEXTS: [(&str, &str); 4] = [
    ("_auth_user_backend", "django.contrib.auth.backends.ModelBackend"),
    (
        "_auth_user_hash",
        "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00",
    ),
    ("lang", "en"),
    ("seen", "2026-01-01T00:00:00"),
];
const USER: &str = "_auth_user_id";

/// Returns the user of the next login: each browser has its own.
fn next_user() -> String {
    static LOGINS: AtomicU64 = AtomicU64::new(1);
    LOGINS.fetch_add(1, Ordering::Relaxed).to_string()
}

fn cart() -> Vec<u32> {
    (0..12).map(|number| 1000 + number * 77).collect()
}

async fn serve(app: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address").port());
    axum::serve(listener, app).await.expect("it serves");
}
