//! Tests of the shop of `examples/web` with headless Chromium. The shop runs as a separate process,
//! on memory and on a real Redis.
//!
//! Screenshots are stored in `CODEX_ARTIFACTS`, or in `target/tmp/shop`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

mod chromium;
mod plain;
mod process;
mod visitor;

use std::{fs, path::PathBuf, time::Duration};

use codex_testkit::redis::RedisServer;

use crate::{chromium::Chromium, process::Shop, visitor::Visitor};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_on_memory() {
    let chromium = codex_testkit::require!("browser", Chromium::start());
    let shop = Shop::start("memory", "memory://");
    let (ada, other) = (chromium.visitor(&shop).await, chromium.visitor(&shop).await);
    chromium::closing([ada.clone(), other.clone()], async move {
        a_visitor_becomes_ada(&ada).await;
        ada_shops(&ada, &other).await;
        the_slow_page_is_computed_once(&ada, &other).await;
        ada_logs_out_everywhere(&ada, &other).await;
        another_site_changes_nothing(&ada).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_on_redis_that_dies_and_comes_back() {
    let chromium = codex_testkit::require!("browser", Chromium::start());
    let redis = codex_testkit::require!("redis", Redis::start());
    let shop = Shop::start("redis", &redis.server.url());
    let (ada, other) = (chromium.visitor(&shop).await, chromium.visitor(&shop).await);
    chromium::closing([ada.clone(), other.clone()], async move {
        a_visitor_becomes_ada(&ada).await;
        ada_shops(&ada, &other).await;
        the_slow_page_is_computed_once(&ada, &other).await;
        an_outage_is_said_and_the_login_survives_it(&ada, &other, &redis).await;
        ada_logs_out_everywhere(&ada, &other).await;
        another_site_changes_nothing(&ada).await;
    })
    .await;
}

/// A server with persistence, so that a crash loses nothing.
struct Redis {
    server: RedisServer,
    data: PathBuf,
}

impl Redis {
    fn start() -> Result<Self, codex_testkit::require::Unavailable> {
        // The server's own directory is removed when it is killed.
        let data = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("shop-redis-{}", std::process::id()));
        fs::create_dir_all(&data).unwrap();
        let dir = data.display().to_string();
        let server = RedisServer::start_with(["--dir", &dir, "--appendonly", "yes", "--appendfsync", "always"])?;
        Ok(Self { server, data })
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.server.kill();
        let _ = fs::remove_dir_all(&self.data);
    }
}

async fn a_visitor_becomes_ada(ada: &Visitor) {
    ada.open("/").await;
    assert_eq!(ada.text("#visits").await, "1");
    ada.open("/").await;
    assert_eq!(ada.text("#visits").await, "2");
    ada.fill("[name=item]", "A <b>book</b> & a half").await;
    ada.click("form[action='/cart/add'] button").await;
    assert_eq!(ada.texts("#cart li").await, ["A <b>book</b> & a half"]);
    assert_eq!(
        ada.script("return document.cookie").await,
        "",
        "no script can read the key"
    );

    ada.log_in("ada", "wrong").await;
    assert!(ada.text("#message").await.contains("No such user"));
    assert_eq!(ada.status().await, 403);

    let before = ada.cookie().await;
    ada.open("/").await;
    ada.log_in("ada", "lovelace").await;
    assert_eq!(ada.text("#user").await, "ada");
    assert_eq!(ada.texts("#cart li").await.len(), 1, "the cart survives the login");
    let after = ada.cookie().await;
    assert_ne!(after.value(), before.value(), "a login has a new key");
    assert_eq!(after.http_only(), Some(true));
    assert_eq!(after.same_site().map(|site| site.to_string()).as_deref(), Some("Lax"));
}

/// Makes concurrent requests, also from a second browser of the same user.
async fn ada_shops(ada: &Visitor, other: &Visitor) {
    let visits: u64 = ada.text("#visits").await.parse().unwrap();
    // Each redirect ends on the shop's page, which counts visits.
    let statuses = ada
        .script_async(
            "const done = arguments[arguments.length - 1];
             const add = n => fetch('/cart/add', {method: 'POST', body: new URLSearchParams({item: 'thing ' + n})});
             Promise.all([...Array(8).keys()].map(add)).then(all => done(all.map(one => one.status)), done)",
        )
        .await;
    assert_eq!(statuses, serde_json::json!(vec![200; 8]));
    ada.open("/").await;
    assert_eq!(ada.text("#visits").await, (visits + 9).to_string());
    let mut cart = ada.texts("#cart li").await;
    cart.sort();
    let mut expected: Vec<String> = (0..8).map(|number| format!("thing {number}")).collect();
    expected.insert(0, "A <b>book</b> & a half".to_owned());
    assert_eq!(cart, expected, "nobody's is lost");
    ada.screenshot("shop").await;

    other.open("/").await;
    assert_eq!(other.text("#visits").await, "1", "another browser, another visitor");
    other.open("/sessions").await;
    assert_eq!(other.path().await, "/", "there is nothing to see without a login");
    other.log_in("ada", "lovelace").await;
    ada.open("/sessions").await;
    let listed = ada.texts("#sessions li").await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(
        listed[1].ends_with("this one") && !listed[0].contains("this one"),
        "the latest comes first: {listed:?}"
    );
    assert!(listed.iter().all(|agent| agent.contains("Chrome/")), "{listed:?}");
    ada.screenshot("sessions").await;
}

async fn the_slow_page_is_computed_once(ada: &Visitor, other: &Visitor) {
    tokio::join!(ada.open("/slow"), other.open("/slow"));
    let ages = [ada.number("#age").await, other.number("#age").await];
    // Both waited for the same computation, which takes two seconds.
    assert!(ages.iter().all(|age| *age < 1_500), "{ages:?}");
    ada.open("/slow").await;
    let later = ada.number("#age").await;
    assert!(later > ages[0] && later < 20_000, "{later} after {ages:?}");
    ada.screenshot("slow").await;
}

async fn an_outage_is_said_and_the_login_survives_it(ada: &Visitor, other: &Visitor, redis: &Redis) {
    redis.server.kill();
    for (visitor, path) in [(ada, "/"), (other, "/sessions"), (ada, "/slow")] {
        visitor.open(path).await;
        assert_eq!(visitor.status().await, 503, "{path}");
        let said = visitor.text("#message").await;
        assert!(said.contains("out of service") && said.contains("login"), "{said}");
    }
    ada.screenshot("outage").await;
    redis.server.restart();
    for attempt in 1.. {
        ada.open("/").await;
        if ada.status().await == 200 {
            break;
        }
        assert!(attempt < 50, "the shop does not come back with its store");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ada.text("#user").await, "ada");
    assert_eq!(ada.texts("#cart li").await.len(), 9);
    other.open("/").await;
    assert_eq!(other.text("#user").await, "ada");
}

async fn ada_logs_out_everywhere(ada: &Visitor, other: &Visitor) {
    ada.open("/sessions").await;
    ada.click("form[action='/logout-everywhere'] button").await;
    for visitor in [ada, other] {
        visitor.open("/").await;
        assert!(visitor.texts("#user").await.is_empty(), "still logged in");
        assert_eq!(visitor.text("#visits").await.len(), 1, "and begins anew");
    }
    other.log_in("ada", "lovelace").await;
    assert_eq!(other.text("#user").await, "ada");
    ada.open("/").await;
    assert!(ada.texts("#user").await.is_empty(), "one's login is not the other's");

    // A session can be ended from another session.
    ada.log_in("ada", "lovelace").await;
    ada.open("/sessions").await;
    assert_eq!(ada.texts("#sessions li").await.len(), 2);
    ada.click("form[action='/sessions/end'] button").await;
    assert_eq!(ada.texts("#sessions li").await.len(), 1);
    other.open("/").await;
    assert!(other.texts("#user").await.is_empty());
    other.log_in("ada", "lovelace").await;
    ada.open("/").await;
    ada.click("form[action='/logout'] button").await;

    // An ordinary logout ends only this session.
    ada.log_in("ada", "lovelace").await;
    ada.click("form[action='/logout'] button").await;
    assert!(ada.texts("#user").await.is_empty());
    other.open("/").await;
    assert_eq!(other.text("#user").await, "ada");
}

async fn another_site_changes_nothing(ada: &Visitor) {
    ada.open("/").await;
    ada.log_in("ada", "lovelace").await;
    let target = ada.url("/logout-everywhere");
    let page = format!("data:text/html,<form method=post action={target}><button>You have won</button></form>");
    ada.goto(&page).await;
    ada.click("button").await;
    assert_eq!(ada.status().await, 403);
    ada.open("/").await;
    assert_eq!(ada.text("#user").await, "ada");
}
