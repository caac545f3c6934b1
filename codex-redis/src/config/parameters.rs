//! The settings after the `?` of a URL.

use std::time::Duration;

use codex_traits::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::{address_map::AddressMap, builder::RedisBuilder, spellings};
use crate::{
    config::settings::{RespVersion, Target},
    config::url,
};

/// The names of the settings in a URL.
const NAMES: [&str; 23] = [
    "db",
    "command_timeout",
    "connect_timeout",
    "transfer_timeout",
    "connections",
    "max_in_flight",
    "max_waiting",
    "max_reply_bytes",
    "timeouts_before_redial",
    "backoff_min",
    "backoff_max",
    "keepalive",
    "client_name",
    "resp",
    "slow_command",
    "lazy",
    "address_map",
    "sentinel_username",
    "sentinel_password",
    "tls_ca_file",
    "tls_cert_file",
    "tls_key_file",
    "tls_server_name",
];

/// The TLS settings of a URL.
#[derive(Debug, Default)]
pub(super) struct TlsParameters {
    authority: Option<String>,
    certificate: Option<String>,
    key: Option<String>,
    server_name: Option<String>,
}

/// Returns whether this crate or another client has a setting of this name.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name) || spellings::is_known(name)
}

impl RedisBuilder {
    /// Applies `name=value&name=value`. A refused name or value is not shown, because it may be a
    /// misplaced password.
    pub(super) fn parameters(&mut self, query: &str, has_database: bool) -> Result<()> {
        let mut seen = [false; NAMES.len()];
        // The path may name the database too.
        seen[0] = has_database;
        let given = query.split('&').filter(|parameter| !parameter.is_empty());
        for (at, parameter) in given.enumerate() {
            let (name, encoded) = parameter.split_once('=').ok_or_else(|| unknown(at))?;
            let value = Zeroizing::new(url::decoded(encoded)?);
            let Some(known) = NAMES.iter().position(|known| *known == name) else {
                return Err(spellings::refused(name, &value, &NAMES).unwrap_or_else(|| unknown(at)));
            };
            // The decoder would take it literally, and a typing error in an escape would change a
            // password or a path unnoticed.
            if !is_encoded(encoded) {
                return Err(refused(
                    NAMES[known],
                    "a % in the URL must begin an escape of two hexadecimal digits; encode a literal % as %25",
                ));
            }
            if std::mem::replace(&mut seen[known], true) {
                return Err(refused(NAMES[known], "is given twice in the URL"));
            }
            self.parameter(NAMES[known], &value)?;
        }
        Ok(())
    }

    fn parameter(&mut self, name: &'static str, value: &str) -> Result<()> {
        match name {
            "db" => {
                self.database = url::database(value)?;
            }
            "command_timeout" => self.command_timeout = duration(name, value)?,
            "connect_timeout" => self.connect_timeout = duration(name, value)?,
            "transfer_timeout" => self.transfer_timeout = duration(name, value)?,
            "connections" => self.connections = number(name, value)?,
            "max_in_flight" => self.max_in_flight = number(name, value)?,
            "max_waiting" => self.max_waiting = number(name, value)?,
            "max_reply_bytes" => self.max_reply_bytes = number(name, value)?,
            "timeouts_before_redial" => self.timeouts_before_redial = number(name, value)?,
            "backoff_min" => self.backoff.0 = duration(name, value)?,
            "backoff_max" => self.backoff.1 = duration(name, value)?,
            "keepalive" => {
                self.keepalive = match value {
                    "off" => None,
                    value => Some(duration(name, value).map_err(|_| {
                        refused(
                            name,
                            "must be off, or a whole number and ms, s, m or h in the URL, as in 30s",
                        )
                    })?),
                }
            }
            "client_name" => self.client_name = Some(value.to_owned()).filter(|name| !name.is_empty()),
            "resp" => {
                self.resp = match value {
                    "2" => RespVersion::Resp2,
                    "3" => RespVersion::Resp3,
                    _ => return Err(refused(name, "must be 2 or 3")),
                }
            }
            "slow_command" => self.slow_command = duration(name, value)?,
            "lazy" => {
                self.lazy = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(refused(name, "must be true or false")),
                }
            }
            "address_map" => self.address_map = Some(AddressMap::parse(value)?),
            "sentinel_username" | "sentinel_password" => {
                if !matches!(self.target, Target::Sentinel { .. }) {
                    return Err(refused(name, "is for a redis-sentinel:// URL only"));
                }
                if name == "sentinel_username" {
                    self.sentinel_username = Some(value.to_owned());
                } else {
                    self.sentinel_password = Some(Zeroizing::new(value.to_owned()));
                }
            }
            _ => {
                if !self.tls_by_url {
                    return Err(refused(name, "is for a rediss URL only"));
                }
                let place = match name {
                    "tls_ca_file" => &mut self.tls_parameters.authority,
                    "tls_cert_file" => &mut self.tls_parameters.certificate,
                    "tls_key_file" => &mut self.tls_parameters.key,
                    _ => &mut self.tls_parameters.server_name,
                };
                *place = Some(value.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(feature = "tls")]
impl TlsParameters {
    pub(super) fn settings(&self) -> Result<super::tls::RedisTls> {
        let mut tls = super::tls::RedisTls::new();
        if let Some(path) = &self.authority {
            tls = tls.certificate_authority_file(path);
        }
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => tls = tls.client_certificate_files(certificate, key),
            (None, None) => {}
            (Some(_), None) => return Err(refused("tls_cert_file", "needs tls_key_file")),
            (None, Some(_)) => return Err(refused("tls_key_file", "needs tls_cert_file")),
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        Ok(tls)
    }
}

fn unknown(at: usize) -> Error {
    let known = NAMES.join(", ");
    let message = format!(
        "parameter {} of the URL must be name=value with one of the names {known}",
        at + 1
    );
    Error::new(ErrorKind::Config, "connect", message)
}

/// Returns whether each `%` begins an escape of two hexadecimal digits.
fn is_encoded(value: &str) -> bool {
    let mut escapes = value.split('%').skip(1).map(str::as_bytes);
    escapes.all(|escape| matches!(escape, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn refused(name: &'static str, expected: &'static str) -> Error {
    Error::new(ErrorKind::Config, "connect", format!("{name}: {expected}"))
}

fn number<T: std::str::FromStr>(name: &'static str, value: &str) -> Result<T> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|_| digits);
    number.ok_or_else(|| refused(name, "must be a whole number in the URL"))
}

/// Parses a whole number and its unit.
fn duration(name: &'static str, value: &str) -> Result<Duration> {
    let wrong = || refused(name, "must be a whole number and ms, s, m or h in the URL, as in 500ms");
    let end = value.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = value.split_at(end);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::{
        super::credentials::{Login, LoginSource},
        *,
    };

    fn fixed(source: Option<LoginSource>) -> Login {
        match source {
            Some(LoginSource::Fixed(login)) => login,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_setting_can_be_in_the_url_of_every_kind() {
        for url in [
            "redis://h",
            "redis+unix:///s",
            "redis-cluster://a,b",
            "redis-sentinel://a,b/main",
        ] {
            let all = "command_timeout=200ms&connect_timeout=2s&connections=4&max_in_flight=9&timeouts_before_redial=5&backoff_min=10ms\
                       &backoff_max=1m&keepalive=1h&client_name=shop%2D1&slow_command=7ms&resp=3";
            let checked = RedisBuilder::new().url(&format!("{url}?{all}")).check().unwrap();
            let settings = checked.settings;
            assert_eq!(
                (
                    settings.command_timeout,
                    settings.connect_timeout,
                    settings.slow_command
                ),
                (
                    Duration::from_millis(200),
                    Duration::from_secs(2),
                    Duration::from_millis(7)
                )
            );
            assert_eq!(
                (
                    settings.connections,
                    settings.max_in_flight,
                    settings.timeouts_before_redial
                ),
                (4, 9, 5)
            );
            assert_eq!(
                (settings.backoff_min, settings.backoff_max, settings.keepalive),
                (
                    Duration::from_millis(10),
                    Duration::from_secs(60),
                    Some(Duration::from_secs(3600))
                )
            );
            assert_eq!(settings.client_name.as_deref(), Some("shop-1"));
            assert_eq!(settings.resp, RespVersion::Resp3);
        }
        let lazy = RedisBuilder::new()
            .url("redis://h?lazy=true&address_map=a:1>b:2")
            .check()
            .unwrap();
        assert!(lazy.lazy && lazy.settings.address_map.is_some());
        let off = RedisBuilder::new()
            .url("redis://h/?keepalive=off&client_name=&db=4")
            .check()
            .unwrap();
        assert_eq!(
            (off.settings.keepalive, off.settings.client_name, off.settings.database),
            (None, None, 4)
        );
        let url = "redis-sentinel://:own@a/main/3?sentinel_username=app&sentinel_password=p%40%3F%26";
        let checked = RedisBuilder::new().url(url).check().unwrap();
        let login = fixed(checked.sentinel_login);
        assert_eq!((login.user.as_deref(), login.password.as_str()), (Some("app"), "p@?&"));
        assert_eq!(fixed(checked.settings.login).password.as_str(), "own");
        // A password may contain a `?`.
        let checked = RedisBuilder::new()
            .url("redis://:a?connections=9@h?connections=3")
            .check()
            .unwrap();
        assert_eq!(
            (
                fixed(checked.settings.login).password.as_str(),
                checked.settings.connections
            ),
            ("a?connections=9", 3)
        );
    }

    #[test]
    fn the_defaults_in_the_guide_are_those_of_the_builder() {
        let guide = include_str!("../../../docs/redis.md");
        let text = |cell: &str| cell.trim().trim_matches('`').to_owned();
        let mut found = Vec::new();
        for row in guide.lines().filter(|line| line.matches('|').count() == 5) {
            let cells: Vec<&str> = row.split('|').collect();
            let (name, default) = (text(cells[2]), text(cells[3]));
            let Some(name) = NAMES.iter().find(|known| **known == name && default != "none") else {
                continue;
            };
            let stated = RedisBuilder::new()
                .url(&format!("redis://h?{name}={default}"))
                .check()
                .unwrap();
            let own = RedisBuilder::new().url("redis://h").check().unwrap();
            assert_eq!(
                format!("{:?}", stated.settings),
                format!("{:?}", own.settings),
                "{name}"
            );
            found.push(*name);
        }
        for name in NAMES {
            assert!(guide.contains(&format!("`{name}`")), "{name} is not in the guide");
            let is_plain =
                !(name == "db" || name == "address_map" || name.starts_with("sentinel_") || name.starts_with("tls_"));
            assert_eq!(found.contains(&name), is_plain, "{name}");
        }
    }

    #[test]
    fn a_bad_parameter_is_named_with_what_was_expected_and_never_shown() {
        for (query, expected) in [
            ("hunter2", "parameter 1 of the URL must be name=value"),
            (
                "connections=3&hunter2=x",
                "parameter 2 of the URL must be name=value with one of the names db, command_timeout",
            ),
            ("Slots=3", "use connections=3"),
            ("Connections=3", "use connections"),
            ("socket_timeout=5", "use command_timeout=5s"),
            ("connections=3&connections=3", "connections: is given twice"),
            ("connections=hunter2", "connections: must be a whole number"),
            ("connections=", "connections: must be a whole number"),
            ("connections=+3", "connections: must be a whole number"),
            (
                "connections=99999999999999999999",
                "connections: must be a whole number",
            ),
            ("connections=65", "connections: must be from 1 to 64"),
            ("max_in_flight=0", "max_in_flight: must be at least 1"),
            (
                "command_timeout=500",
                "command_timeout: must be a whole number and ms, s, m or h",
            ),
            ("command_timeout=ms", "command_timeout: must be a whole number and ms"),
            ("command_timeout=0.5s", "command_timeout: must be a whole number and ms"),
            ("command_timeout=5d", "command_timeout: must be a whole number and ms"),
            ("command_timeout=5 s", "command_timeout: must be a whole number and ms"),
            (
                "command_timeout=99999999999999999h",
                "command_timeout: must be a whole number and ms",
            ),
            ("command_timeout=0ms", "command_timeout: must be from 1 ms"),
            ("keepalive=hunter2", "keepalive: must be off, or a whole number"),
            ("keepalive=10ms", "keepalive: must be from 1 s"),
            ("backoff_min=9s", "backoff: "),
            ("client_name=two%20words", "client_name: must be printable ASCII"),
            ("client_name=%ff", "must be UTF-8"),
            (
                "client_name=%hunter2",
                "client_name: a % in the URL must begin an escape",
            ),
            ("client_name=a%2", "encode a literal % as %25"),
            ("client_name=a%", "client_name: a % in the URL must begin an escape"),
            ("resp=hunter2", "resp: must be 2 or 3"),
            ("lazy=hunter2", "lazy: must be true or false"),
            ("address_map=hunter2", "address_map: must be pairs"),
            ("db=x", "database must be a number"),
            ("db=1&db=1", "db: is given twice"),
            (
                "sentinel_password=hunter2",
                "sentinel_password: is for a redis-sentinel:// URL only",
            ),
            ("tls_ca_file=hunter2", "tls_ca_file: is for a rediss URL only"),
        ] {
            let builder = RedisBuilder::new().url(&format!("redis://h?{query}"));
            assert!(!format!("{builder:?}").contains("hunter2"));
            let error = builder.check().unwrap_err();
            assert_eq!(
                (error.kind(), error.operation()),
                (ErrorKind::Config, "connect"),
                "{query}"
            );
            assert!(error.to_string().contains(expected), "{query}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
        let twice = RedisBuilder::new().url("redis://h/1?db=2").check().unwrap_err();
        assert!(twice.to_string().contains("db: is given twice"), "{twice}");
        let cluster = RedisBuilder::new().url("redis-cluster://h?db=2").check().unwrap_err();
        assert!(cluster.to_string().contains("only database 0"), "{cluster}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn certificates_come_from_the_files_that_a_url_names() {
        for (query, expected) in [
            ("tls_ca_file=/hunter2/ca.pem", "tls_ca_file: the file cannot be read"),
            ("tls_cert_file=/hunter2/a", "tls_cert_file: needs tls_key_file"),
            ("tls_key_file=/hunter2/a", "tls_key_file: needs tls_cert_file"),
            ("tls_server_name=two%20words", "tls_server_name: must be"),
        ] {
            let error = RedisBuilder::new()
                .url(&format!("rediss://h?{query}"))
                .check()
                .unwrap_err();
            assert!(error.to_string().contains(expected), "{query}: {error}");
            assert!(
                !format!("{error:?} {:?}", std::error::Error::source(&error)).contains("hunter2"),
                "{error:?}"
            );
        }
        let named = RedisBuilder::new()
            .url("rediss://h?tls_server_name=cache.internal")
            .check()
            .unwrap();
        assert!(named.settings.tls.is_some());
    }
}
