//! Tests with a real Django and a real axum service on one Redis, with one cookie.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use codex_kv::{
    DjangoSigned, Login, SessionError, SessionStore,
    redis::RedisBackend,
    web::{Session, SessionLayer},
};
use codex_testkit::redis::Database;
use serde_json::value::RawValue;
use tokio::net::TcpListener;

use crate::{
    client::{Service, Visitor},
    django::{Django, SECRET, User},
};

pub(crate) type Store = SessionStore<RedisBackend>;
type Answer = Result<String, SessionError>;

struct Shop {
    store: Store,
    users: HashMap<String, User>,
}

async fn whoami(State(shop): State<Arc<Shop>>, session: Session) -> Answer {
    let id = session.user().await?;
    let user = shop.users.iter().find(|(_, user)| Some(&user.pk) == id.as_ref());
    Ok(user.map_or("anonymous", |(name, _)| name).to_owned())
}

async fn log_in(State(shop): State<Arc<Shop>>, session: Session, Path(name): Path<String>) -> Answer {
    let user = &shop.users[&name];
    session.login(&Login::django(&user.pk, &user.password, SECRET)).await?;
    Ok("in".to_owned())
}

async fn log_out(session: Session) -> Answer {
    session.logout().await?;
    Ok("out".to_owned())
}

async fn read(session: Session, Path(name): Path<String>) -> Answer {
    let value = session.get::<Box<RawValue>>(&name).await?;
    Ok(value.map_or("null".to_owned(), |value| value.get().to_owned()))
}

async fn write(session: Session, Path(name): Path<String>, json: String) -> Result<&'static str, StatusCode> {
    let value: Box<RawValue> = serde_json::from_str(&json).map_err(|_| StatusCode::BAD_REQUEST)?;
    session
        .insert(&name, value)
        .await
        .map_err(|_| StatusCode::IM_A_TEAPOT)?;
    Ok("written")
}

async fn remove(session: Session, Path(name): Path<String>) -> Answer {
    session.remove(&name).await?;
    Ok("removed".to_owned())
}

async fn cycle(session: Session) -> Answer {
    session.cycle_key().await?;
    Ok("cycled".to_owned())
}

async fn expire(session: Session, Path(seconds): Path<u64>) -> Answer {
    session.set_expiry(std::time::Duration::from_secs(seconds)).await?;
    Ok("set".to_owned())
}

async fn expire_in(session: Session, Path(seconds): Path<i64>) -> Answer {
    session.set_expiry(crate::django_settings::in_seconds(seconds)).await?;
    Ok("set".to_owned())
}

/// Responds like the Django project, with Python's `True` and `False`.
async fn age(session: Session) -> Answer {
    session
        .with(|session| {
            let closes = if session.expires_at_browser_close() {
                "True"
            } else {
                "False"
            };
            format!("{} {closes}", session.expiry_age().as_secs())
        })
        .await
}

async fn revoke(State(shop): State<Arc<Shop>>, session: Session) -> Answer {
    if let Some(user) = session.user().await? {
        shop.store.revoke_all(&user).await?;
    }
    Ok("revoked".to_owned())
}

/// Starts a service with the same pages as `examples/django/service.py`.
pub(crate) async fn start_axum(store: Store, users: HashMap<String, User>) -> Service {
    let app = Router::new()
        .route("/whoami", post(whoami))
        .route("/login/{name}", post(log_in))
        .route("/logout", post(log_out))
        .route("/read/{name}", post(read))
        .route("/write/{name}", post(write))
        .route("/remove/{name}", post(remove))
        .route("/cycle", post(cycle))
        .route("/expire/{seconds}", post(expire))
        .route("/expire-in/{seconds}", post(expire_in))
        .route("/age", post(age))
        .route("/revoke", post(revoke))
        .layer(SessionLayer::new(store.clone()))
        .with_state(Arc::new(Shop { store, users }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Service { port }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sint_01_django_and_axum_share_sessions_and_logins_on_one_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    let python = codex_testkit::require!("django", Django::python("5.2"));
    let django = Django::start("5.2", &python, &database.url());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let store = SessionStore::builder(backend)
        .project("shop")
        .codec(DjangoSigned::new(SECRET))
        .build()
        .unwrap();
    let rust = start_axum(store, django.users()).await;
    let both = Both {
        python: django.service(),
        rust,
    };
    // The visitors block, and the service must keep running.
    let visited = tokio::task::spawn_blocking(move || {
        both.values_cross_unchanged();
        both.a_cycled_key_holds_on_both_sides();
        both.a_login_is_a_login_on_both_sides();
        both.an_expiry_is_the_same_on_both_sides();
        both.revoke_all_ends_every_session_on_both_sides();
        database
    });
    let database = visited.await.unwrap();
    let left = database.command(&["KEYS", "*"]).unwrap();
    let left = format!("{left:?}");
    assert!(
        left.contains("shop:session:") && left.contains("shop:session-generation:1"),
        "{left}"
    );
}

#[derive(Clone, Copy)]
struct Both {
    python: Service,
    rust: Service,
}

impl Both {
    fn each(self) -> [(Service, Service); 2] {
        [(self.python, self.rust), (self.rust, self.python)]
    }

    /// Returns the user, and asserts that both sides agree on it.
    fn whoami(self, visitor: &Visitor) -> String {
        let of_python = visitor.clone().ask(self.python, "/whoami");
        assert_eq!(visitor.clone().ask(self.rust, "/whoami"), of_python);
        of_python
    }

    fn login(self, visitor: &mut Visitor, service: Service, name: &str) {
        let path = if service.port == self.python.port {
            format!("/login/{name}/{name}-password")
        } else {
            format!("/login/{name}")
        };
        assert_eq!(visitor.ask(service, &path), "in");
        assert_eq!(self.whoami(visitor), name);
    }

    fn values_cross_unchanged(self) {
        // The values are spelt as Python's `json.dumps` does, so that the texts can be compared.
        let long = format!("\"{}\"", "a".repeat(5_000));
        let values = [
            "42",
            "1180591620717411303424",
            "-0.1",
            "1e+16",
            "true",
            "null",
            r#""\u00e9\ud83d\ude00""#,
            r#"[1, {"a": "b"}]"#,
            &long,
        ];
        for (here, there) in self.each() {
            let mut visitor = Visitor::default();
            for (number, value) in values.iter().enumerate() {
                visitor.write(here, &format!("v{number}"), value);
                // A change on the other side keeps this side's data.
                visitor.write(there, "other", &number.to_string());
                for service in [here, there] {
                    let read = visitor.ask(service, &format!("/read/v{number}"));
                    let plain = |json: &str| json.replace(' ', "");
                    assert_eq!(plain(&read), plain(value), "value {number}");
                    assert_eq!(visitor.ask(service, "/read/other"), number.to_string());
                }
            }
            assert_eq!(visitor.ask(there, "/remove/v0"), "removed");
            assert_eq!(visitor.ask(here, "/read/v0"), "null");
        }
    }

    fn a_cycled_key_holds_on_both_sides(self) {
        for (here, there) in self.each() {
            let mut visitor = Visitor::default();
            visitor.write(here, "cart", "[1]");
            let old = visitor.clone();
            assert_eq!(visitor.ask(there, "/cycle"), "cycled");
            assert_ne!(visitor.key(), old.key());
            for service in [here, there] {
                assert_eq!(visitor.ask(service, "/read/cart").replace(' ', ""), "[1]");
                assert_eq!(
                    old.clone().ask(service, "/read/cart"),
                    "null",
                    "the old key is worth nothing"
                );
            }
        }
    }

    fn a_login_is_a_login_on_both_sides(self) {
        for (here, there) in self.each() {
            let mut ada = Visitor::default();
            assert_eq!(self.whoami(&ada), "anonymous");
            ada.write(there, "cart", "[1]");
            let anonymous = ada.clone();
            self.login(&mut ada, here, "ada");
            assert_ne!(ada.key(), anonymous.key(), "a login gives a new key");
            assert_eq!(self.whoami(&anonymous), "anonymous");
            assert_eq!(
                ada.ask(there, "/read/cart").replace(' ', ""),
                "[1]",
                "the cart survives the login"
            );

            // Another user in the same browser finds no data of the first user.
            let before = ada.clone();
            self.login(&mut ada, there, "bob");
            assert_eq!(ada.ask(here, "/read/cart"), "null");
            assert_eq!(self.whoami(&before), "anonymous");

            // A logout on either side is valid on both sides, and removes the cookie.
            let logged_in = ada.clone();
            assert_eq!(ada.ask(there, "/logout"), "out");
            assert_eq!(ada.cookie, None);
            assert_eq!(self.whoami(&logged_in), "anonymous");
        }
    }

    fn an_expiry_is_the_same_on_both_sides(self) {
        for (here, there) in self.each() {
            let mut visitor = Visitor::default();
            assert_eq!(visitor.ask(here, "/expire/300"), "set");
            assert_eq!(visitor.ask(there, "/age"), "300 False");
            let reply = visitor.reply(there, "/write/a", "1");
            assert!(reply.set_cookie.unwrap().contains("Max-Age=300"));
            assert_eq!(visitor.ask(there, "/expire/0"), "set");
            assert_eq!(visitor.ask(here, "/age"), "1209600 True");
            assert!(
                !visitor
                    .reply(here, "/write/a", "2")
                    .set_cookie
                    .unwrap()
                    .contains("Max-Age")
            );
        }
    }

    fn revoke_all_ends_every_session_on_both_sides(self) {
        for (here, there) in self.each() {
            let mut visitors: Vec<Visitor> = Vec::new();
            for service in [here, there, here] {
                let mut ada = Visitor::default();
                self.login(&mut ada, service, "ada");
                visitors.push(ada);
            }
            let mut bob = Visitor::default();
            self.login(&mut bob, here, "bob");

            assert_eq!(visitors[0].ask(here, "/revoke"), "revoked");
            for ada in &visitors {
                assert_eq!(self.whoami(ada), "anonymous");
            }
            assert_eq!(self.whoami(&bob), "bob", "others are not touched");
            for service in [here, there] {
                self.login(&mut Visitor::default(), service, "ada");
            }
        }
    }
}
