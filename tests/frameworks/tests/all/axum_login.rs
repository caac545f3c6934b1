//! Tests with the real axum-login on the real `SessionManagerLayer`.

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request},
    http::{StatusCode, header},
    routing::get,
};
use axum_login::{AuthManagerLayerBuilder, AuthSession, AuthUser, AuthnBackend, UserId, login_required};
use codex_kv::{AnyBackend, tower_sessions::TowerSessionStore};
use codex_testkit::redis::Database;
use tower::ServiceExt as _;
use tower_sessions_0_14::SessionManagerLayer;

use crate::{memory, redis, sent_back};

#[derive(Debug, Clone)]
struct User(String);

impl AuthUser for User {
    type Id = String;

    fn id(&self) -> String {
        self.0.clone()
    }

    fn session_auth_hash(&self) -> &[u8] {
        b"the hash of a password"
    }
}

#[derive(Debug, Clone)]
struct Users;

impl AuthnBackend for Users {
    type User = User;
    type Credentials = String;
    type Error = Infallible;

    async fn authenticate(&self, name: String) -> Result<Option<User>, Infallible> {
        Ok((name == "ada").then_some(User(name)))
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<User>, Infallible> {
        Ok(Some(User(id.clone())))
    }
}

async fn log_in(mut auth: AuthSession<Users>, Path(name): Path<String>) -> StatusCode {
    match auth.authenticate(name).await.unwrap() {
        Some(user) => match auth.login(&user).await {
            Ok(()) => StatusCode::OK,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        },
        None => StatusCode::UNAUTHORIZED,
    }
}

async fn whoami(auth: AuthSession<Users>) -> String {
    auth.user.map_or_else(|| "nobody".to_owned(), |user| user.0)
}

async fn log_out(mut auth: AuthSession<Users>) -> StatusCode {
    match auth.logout().await {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn app(backend: AnyBackend) -> Router {
    let sessions = SessionManagerLayer::new(TowerSessionStore::new(backend).project("shop"));
    Router::new()
        .route("/secret", get(|| async { "secret" }))
        .route_layer(login_required!(Users))
        .route("/whoami", get(whoami))
        .route("/login/{name}", get(log_in))
        .route("/logout", get(log_out))
        .layer(AuthManagerLayerBuilder::new(Users, sessions).build())
}

struct Browser {
    app: Router,
    cookie: Option<String>,
}

impl Browser {
    async fn get(&mut self, path: &str) -> (u16, String) {
        let mut request = Request::get(path);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let response = self
            .app
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        if let Some(set_cookie) = response.headers().get(header::SET_COOKIE) {
            self.cookie = sent_back(set_cookie.to_str().unwrap());
        }
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

async fn logs_in_reads_and_logs_out(backend: AnyBackend) {
    let app = app(backend);
    let mut browser = Browser {
        app: app.clone(),
        cookie: None,
    };
    assert_eq!(browser.get("/whoami").await.1, "nobody");
    assert_eq!(browser.get("/secret").await.0, 401);
    assert_eq!(browser.get("/login/eve").await.0, 401);
    assert_eq!(browser.get("/whoami").await.1, "nobody");

    assert_eq!(browser.get("/login/ada").await.0, 200);
    assert_eq!(browser.get("/whoami").await.1, "ada");
    assert_eq!(browser.get("/secret").await, (200, "secret".to_owned()));
    let mut stolen = Browser {
        app,
        cookie: browser.cookie.clone(),
    };
    assert_eq!(stolen.get("/whoami").await.1, "ada");

    // A second login has a different id, and the id of the first login is no longer valid.
    assert_eq!(browser.get("/logout").await.0, 200);
    assert_eq!(browser.get("/whoami").await.1, "nobody");
    assert_eq!(stolen.get("/whoami").await.1, "nobody");
    assert_eq!(browser.get("/login/ada").await.0, 200);
    assert_ne!(browser.cookie, stolen.cookie);
    assert_eq!(stolen.get("/whoami").await.1, "nobody");
    assert_eq!(browser.get("/whoami").await.1, "ada");
}

#[tokio::test]
async fn axum_login_logs_in_reads_and_logs_out_on_memory() {
    logs_in_reads_and_logs_out(memory()).await;
}

#[tokio::test]
async fn axum_login_logs_in_reads_and_logs_out_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    logs_in_reads_and_logs_out(redis(&database).await).await;
}
