//! Tests of logins, logouts, and the revocation of all sessions of a user.

use axum::{Router, extract::Path, routing::get};
use codex_kv::{
    AnyBackend, KvBackend, KvBackendExt as _, Login, Session as Stored, SessionError, SessionStore,
    memory::MemoryBackend,
    redis::RedisBackend,
    web::{Session, SessionLayer},
};
use codex_testkit::redis::Database;

use crate::{
    app::{Browser, record, routes, store},
    watched::{take, take_down_after, watched},
};

fn app<B: KvBackend>(store: SessionStore<B>) -> Router {
    let login = |session: Session, Path(user): Path<String>| async move {
        session.login(&Login::new(user)).await?;
        Ok::<_, SessionError>("in")
    };
    let login_and_fail = |session: Session| async move {
        session.login(&Login::new("42")).await.unwrap();
        axum::http::StatusCode::INTERNAL_SERVER_ERROR
    };
    let logout = |session: Session| async move {
        session.logout().await?;
        Ok::<_, SessionError>("out")
    };
    let end_others = |session: Session, Path(then): Path<String>| async move {
        session.end_others().await?;
        match then.as_str() {
            "cycle" => session.cycle_key().await?,
            "logout" => session.logout().await?,
            "fail" => return Ok(axum::http::StatusCode::BAD_GATEWAY),
            other => session.insert("then", other.to_owned()).await?,
        }
        Ok::<_, SessionError>(axum::http::StatusCode::OK)
    };
    let login_alone = |session: Session, Path(user): Path<String>| async move {
        session.login(&Login::new(user)).await?;
        session.end_others().await?;
        Ok::<_, SessionError>("in")
    };
    let whoami = |session: Session| async move {
        let user = session.user().await?;
        Ok::<_, SessionError>(user.unwrap_or_else(|| "nobody".to_owned()))
    };
    routes()
        .route("/login/{user}", get(login))
        .route("/login-and-fail", get(login_and_fail))
        .route("/logout", get(logout))
        .route("/end-others/{then}", get(end_others))
        .route("/login-alone/{user}", get(login_alone))
        .route("/whoami", get(whoami))
        .layer(SessionLayer::new(store))
}

#[tokio::test]
async fn a_login_keeps_the_data_under_a_new_key_and_a_logout_removes_all() {
    let backend = MemoryBackend::new();
    let mut browser = Browser::new(app(store(backend.clone())));
    browser.get("/set/cart/full").await;
    let anonymous = browser.key();
    browser.get("/login/42").await;
    assert_ne!(browser.key(), anonymous);
    assert!(!backend.exists(&record(&anonymous)).await.unwrap());
    assert_eq!(browser.get("/whoami").await.body, "42");
    assert_eq!(browser.get("/get/cart").await.body, "full");

    let key = browser.key();
    browser.get("/logout").await;
    assert_eq!(browser.cookie, None);
    assert!(!backend.exists(&record(&key)).await.unwrap());
    assert_eq!(browser.get("/whoami").await.body, "nobody");
}

#[tokio::test]
async fn another_user_finds_nothing_of_the_first() {
    let mut browser = Browser::new(app(store(MemoryBackend::new())));
    browser.get("/login/42").await;
    browser.get("/set/cart/full").await;
    let first = browser.clone();
    browser.get("/login/42").await;
    assert_eq!(browser.get("/get/cart").await.body, "full", "the same user keeps it");
    browser.get("/login/43").await;
    assert_eq!(browser.get("/get/cart").await.body, "nothing");
    assert_eq!(browser.get("/whoami").await.body, "43");
    assert_eq!(first.peek("/whoami").await.body, "nobody");
}

#[tokio::test]
async fn a_login_that_ends_in_a_500_is_none() {
    let mut browser = Browser::new(app(store(MemoryBackend::new())));
    // It does not end the session of the previous user either.
    browser.get("/login/7").await;
    assert_eq!(browser.get("/login-and-fail").await.status, 500);
    assert_eq!(browser.get("/whoami").await.body, "7");
    browser.get("/logout").await;

    browser.get("/set/cart/full").await;
    let key = browser.key();
    assert_eq!(browser.get("/login-and-fail").await.status, 500);
    assert_eq!(browser.key(), key);
    assert_eq!(browser.get("/whoami").await.body, "nobody");
    assert_eq!(browser.get("/get/cart").await.body, "full");
}

/// A user logs in again within a session that ends before the login completes.
#[tokio::test]
async fn a_second_login_of_the_same_user_is_one_though_the_first_ends_meanwhile() {
    let store = store(MemoryBackend::new());
    let elsewhere = store.clone();
    let handler = move |session: Session| async move {
        session.login(&Login::new("42")).await?;
        let key = session.key().await?.unwrap();
        elsewhere.delete(&key).await?;
        Ok::<_, SessionError>("in")
    };
    let app = Router::new()
        .route("/relogin", get(handler))
        .layer(SessionLayer::new(store.clone()));
    let app = app.merge(self::app(store));
    let mut browser = Browser::new(app);
    browser.get("/login/42").await;
    browser.get("/set/cart/full").await;
    assert_eq!(browser.get("/relogin").await.body, "in");
    assert_eq!(browser.get("/whoami").await.body, "42");
    assert_eq!(
        browser.get("/get/cart").await.body,
        "nothing",
        "that was in what has ended"
    );
}

/// Two concurrent logins from one browser: both result in a session of the user, and the visitor's
/// old key becomes invalid.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_clicked_twice_is_a_login() {
    let database = codex_testkit::require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let app = app(store(backend));
    for _ in 0..20 {
        let mut browser = Browser::new(app.clone());
        browser.get("/set/cart/full").await;
        let (mut one, mut two) = (browser.clone(), browser.clone());
        let pages = tokio::join!(one.get("/login/42"), two.get("/login/42"));
        assert_eq!((pages.0.body.as_str(), pages.1.body.as_str()), ("in", "in"));
        for browser in [one, two] {
            assert_eq!(browser.peek("/whoami").await.body, "42");
        }
        assert_eq!(browser.peek("/whoami").await.body, "nobody");
    }
}

async fn the_other_sessions_end(backend: AnyBackend) {
    let store = store(backend);
    let app = app(store.clone());
    let logged_in = async |user: &str| {
        let mut browser = Browser::new(app.clone());
        browser.get(&format!("/login/{user}")).await;
        browser
    };
    let is_logged_in = async |browser: &Browser| browser.peek("/whoami").await.body != "nobody";
    let theirs = logged_in("43").await;
    let mut this = logged_in("42").await;
    this.get("/set/cart/full").await;
    for (then, changes_key) in [("insert", false), ("cycle", true)] {
        let other = logged_in("42").await;
        let page = this.peek("/end-others/fail").await;
        assert_eq!((page.status.as_u16(), page.set_cookie()), (502, None));
        assert!(is_logged_in(&other).await, "a failed response ends no session");
        let key = this.key();
        assert_eq!(this.get(&format!("/end-others/{then}")).await.status, 200);
        assert_eq!(this.key() != key, changes_key, "{then}");
        assert!(is_logged_in(&this).await && !is_logged_in(&other).await, "{then}");
        assert_eq!(store.sessions("42").await.unwrap().len(), 1);
    }
    assert_eq!(this.get("/get/then").await.body, "insert");
    assert_eq!(this.get("/get/cart").await.body, "full");

    // In the request of the login, from a visitor's session and from a session of the same user.
    let mut visitor = Browser::new(app.clone());
    visitor.get("/set/cart/full").await;
    for browser in [&mut visitor, &mut this] {
        let other = logged_in("42").await;
        browser.get("/login-alone/42").await;
        assert!(is_logged_in(browser).await && !is_logged_in(&other).await);
    }
    assert!(!is_logged_in(&visitor).await);

    // Before a logout, and without a login.
    let other = logged_in("42").await;
    this.get("/end-others/logout").await;
    assert_eq!(this.cookie, None);
    assert!(!is_logged_in(&other).await);
    assert_eq!(Browser::new(app.clone()).get("/end-others/insert").await.status, 500);
    assert!(is_logged_in(&theirs).await);
}

#[tokio::test]
async fn the_other_sessions_of_a_user_end_on_memory() {
    the_other_sessions_end(AnyBackend::new(MemoryBackend::new())).await;
}

#[tokio::test]
async fn the_other_sessions_of_a_user_end_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    the_other_sessions_end(AnyBackend::new(backend)).await;
}

/// Another request of the same browser saves, logs in or ends the session before the others end.
#[tokio::test]
async fn the_other_sessions_end_beside_another_request() {
    for (change, status, stays) in [("save", 200, true), ("end", 400, false), ("revoke", 400, false)] {
        for cycles in [false, true] {
            let store = store(MemoryBackend::new());
            let elsewhere = store.clone();
            let handler = move |session: Session| async move {
                session.end_others().await?;
                if cycles {
                    session.cycle_key().await?;
                }
                let key = session.key().await?.unwrap();
                match change {
                    "save" => elsewhere.update(&key, |session| session.insert("theirs", "1")).await?,
                    "end" => drop(elsewhere.delete(&key).await?),
                    _ => elsewhere.revoke_all("42").await?,
                }
                Ok::<_, SessionError>("ended")
            };
            let app = Router::new()
                .route("/beside", get(handler))
                .layer(SessionLayer::new(store.clone()));
            let app = app.merge(self::app(store.clone()));
            let mut other = Browser::new(app.clone());
            other.get("/login/42").await;
            let mut browser = Browser::new(app);
            browser.get("/login/42").await;
            let page = browser.get("/beside").await;
            assert_eq!(page.status.as_u16(), status, "{change}, cycles: {cycles}");
            assert_eq!(
                browser.get("/whoami").await.body == "42",
                stays,
                "{change}, cycles: {cycles}"
            );
            assert_eq!(other.get("/whoami").await.body, "nobody");
            if change == "save" {
                assert_eq!(browser.get("/get/theirs").await.body, "1");
            }
        }
    }
}

async fn all_sessions_of_a_user_end(backend: AnyBackend) {
    let store = store(backend);
    let app = app(store.clone());
    let mut browsers = Vec::new();
    for user in ["42", "42", "43"] {
        let mut browser = Browser::new(app.clone());
        browser.get(&format!("/login/{user}")).await;
        browsers.push(browser);
    }
    let key = browsers[0].key();
    let mut held: Stored = store.load(&key).await.unwrap().unwrap();
    for _ in 0..3 {
        store.revoke_all("42").await.unwrap();
        assert!(store.load(&key).await.unwrap().is_none());
        assert_eq!(browsers[1].peek("/whoami").await.body, "nobody");
        assert_eq!(browsers[2].peek("/whoami").await.body, "43");
        browsers[1].get("/login/42").await;
        assert_eq!(browsers[1].get("/whoami").await.body, "42", "a new login counts");
    }

    // The save of a session that was loaded before does not restore it.
    held.insert("late", 1).unwrap();
    store.save(&mut held).await.unwrap();
    assert!(store.load(&key).await.unwrap().is_none());
    let updated = store.update(&key, |session| session.insert("late", 2)).await;
    assert!(matches!(updated, Err(SessionError::Gone)));

    let page = browsers[0].get("/whoami").await;
    assert_eq!((page.body.as_str(), page.set_cookie()), ("nobody", None));
}

#[tokio::test]
async fn revoke_all_ends_all_sessions_of_a_user_on_memory() {
    all_sessions_of_a_user_end(AnyBackend::new(MemoryBackend::new())).await;
}

#[tokio::test]
async fn revoke_all_ends_all_sessions_of_a_user_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    all_sessions_of_a_user_end(AnyBackend::new(backend)).await;
}

#[tokio::test]
async fn revoke_all_is_one_write_however_many_sessions_there_are() {
    let backend = watched();
    let store = store(backend.clone());
    let mut keys = Vec::new();
    for _ in 0..100 {
        let mut session = store.new_session();
        store.login(&mut session, &Login::new("42")).await.unwrap();
        keys.push(session.key().unwrap().clone());
    }
    take(&backend);
    store.revoke_all("42").await.unwrap();
    assert_eq!(take(&backend), [("set", "shop:session-generation:42".to_owned())]);
    for key in &keys {
        assert!(store.load(key).await.unwrap().is_none());
    }
}

/// A session that Django's own `login` created contains no generation.
#[tokio::test]
async fn a_login_of_djangos_own_is_ended_too() {
    let store = store(MemoryBackend::new());
    for id in ["\"42\"", "42"] {
        let mut session = store.new_session();
        session
            .insert("_auth_user_id", serde_json::from_str::<serde_json::Value>(id).unwrap())
            .unwrap();
        store.save(&mut session).await.unwrap();
        assert_eq!(session.user().as_deref(), Some("42"));
        let key = session.key().unwrap().clone();
        if id == "42" {
            assert!(store.load(&key).await.unwrap().is_none(), "revoked in the first round");
        } else {
            assert!(store.load(&key).await.unwrap().is_some());
            store.revoke_all("42").await.unwrap();
            assert!(store.load(&key).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn an_outage_while_the_generation_is_asked_is_no_visitor_without_a_session() {
    let backend = watched();
    let here = store(backend.clone());
    let mut session = here.new_session();
    here.login(&mut session, &Login::new("42")).await.unwrap();
    let key = session.key().unwrap().clone();
    // Another process does not know the session's user yet, so it reads the generation in a second
    // round trip.
    let elsewhere = store(backend.clone());
    take_down_after(&backend, 1);
    assert!(matches!(elsewhere.load(&key).await, Err(SessionError::Backend(_))));
    assert!(matches!(here.load(&key).await, Err(SessionError::Backend(_))));
}

/// The hashes are `salted_hmac(…)` of Django 5.2.19.
#[tokio::test]
async fn the_hash_that_ties_a_session_to_the_password_is_djangos() {
    let store = store(MemoryBackend::new());
    for (secret, password, hash) in [
        (
            "codex-wire-vectors-secret-key-0001",
            "pbkdf2_sha256$1000000$abc$def=",
            "4361b786056767e70860d6fb2bbd54af80f9dd043153ad6aa94f05e29e56237f",
        ),
        (
            "ключ",
            "!unusable",
            "5bc5da3dbc1456302cf1ab496ff149b00bdc7e86dcde45e1519c9688eaa8c088",
        ),
    ] {
        let mut session = store.new_session();
        let login = Login::django("7", password, secret).auth_backend("shop.auth.Backend");
        assert_eq!(format!("{login:?}"), "Login { .. }");
        store.login(&mut session, &login).await.unwrap();
        assert_eq!(session.get::<String>("_auth_user_hash").unwrap().as_deref(), Some(hash));
        let backend = session.get::<String>("_auth_user_backend").unwrap();
        assert_eq!(backend.as_deref(), Some("shop.auth.Backend"));

        // After a change of password, the same user starts with an empty session.
        session.insert("cart", "full").unwrap();
        store.login(&mut session, &login).await.unwrap();
        assert!(session.contains_key("cart"));
        store
            .login(&mut session, &Login::django("7", "changed", secret))
            .await
            .unwrap();
        assert!(!session.contains_key("cart"));
    }
}
