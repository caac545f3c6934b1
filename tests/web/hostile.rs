//! Tests of forged cookies.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
};
use codex_kv::SessionKey;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    app::{Browser, app, send},
    watched::{take, watched},
};

fn hand_made(of_another: &SessionKey) -> Vec<Vec<u8>> {
    let key = of_another.as_str();
    let mut cookies: Vec<Vec<u8>> = [
        "",
        " ",
        "*",
        "????????",
        "[a-z][a-z][a-z][a-z][a-z][a-z][a-z][a-z]",
        "../../../../etc/passwd",
        "..%2f..%2fsession",
        "shop:session:*",
        "aaaaaaaa%00bbbbbbbb",
        "aaaaaaaa%0d%0aFLUSHALL",
        "\"quotedquotedquotedquoted",
        "\"\"quotedquotedquotedquoted\"\"",
        "'quotedquotedquotedquoted'",
        "{\"a\":1}{\"a\":1}",
        "short",
        "седьмая1",
        "aaaaaaaa\u{200b}aaaaaaaa",
        "=;=;=;",
        "a=b=c=d=e=f",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    cookies.push("a".repeat(129).into_bytes());
    cookies.push("a".repeat(100_000).into_bytes());
    cookies.push(format!("shop:session:{key}").into_bytes());
    cookies.push(format!("session:{key}").into_bytes());
    cookies.push(format!("{key}*").into_bytes());
    cookies.push(format!("{key}:").into_bytes());
    cookies.push(format!("\\{key}").into_bytes());
    cookies.push(vec![0xff; 32]);
    cookies.push((0x80..=0xff).collect());
    cookies
}

/// Returns invalid keys, made of raw bytes and of texts that can cause problems for servers and
/// stores.
fn random() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        r"[ -~]{0,200}".prop_map(String::into_bytes),
        r"[a-z0-9]{0,40}[*?\[\]:/.%\\'{}|$`,@#!~^+=]{1,3}[a-z0-9]{0,40}".prop_map(String::into_bytes),
        r"[A-Za-z0-9_-]{129,300}".prop_map(String::into_bytes),
        r"[A-Za-z0-9_-]{0,7}".prop_map(String::into_bytes),
        r"\PC{1,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..100),
    ]
}

#[tokio::test]
async fn skey_03_a_hostile_cookie_never_reaches_the_backend_as_a_key_and_never_gives_a_500() {
    let backend = watched();
    let app = app(backend.clone());
    let mut ada = Browser::new(app.clone());
    ada.get("/set/name/Ada").await;
    take(&backend);

    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = random();
    let mut cookies = hand_made(&ada.key());
    cookies.extend((0..1_000).map(|_| strategy.new_tree(&mut runner).unwrap().current()));

    let (mut sent, mut unsendable) = (0, 0);
    for cookie in cookies {
        let header = [b"sessionid=".as_slice(), &cookie].concat();
        // Servers do not pass on bytes that are invalid in headers (NUL, a line break). Without
        // those bytes the text is another hostile cookie.
        let value = HeaderValue::from_bytes(&header).unwrap_or_else(|_| {
            unsendable += 1;
            let rest: Vec<u8> = header
                .into_iter()
                .filter(|byte| *byte >= b' ' && *byte != 0x7f)
                .collect();
            HeaderValue::from_bytes(&rest).unwrap()
        });
        for path in ["/get/name", "/careless", "/remove/name", "/flush"] {
            let request = Request::get(path).header(header::COOKIE, &value);
            let page = send(&app, request.body(Body::empty()).unwrap()).await;
            assert_eq!(page.status, 200, "{path} {value:?}");
            assert!(!page.body.contains("Ada"), "{path} {value:?}");
        }
        assert_eq!(take(&backend), [], "{value:?}");
        sent += 1;
    }
    assert!(
        sent > 1_000 && unsendable > 20,
        "{sent} cookies, {unsendable} of them cut"
    );

    // The watch works: it sees a read for a cookie that could be a key.
    ada.cookie = Some("couldbeakey".to_owned());
    ada.get("/get/name").await;
    assert_eq!(take(&backend), [("get", "shop:session:couldbeakey".to_owned())]);
}
