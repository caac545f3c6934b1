//! Tests of a Django project's settings and a Rust store with the same settings: `USE_TZ`, a time
//! zone, and `SESSION_EXPIRE_AT_BROWSER_CLOSE`. Both send the same cookies and store the same
//! records.

use std::time::Duration;

use codex_kv::{DjangoSigned, SessionStore, redis::RedisBackend};
use codex_testkit::redis::Database;

use crate::{
    client::{Reply, Service, Visitor},
    django::{Django, SECRET},
    side_by_side::{Store, start_axum},
};

/// Zones west and east of Greenwich, including one with a half-hour offset and one near the date
/// line.
const ZONES: [&str; 3] = ["America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland"];

#[derive(Debug, Clone, Copy)]
struct Settings {
    use_tz: bool,
    zone: &'static str,
    browser_close: bool,
}

impl Settings {
    fn all() -> impl Iterator<Item = Self> {
        [true, false].into_iter().flat_map(|use_tz| {
            ZONES.into_iter().flat_map(move |zone| {
                [false, true].map(|browser_close| Self {
                    use_tz,
                    zone,
                    browser_close,
                })
            })
        })
    }

    async fn store(self, url: &str) -> Store {
        let builder = SessionStore::builder(RedisBackend::connect(url).await.unwrap())
            .project("shop")
            .codec(DjangoSigned::new(SECRET))
            .browser_session(self.browser_close);
        let builder = if self.use_tz {
            builder
        } else {
            builder.time_zone(self.zone)
        };
        builder.build().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sint_01_sexp_07_settings_of_django_5_2_are_kept() {
    let database = codex_testkit::require!("redis", Database::lease());
    let python = codex_testkit::require!("django", Django::python("5.2"));
    every_setting("5.2", &python, database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sint_01_sexp_07_settings_of_django_6_1_are_kept() {
    let database = codex_testkit::require!("redis", Database::lease());
    let python = codex_testkit::require!("django", Django::python("6.1"));
    every_setting("6.1", &python, database).await;
}

async fn every_setting(version: &str, python: &str, database: Database) {
    let django = Django::start(version, python, &database.url());
    for settings in Settings::all() {
        let rust = start_axum(settings.store(&database.patient_url()).await, django.users()).await;
        let both = Both {
            python: django.service(),
            rust,
            settings,
        };
        // The visitors block, and the service must keep running.
        tokio::task::spawn_blocking(move || both.compare()).await.unwrap();
    }
}

#[derive(Clone, Copy)]
struct Both {
    python: Service,
    rust: Service,
    settings: Settings,
}

/// Returns the parts of a `Set-Cookie` header that define the cookie's lifetime and scope. The two
/// frameworks order them differently. Rust adds `Secure`, and Django adds `Max-Age` as a date.
fn attributes(reply: &Reply) -> Vec<String> {
    let cookie = reply.set_cookie.as_deref().expect("a cookie is set");
    let parts = cookie.split(';').skip(1).map(|part| part.trim().to_lowercase());
    let mut parts: Vec<String> = parts
        .filter(|part| part != "secure" && !part.starts_with("expires="))
        .collect();
    parts.sort();
    parts
}

impl Both {
    fn each(self) -> [(Service, Service); 2] {
        [(self.python, self.rust), (self.rust, self.python)]
    }

    fn compare(self) {
        let Settings {
            use_tz,
            zone,
            browser_close,
        } = self.settings;
        let path = format!(
            "/configure/{}/{}/{}",
            u8::from(use_tz),
            zone.replace('/', "-"),
            u8::from(browser_close)
        );
        let offset = Visitor::default().ask(self.python, &path);
        let expected = ["-8", "-7", "+5.5", "+12", "+13"];
        assert!(
            expected.contains(&offset.as_str()),
            "Django's clock shows {zone}: {offset}"
        );
        self.cookies_are_the_same();
        self.durations_are_the_same();
        self.dates_are_the_same();
        self.a_past_date_ends_the_session();
        self.logins_are_the_same();
    }

    fn cookies_are_the_same(self) {
        let mut seen = Vec::new();
        for (here, there) in self.each() {
            let mut visitor = Visitor::default();
            seen.push(attributes(&visitor.reply(here, "/write/a", "1")));
            seen.push(attributes(&visitor.reply(there, "/write/a", "2")));
        }
        assert!(
            seen.windows(2).all(|pair| pair[0] == pair[1]),
            "{:?}: {seen:?}",
            self.settings
        );
        let has_age = seen[0].iter().any(|part| part == "max-age=1209600");
        assert_eq!(has_age, !self.settings.browser_close, "{:?}: {seen:?}", self.settings);
    }

    fn durations_are_the_same(self) {
        for (here, there) in self.each() {
            for (seconds, age) in [(300, "300 False"), (0, "1209600 True")] {
                let mut visitor = Visitor::default();
                assert_eq!(visitor.ask(here, &format!("/expire/{seconds}")), "set");
                for service in [here, there, here] {
                    assert_eq!(visitor.ask(service, "/age"), age, "{:?}", self.settings);
                    let reply = visitor.reply(service, "/write/a", "1");
                    let max_age = attributes(&reply).into_iter().find(|part| part.starts_with("max-age="));
                    assert_eq!(max_age.is_some(), seconds > 0, "{:?}", self.settings);
                    assert_eq!(visitor.ask(service, "/read/_session_expiry"), seconds.to_string());
                }
            }
        }
    }

    fn dates_are_the_same(self) {
        for (here, there) in self.each() {
            let mut visitor = Visitor::default();
            assert_eq!(visitor.ask(here, "/expire-in/60"), "set");
            let kept = visitor.ask(here, "/read/_session_expiry");
            assert_eq!(kept.contains('+'), self.settings.use_tz, "{:?}: {kept}", self.settings);
            for service in [here, there, here] {
                assert_eq!(
                    visitor.ask(service, "/read/_session_expiry"),
                    kept,
                    "{:?}",
                    self.settings
                );
                let age = visitor.ask(service, "/age");
                let seconds: u64 = age.strip_suffix(" False").unwrap().parse().unwrap();
                // Up to 60 s, minus the time that the requests take on a busy machine.
                assert!((30..60).contains(&seconds), "{:?}: {age}", self.settings);
                let reply = visitor.reply(service, "/write/a", "1");
                assert_eq!(
                    (reply.status, reply.body.as_str()),
                    (200, "written"),
                    "{:?}",
                    self.settings
                );
                let max_age = attributes(&reply).into_iter().find_map(|part| {
                    let age = part.strip_prefix("max-age=")?;
                    age.parse::<u64>().ok()
                });
                assert!((30..60).contains(&max_age.unwrap()), "{:?}: {reply:?}", self.settings);
            }
        }
    }

    fn a_past_date_ends_the_session(self) {
        for (here, there) in self.each() {
            let mut visitor = Visitor::default();
            visitor.write(here, "a", "1");
            let before = visitor.clone();
            visitor.reply(there, "/expire-in/-5", "");
            for service in [here, there] {
                let read = before.clone().ask(service, "/read/a");
                assert_eq!(read, "null", "{:?}: the session has ended", self.settings);
            }
        }
    }

    fn logins_are_the_same(self) {
        for (here, there) in self.each() {
            let mut ada = Visitor::default();
            ada.write(there, "cart", "[1]");
            let path = if here.port == self.python.port {
                "/login/ada/ada-password"
            } else {
                "/login/ada"
            };
            let first = attributes(&ada.reply(here, path, ""));
            for service in [here, there] {
                assert_eq!(ada.ask(service, "/whoami"), "ada", "{:?}", self.settings);
                assert_eq!(ada.ask(service, "/read/cart").replace(' ', ""), "[1]");
            }
            assert_eq!(
                attributes(&ada.reply(there, "/cycle", "")),
                first,
                "{:?}",
                self.settings
            );
            let logged_in = ada.clone();
            assert_eq!(ada.ask(there, "/logout"), "out");
            assert_eq!(ada.cookie, None);
            for service in [here, there] {
                assert_eq!(logged_in.clone().ask(service, "/whoami"), "anonymous");
            }
        }
    }
}

/// Returns the time this many seconds from now, or in the past if they are negative.
pub(crate) fn in_seconds(seconds: i64) -> std::time::SystemTime {
    let now = std::time::SystemTime::now();
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { now - by } else { now + by }
}
