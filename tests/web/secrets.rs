//! Tests that the layer's logs and texts contain no key, no value and no cookie.

use std::fmt::Write as _;

use codex_kv::{KvBackend as _, SetOptions, web::SessionLayer};

use crate::{
    app::{Browser, record, routes, store},
    log::Log,
    watched::{restore, take_down_after, watched},
};

#[tokio::test]
async fn nothing_of_a_session_is_in_a_log_or_an_answer() {
    let (log, _guard) = Log::begin();
    let backend = watched();
    let layer = SessionLayer::new(store(backend.clone()));
    let mut said = format!("{layer:?}\n");
    let mut browser = Browser::new(routes().layer(layer.save_every_request()));
    let mut cookies = Vec::new();

    for round in 0..3 {
        restore(&backend);
        browser.get("/set/name/hunter2").await;
        cookies.push(browser.cookie.clone().unwrap());
        match round {
            // An unreadable record, an outage, and a session in order.
            0 => {
                let broken = SetOptions::new();
                let written = backend.set(&record(&browser.key()), "hunter2:a:b".into(), broken).await;
                assert!(written.unwrap().is_written());
            }
            1 => take_down_after(&backend, 0),
            _ => {}
        }
        for path in [
            "/wrong-type",
            "/get/other",
            "/careless",
            "/fail",
            "/cycle/a/hunter2",
            "/flush",
        ] {
            let page = browser.get(path).await;
            // The layer does not control a handler's own text.
            if path != "/careless" {
                writeln!(said, "{} {}", page.status, page.body).unwrap();
            }
            cookies.extend(browser.cookie.clone());
        }
    }
    let log = log.text();
    assert!(
        log.contains("cannot be read") && log.contains("failed on its session"),
        "{log}"
    );
    assert!(said.contains("\n500 ") && said.contains("\n503 "), "{said}");
    for secret in cookies
        .iter()
        .map(String::as_str)
        .chain(["hunter2", "a secret of the tests"])
    {
        assert!(!log.contains(secret), "{log}");
        assert!(!said.contains(secret), "{said}");
    }
}
