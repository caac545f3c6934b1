//! The layer's logs and texts hold no key, no value and no cookie.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use codex_kv::{KvBackend as _, SetOptions, web::SessionLayer};
use tracing::{Event, Metadata, Subscriber, field::Field, span};

use crate::{
    app::{Browser, record, routes, store},
    watched::watched,
};

/// Writes down every span and event, of every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn note(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut dyn FnMut(&Field, &dyn fmt::Debug))) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{} {}", metadata.level(), metadata.name()).unwrap();
        record(&mut |field, value| write!(log, " {field}={value:?}").unwrap());
        *log += "\n";
    }
}

impl Subscriber for Log {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.note(span.metadata(), |mut visit| span.record(&mut visit));
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, values: &span::Record<'_>) {
        let mut log = self.0.lock().unwrap();
        values.record(&mut |field: &Field, value: &dyn fmt::Debug| writeln!(log, " {field}={value:?}").unwrap());
    }

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.note(event.metadata(), |mut visit| event.record(&mut visit));
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test]
async fn nothing_of_a_session_is_in_a_log_or_an_answer() {
    let log = Log::default();
    // With one subscriber, `tracing` asks only the thread that comes upon an event
    // first, and switches it off for all.
    let _second = tracing::Dispatch::new(log.clone());
    let _guard = tracing::subscriber::set_default(log.clone());
    let backend = watched();
    let layer = SessionLayer::new(store(backend.clone()));
    let mut said = format!("{layer:?}\n");
    let mut browser = Browser::new(routes().layer(layer.save_every_request()));
    let mut cookies = Vec::new();

    for round in 0..3 {
        backend.interceptor().set_down(false);
        browser.get("/set/name/hunter2").await;
        cookies.push(browser.cookie.clone().unwrap());
        match round {
            // A record that cannot be read, an outage, and a session that is as it should be.
            0 => {
                let broken = SetOptions::new();
                let written = backend.set(&record(&browser.key()), "hunter2:a:b".into(), broken).await;
                assert!(written.unwrap().is_written());
            }
            1 => backend.interceptor().set_down(true),
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
            // A handler's own text is no concern of the layer's.
            if path != "/careless" {
                writeln!(said, "{} {}", page.status, page.body).unwrap();
            }
            cookies.extend(browser.cookie.clone());
        }
    }
    let log = log.0.lock().unwrap();
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
