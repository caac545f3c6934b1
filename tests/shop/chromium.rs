//! Headless Chromium, driven by `WebDriver`.

use std::{
    env,
    future::Future,
    path::{Path, PathBuf},
};

use codex_testkit::require::Unavailable;
use fantoccini::ClientBuilder;
use hyper_util::client::legacy::connect::HttpConnector;

use crate::{
    process::{Process, Shop},
    visitor::Visitor,
};

/// A chromedriver process, which starts a browser for each visitor.
pub(crate) struct Chromium {
    driver: Process,
    browser: PathBuf,
}

impl Chromium {
    pub(crate) fn start() -> Result<Self, Unavailable> {
        let find = |names: &[&str]| {
            let found = names.iter().find_map(|name| on_path(name));
            found.ok_or_else(|| Unavailable::new(format!("there is no {} on PATH", names[0])))
        };
        let browser = find(&["chromium", "chromium-browser", "google-chrome"])?;
        let driver = find(&["chromedriver"])?;
        let free = |command: &mut std::process::Command| {
            command.arg("--port=0");
        };
        let start = || Process::start(&driver, free, |line| line.contains("started successfully on port"));
        // On a busy machine chromedriver can exit before it reports that it has started, so retry.
        let driver = (0..5).find_map(|_| start()).expect("chromedriver starts");
        Ok(Self { driver, browser })
    }

    /// Returns a new browser without cookies.
    pub(crate) async fn visitor(&self, shop: &Shop) -> Visitor {
        self.visitor_of(shop.url(), shop.name).await
    }

    /// Returns a new browser for any service. `name` appears in the names of screenshots.
    pub(crate) async fn visitor_of(&self, url: &str, name: &'static str) -> Visitor {
        let arguments = [
            "--headless=new",
            // Chromium's sandbox does not work as root or in most containers. The browser visits
            // only the shop.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=900,1000",
        ];
        let capabilities = serde_json::json!({
            "goog:chromeOptions": { "binary": self.browser, "args": arguments },
            // Milliseconds. The default of 30 s is too short for a long script on a busy machine.
            "timeouts": { "script": 300_000 },
        });
        let serde_json::Value::Object(capabilities) = capabilities else {
            unreachable!("it is written as an object");
        };
        let port: String = self.driver.line.chars().filter(char::is_ascii_digit).collect();
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("Chromium starts");
        Visitor::new(client, url, name)
    }
}

/// Runs the actions of the visitors, then closes their browsers even after a panic, because the
/// driver would leave them running.
pub(crate) async fn closing(
    visitors: impl IntoIterator<Item = Visitor>,
    what_they_do: impl Future<Output = ()> + Send + 'static,
) {
    let done = tokio::spawn(what_they_do).await;
    for visitor in visitors {
        visitor.close().await;
    }
    if let Err(panicked) = done {
        std::panic::resume_unwind(panicked.into_panic());
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path: &PathBuf| Path::is_file(path))
}
