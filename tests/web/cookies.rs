//! Tests of the content of `Set-Cookie`, and of which responses carry it.

use axum::http::header;
use codex_kv::{
    KvBackend as _, SessionError,
    memory::{ManualClock, MemoryBackend},
    web::{SameSite, SessionCookie, SessionLayer},
};

use crate::app::{Browser, app, record, routes, store};

#[tokio::test]
async fn the_cookie_is_safe_by_default() {
    let mut browser = Browser::new(app(MemoryBackend::new()));
    let page = browser.get("/set/name/Ada").await;
    let key = browser.key();
    assert_eq!(
        page.set_cookie().unwrap(),
        format!(
            "sessionid={}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=1209600",
            key.as_str()
        )
    );
    let cookie = page.headers.get(header::SET_COOKIE).unwrap();
    assert!(cookie.is_sensitive(), "so that no log prints it");
}

#[tokio::test]
async fn the_cookies_age_is_the_sessions() {
    let mut browser = Browser::new(app(MemoryBackend::new()));
    let page = browser.get("/expiry/300").await;
    assert!(page.set_cookie().unwrap().ends_with("; Max-Age=300"));
    let days_400 = 400 * 86_400;
    let page = browser.get(&format!("/expiry/{days_400}")).await;
    assert!(page.set_cookie().unwrap().ends_with(&format!("; Max-Age={days_400}")));
    let page = browser.get("/expiry/0").await;
    assert!(
        !page.set_cookie().unwrap().contains("Max-Age"),
        "it ends with the browser"
    );
    let page = browser.get("/set/name/Ada").await;
    assert!(!page.set_cookie().unwrap().contains("Max-Age"), "and keeps doing so");
}

#[tokio::test]
async fn every_attribute_can_be_set() {
    let cookie = SessionCookie::new()
        .name("sid")
        .path("/shop")
        .domain("example.org")
        .same_site(SameSite::Strict)
        .over_plain_http();
    let app = routes().layer(SessionLayer::new(store(MemoryBackend::new())).cookie(cookie).unwrap());
    let page = Browser::new(app).peek("/set/name/Ada").await;
    let cookie = page.set_cookie().unwrap();
    assert!(cookie.starts_with("sid="), "{cookie}");
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/shop; Domain=example.org; Max-Age=1209600"),
        "{cookie}"
    );
}

#[tokio::test]
async fn scook_03_a_layer_with_a_cookie_that_browsers_drop_is_not_built() {
    for cookie in [
        SessionCookie::new().path("/\r\nSet-Cookie: a=b"),
        SessionCookie::new().name("a=b"),
        SessionCookie::new().name("__Host-session").over_plain_http(),
    ] {
        let layer = SessionLayer::new(store(MemoryBackend::new())).cookie(cookie);
        assert!(matches!(layer, Err(SessionError::Config(_))));
    }
}

#[tokio::test]
async fn what_is_flushed_is_removed_from_store_and_browser() {
    let backend = MemoryBackend::new();
    let mut browser = Browser::new(app(backend.clone()));
    for path in ["/flush", "/clear", "/flush-and-fail"] {
        browser.get("/set/name/Ada").await;
        let record = record(&browser.key());
        assert!(backend.get(&record).await.unwrap().is_some());
        let page = browser.get(path).await;
        let cookie = page.set_cookie().unwrap();
        assert!(
            cookie.starts_with("sessionid=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0;"),
            "{cookie}"
        );
        assert_eq!(browser.cookie, None, "{path}");
        assert_eq!(backend.get(&record).await.unwrap(), None, "{path}");
    }
}

#[tokio::test]
async fn the_last_value_that_is_removed_takes_the_session_with_it() {
    let backend = MemoryBackend::new();
    let mut browser = Browser::new(app(backend.clone()));
    browser.get("/set/name/Ada").await;
    browser.get("/set/other/1").await;
    let record = record(&browser.key());
    browser.get("/remove/name").await;
    assert!(browser.cookie.is_some());
    browser.get("/remove/other").await;
    assert_eq!(browser.cookie, None);
    assert_eq!(backend.get(&record).await.unwrap(), None);
}

#[tokio::test]
async fn scook_01_a_cookie_without_a_session_behind_it_is_ignored_and_its_key_never_used() {
    let mut browser = Browser::new(app(MemoryBackend::new()));
    for planted in ["attackerattackerattackerattacker", "junk"] {
        browser.cookie = Some(planted.to_owned());
        for path in ["/get/name", "/remove/name", "/clear", "/flush"] {
            let page = browser.get(path).await;
            assert_eq!((page.status.as_u16(), page.set_cookie()), (200, None), "{path}");
        }
        // Session fixation: a new session does not get a key that an attacker chose.
        browser.get("/set/name/Ada").await;
        assert_ne!(browser.key().as_str(), planted);
    }
}

#[tokio::test]
async fn an_expired_session_is_a_visitor_without_one() {
    let clock = ManualClock::new();
    let mut browser = Browser::new(app(MemoryBackend::with_clock(clock.clone())));
    browser.get("/set/name/Ada").await;
    clock.advance(std::time::Duration::from_secs(1_209_601));
    let page = browser.get("/get/name").await;
    assert_eq!((page.body.as_str(), page.set_cookie()), ("nothing", None));
}

/// A poll that carries the key from before a login is answered after the login.
#[tokio::test]
async fn scook_01_a_late_answer_to_a_request_that_reads_does_not_undo_a_login() {
    let mut browser = Browser::new(app(MemoryBackend::new()));
    browser.get("/set/cart/full").await;
    let before = browser.clone();
    browser.get("/cycle/user/42").await;
    for path in ["/get/user", "/flush"] {
        assert_eq!(before.peek(path).await.set_cookie(), None, "{path}");
    }
    assert_eq!(browser.get("/get/user").await.body, "42");
}

#[tokio::test]
async fn cycle_key_gives_another_cookie_and_ends_the_old_key() {
    let backend = MemoryBackend::new();
    let mut browser = Browser::new(app(backend.clone()));
    browser.get("/set/cart/full").await;
    let old = browser.key();
    browser.get("/cycle/user/42").await;
    assert_ne!(browser.key(), old);
    assert_eq!(backend.get(&record(&old)).await.unwrap(), None);
    assert_eq!(browser.get("/get/cart").await.body, "full");
    assert_eq!(browser.get("/get/user").await.body, "42");
}

#[tokio::test]
async fn skey_04_of_several_cookies_of_one_name_the_first_that_can_be_a_key_counts() {
    let app = app(MemoryBackend::new());
    let mut ada = Browser::new(app.clone());
    ada.get("/set/name/Ada").await;
    let (key, mut both) = (ada.key(), Browser::new(app));
    for (cookie, name) in [
        (format!("x; other=\u{fc}; sessionid={}", key.as_str()), "Ada"),
        (format!("{}; sessionid=zzzzzzzz", key.as_str()), "Ada"),
        (format!("zzzzzzzz; sessionid={}", key.as_str()), "nothing"),
        (format!("\"{}\"", key.as_str()), "Ada"),
    ] {
        both.cookie = Some(cookie);
        assert_eq!(both.peek("/get/name").await.body, name, "{:?}", both.cookie);
    }
}
