//! The shop, without a socket.

use axum::{
    body::{Body, to_bytes},
    http::header,
};
use tower::ServiceExt as _;

use super::*;

struct Browser {
    app: Router,
    cookie: String,
}

impl Browser {
    async fn send(&mut self, request: axum::http::request::Builder, body: &str) -> (StatusCode, String) {
        let request = request
            .header(header::COOKIE, &self.cookie)
            .header(header::USER_AGENT, "<Lynx>")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        if let Some(cookie) = response.headers().get(header::SET_COOKIE) {
            self.cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&mut self, path: &str) -> String {
        let (status, body) = self.send(Request::get(path), "").await;
        assert_eq!(status, StatusCode::OK, "{path}");
        body
    }

    async fn post(&mut self, path: &str, form: &str) {
        let (status, _) = self.send(Request::post(path), form).await;
        assert_eq!(status, StatusCode::SEE_OTHER, "{path}");
    }
}

async fn browsers() -> (Browser, Browser) {
    let backend = codex_kv::connect("memory://").await.unwrap();
    let app = app(Shop::new(&backend, Duration::ZERO).unwrap(), SessionCookie::new());
    let browser = || Browser {
        app: app.clone(),
        cookie: String::new(),
    };
    (browser(), browser())
}

#[tokio::test]
async fn a_visitor_counts_fills_a_cart_and_keeps_it_at_the_login() {
    let (mut one, mut two) = browsers().await;
    assert!(one.get("/").await.contains("id=visits>1<"));
    one.post("/cart/add", "item=%3Cscript%3E").await;
    one.post("/login", "user=ada&password=lovelace").await;
    let page = one.get("/").await;
    assert!(page.contains("id=visits>2<") && page.contains("id=user>ada<"));
    assert!(page.contains("<li>&lt;script&gt;"), "{page}");
    one.post("/cart/clear", "").await;
    assert!(!one.get("/").await.contains("script"));
    assert!(two.get("/").await.contains("id=visits>1<"), "another visitor");
}

#[tokio::test]
async fn log_out_everywhere_ends_the_other_browsers_session() {
    let (mut one, mut two) = browsers().await;
    for browser in [&mut one, &mut two] {
        browser.post("/login", "user=ada&password=lovelace").await;
    }
    let page = one.get("/sessions").await;
    assert_eq!(
        (
            page.matches("<li>&lt;Lynx&gt;").count(),
            page.matches("this one").count()
        ),
        (2, 1)
    );
    one.post("/logout-everywhere", "").await;
    assert!(two.get("/").await.contains("Not logged in"));
    two.post("/login", "user=ada&password=lovelace").await;
    assert!(two.get("/").await.contains("id=user>ada<"));
    two.post("/logout", "").await;
    assert!(two.get("/").await.contains("Not logged in"));
}

#[tokio::test]
async fn the_slow_page_is_computed_once() {
    let (mut one, mut two) = browsers().await;
    one.get("/slow").await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let page = two.get("/slow").await;
    let age: u64 = page
        .split_once("id=age>")
        .unwrap()
        .1
        .split('<')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(age >= 20, "{age}");
}

#[tokio::test]
async fn a_wrong_password_and_another_site_change_nothing() {
    let (mut one, _) = browsers().await;
    let (status, _) = one.send(Request::post("/login"), "user=ada&password=x").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    one.post("/login", "user=ada&password=lovelace").await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let request = Request::post("/logout")
            .header(name, value)
            .header("host", "shop.example");
        assert_eq!(one.send(request, "").await.0, StatusCode::FORBIDDEN, "{name}");
    }
    assert!(one.get("/").await.contains("id=user>ada<"));
    let request = Request::post("/logout")
        .header("origin", "https://shop.example")
        .header("host", "shop.example");
    assert_eq!(one.send(request, "").await.0, StatusCode::SEE_OTHER);
}
