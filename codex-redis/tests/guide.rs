//! The backend accepts the URLs and settings of `docs/redis.md`.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use codex_redis::RedisBackend;
use codex_traits::ErrorKind;

const GUIDE: &str = include_str!("../../docs/redis.md");

/// Returns the texts between backticks.
fn code() -> impl Iterator<Item = &'static str> {
    GUIDE.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_url_of_the_guide_is_accepted() {
    let schemes = ["redis", "valkey", "unix"];
    let is_url = |text: &&str| text.contains("://") && schemes.iter().any(|scheme| text.starts_with(scheme));
    // Forms and bare schemes are not URLs.
    let urls: Vec<&str> = code()
        .filter(is_url)
        .filter(|text| !text.contains(['[', '…']) && !text.ends_with("://"))
        .collect();
    assert!(urls.len() >= 2, "{urls:?}");
    for url in urls {
        RedisBackend::connect_lazy(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[test]
fn every_default_of_the_guide_is_a_value_of_its_setting() {
    let table = GUIDE
        .split("## Configuration")
        .nth(1)
        .unwrap()
        .split("\n### ")
        .next()
        .unwrap();
    let mut settings = 0;
    for row in table
        .lines()
        .filter(|line| line.starts_with("| `") || line.starts_with("| backoff"))
    {
        let cells: Vec<&str> = row.split(" | ").collect();
        let text = |cell: &str| cell.split('`').nth(1).map(str::to_owned);
        let (Some(name), Some(default)) = (text(cells[1]), text(cells[2])) else {
            continue;
        };
        if name == "rediss" {
            continue;
        }
        let url = format!("redis://h?{name}={default}");
        RedisBackend::connect_lazy(&url).unwrap_or_else(|error| panic!("{url}: {error}"));
        settings += 1;
    }
    assert!(settings >= 15, "{settings}");
}

#[test]
fn a_setting_of_another_client_is_refused_with_the_advice_of_the_guide() {
    for (url, advice) in [
        ("redis://h?socket_timeout=5", "use command_timeout=5s"),
        ("redis://h?protocol=3", "use resp=3"),
        ("redis://h?username=app", "user:password@"),
    ] {
        let error = RedisBackend::connect_lazy(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(advice) && GUIDE.contains(advice), "{error}");
    }
}
