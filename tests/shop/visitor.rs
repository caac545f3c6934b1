//! A visitor with a browser.

use std::{fs, path::PathBuf};

use fantoccini::{Client, Locator, cookies::Cookie};
use serde_json::Value;

/// A browser that visits a shop.
#[derive(Clone)]
pub(crate) struct Visitor {
    client: Client,
    shop: String,
    name: &'static str,
}

impl Visitor {
    pub(crate) fn new(client: Client, url: &str, name: &'static str) -> Self {
        Self {
            client,
            shop: url.to_owned(),
            name,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shop)
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) async fn open(&self, path: &str) {
        self.goto(&self.url(path)).await;
    }

    pub(crate) async fn goto(&self, url: &str) {
        self.client.goto(url).await.unwrap();
    }

    pub(crate) async fn path(&self) -> String {
        self.client.current_url().await.unwrap().path().to_owned()
    }

    /// Returns the status of the current page.
    pub(crate) async fn status(&self) -> u64 {
        let status = self.script("return performance.getEntriesByType('navigation')[0].responseStatus");
        status.await.as_u64().unwrap()
    }

    /// Returns the text of the element, which must exist.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let found = self.texts(selector).await;
        match <[String; 1]>::try_from(found) {
            Ok([text]) => text,
            Err(found) => panic!("{selector} is there {} times: {}", found.len(), self.shown().await),
        }
    }

    pub(crate) async fn number(&self, selector: &str) -> u64 {
        self.text(selector).await.parse().unwrap()
    }

    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.client.find_all(Locator::Css(selector)).await.unwrap() {
            texts.push(element.text().await.unwrap());
        }
        texts
    }

    async fn shown(&self) -> String {
        self.script("return document.body.innerText").await.to_string()
    }

    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let field = self.client.find(Locator::Css(selector)).await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Clicks an element that leads to another page, and waits for the page.
    pub(crate) async fn click(&self, selector: &str) {
        self.script("window.left = true").await;
        let button = self.client.find(Locator::Css(selector)).await.unwrap();
        button.click().await.unwrap();
        let arrived = "return window.left !== true && document.readyState === 'complete'";
        for _ in 0..1_000 {
            if self.script(arrived).await == true {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{selector} leads nowhere: {}", self.shown().await);
    }

    /// Logs in from the shop's page.
    pub(crate) async fn log_in(&self, user: &str, password: &str) {
        self.fill("[name=user]", user).await;
        self.fill("[name=password]", password).await;
        self.click("form[action='/login'] button").await;
    }

    pub(crate) async fn cookie(&self) -> Cookie<'static> {
        self.client.get_named_cookie("sessionid").await.unwrap()
    }

    pub(crate) async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Runs a script that calls its last argument when it is done.
    pub(crate) async fn script_async(&self, script: &str) -> Value {
        self.client.execute_async(script, Vec::new()).await.unwrap()
    }

    pub(crate) async fn screenshot(&self, page: &str) {
        let directory = std::env::var_os("CODEX_ARTIFACTS").map_or_else(
            || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("shop"),
            PathBuf::from,
        );
        fs::create_dir_all(&directory).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        fs::write(directory.join(format!("{}-{page}.png", self.name)), picture).unwrap();
    }

    pub(crate) async fn close(self) {
        // If this fails, the browser is already gone.
        let _ = self.client.close().await;
    }
}
