//! The URL of a server.

use std::path::PathBuf;

use codex_traits::Result;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::settings::{Address, Login, bad_setting};

/// Redis's own port.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// What a URL says. What it leaves out is `None`.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) tls: bool,
    pub(crate) database: Option<u32>,
    pub(crate) login: Option<Login>,
}

/// Reads `redis://[[user]:password@]host[:port][/database]`, the same with `rediss://`, and `redis+unix://[[user]:password@]/path[?db=database]`.
///
/// By hand, because a general URL parser refuses or rewrites what is a valid password, and its errors show what it was given.
pub(crate) fn parse(url: &str) -> Result<Target> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| bad_setting("the URL must begin with redis://, rediss:// or redis+unix://"))?;
    match scheme.to_ascii_lowercase().as_str() {
        "redis" => tcp(rest, false),
        "rediss" => tcp(rest, true),
        "redis+unix" => unix(rest),
        _ => Err(bad_setting("the URL's scheme must be redis, rediss or redis+unix")),
    }
}

fn tcp(rest: &str, tls: bool) -> Result<Target> {
    let (login, rest) = split_login(rest)?;
    if rest.contains(['?', '#']) {
        return Err(bad_setting(
            "a redis:// URL has no parameters: expected redis://[user:password@]host[:port][/database]",
        ));
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = split_port(authority)?;
    let database = match path {
        "" => None,
        number => Some(database(number)?),
    };
    Ok(Target {
        address: Address::Tcp {
            host: host.to_owned(),
            port,
        },
        tls,
        database,
        login,
    })
}

fn unix(rest: &str) -> Result<Target> {
    let (login, rest) = split_login(rest)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !path.starts_with('/') || path.len() == 1 {
        return Err(bad_setting(
            "a redis+unix:// URL must name the absolute path of a socket: redis+unix:///run/redis.sock",
        ));
    }
    let mut selected = None;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("db", number)) => selected = Some(database(number)?),
            _ => {
                return Err(bad_setting(
                    "the one parameter of a redis+unix:// URL is db, a database number",
                ));
            }
        }
    }
    Ok(Target {
        address: Address::Unix(PathBuf::from(decoded(path)?)),
        tls: false,
        database: selected,
        login,
    })
}

/// At the last `@`, so that a password may hold one that nobody encoded.
fn split_login(rest: &str) -> Result<(Option<Login>, &str)> {
    let Some((login, rest)) = rest.rsplit_once('@') else {
        return Ok((None, rest));
    };
    let Some((user, password)) = login.split_once(':') else {
        return Err(bad_setting(
            "a URL with a user name must have a password: user:password@, or :password@ without a user name",
        ));
    };
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    let password = Zeroizing::new(decoded(password)?);
    Ok((Some(Login { user, password }), rest))
}

fn split_port(authority: &str) -> Result<(&str, u16)> {
    let (host, port) = if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed
            .split_once(']')
            .ok_or_else(|| bad_setting("an IPv6 address in a URL must end with ]"))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(bad_setting("what is in brackets in a URL must be an IPv6 address"));
        }
        match port {
            "" => (host, None),
            port => (host, Some(port.strip_prefix(':').unwrap_or(""))),
        }
    } else {
        match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err(bad_setting("the URL must name a host: redis://host[:port][/database]"));
    }
    if !authority.starts_with('[')
        && !host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    {
        return Err(bad_setting(
            "the URL's host must be a name or an address, an IPv6 address in brackets; special characters of a password must be percent-encoded",
        ));
    }
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => parse_port(port).ok_or_else(|| bad_setting("the URL's port must be a number from 1 to 65535"))?,
    };
    Ok((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

fn database(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number: &u32| digits && i32::try_from(*number).is_ok())
        .ok_or_else(|| bad_setting("the URL's database must be a number from 0"))
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded
        .map_err(|_| bad_setting("what is percent-encoded in a URL must be UTF-8"))?
        .into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use codex_traits::ErrorKind;

    use super::*;

    fn host_of(target: &Target) -> (&str, u16) {
        match &target.address {
            Address::Tcp { host, port } => (host, *port),
            Address::Unix(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn the_parts_of_a_tcp_url_are_read() {
        for (url, host, port, database) in [
            ("redis://localhost", "localhost", 6379, None),
            ("redis://localhost/", "localhost", 6379, None),
            ("REDIS://cache-1.internal:7000/12", "cache-1.internal", 7000, Some(12)),
            ("redis://10.0.0.1:65535/0", "10.0.0.1", 65535, Some(0)),
            ("redis://[::1]", "::1", 6379, None),
            ("redis://[2001:db8::1]:7000/3", "2001:db8::1", 7000, Some(3)),
        ] {
            let target = parse(url).unwrap();
            assert_eq!((host_of(&target), target.database), ((host, port), database), "{url}");
            assert!(target.login.is_none());
        }
    }

    #[test]
    fn a_login_is_percent_decoded() {
        for (url, user, password) in [
            ("redis://:secret@h", None, "secret"),
            ("redis://app:secret@h", Some("app"), "secret"),
            ("redis://app:@h", Some("app"), ""),
            ("redis://a%40b:p%3A%2F%25%20%C3%A9@h:1/2", Some("a@b"), "p:/% é"),
            ("redis://app:p@ss:w/rd?#@h", Some("app"), "p@ss:w/rd?#"),
            ("redis+unix://app:secret@/run/redis.sock?db=3", Some("app"), "secret"),
        ] {
            let login = parse(url).unwrap().login.unwrap();
            assert_eq!(
                (login.user.as_deref(), login.password.as_str()),
                (user, password),
                "{url}"
            );
            assert!(!format!("{login:?}").contains("secret"));
        }
    }

    #[test]
    fn the_parts_of_a_unix_url_are_read() {
        for (url, path, database) in [
            ("redis+unix:///run/redis.sock", "/run/redis.sock", None),
            ("redis+unix:///run/redis.sock?", "/run/redis.sock", None),
            ("redis+unix:///run/redis.sock?db=7", "/run/redis.sock", Some(7)),
            (
                "redis+unix:///run/with%20space%3F.sock?db=0",
                "/run/with space?.sock",
                Some(0),
            ),
        ] {
            let target = parse(url).unwrap();
            assert!(
                matches!(&target.address, Address::Unix(found) if found == Path::new(path)),
                "{url}"
            );
            assert_eq!(target.database, database);
        }
    }

    #[test]
    fn a_bad_url_is_told_what_was_expected_and_never_shown() {
        for (url, expected) in [
            ("", "begin with redis://"),
            ("hunter2", "begin with redis://"),
            ("localhost:6379", "begin with redis://"),
            ("http://:hunter2@h", "scheme must be redis, rediss or redis+unix"),
            ("redis://", "must name a host"),
            ("redis:///3", "must name a host"),
            ("redis://:6379", "must name a host"),
            ("redis://:hunter2@", "must name a host"),
            ("redis://hunter2@h", "must have a password"),
            ("redis://h:", "port must be a number from 1 to 65535"),
            ("redis://h:0", "port must be a number from 1 to 65535"),
            ("redis://h:65536", "port must be a number from 1 to 65535"),
            ("redis://h:+1", "port must be a number from 1 to 65535"),
            ("redis://h:hunter2", "port must be a number from 1 to 65535"),
            ("redis://[::1", "must end with ]"),
            ("redis://[::1]6379", "port must be a number"),
            ("redis://[hunter2]", "must be an IPv6 address"),
            ("redis://::1", "IPv6 address in brackets"),
            ("redis://hunter2 x", "must be a name or an address"),
            ("redis://h/x", "database must be a number from 0"),
            ("redis://h/-1", "database must be a number from 0"),
            ("redis://h/+1", "database must be a number from 0"),
            ("redis://h/1/2", "database must be a number from 0"),
            ("redis://h/2147483648", "database must be a number from 0"),
            ("redis://h?db=1", "has no parameters"),
            ("redis://:%ff@h", "must be UTF-8"),
            ("redis+unix://", "absolute path"),
            ("redis+unix://run/redis.sock", "absolute path"),
            ("redis+unix:///", "absolute path"),
            ("redis+unix:///s?db=x", "database must be a number from 0"),
            ("redis+unix:///s?db=", "database must be a number from 0"),
            ("redis+unix:///s?password=hunter2", "one parameter"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(
                (error.kind(), error.operation()),
                (ErrorKind::Config, "connect"),
                "{url}"
            );
            assert!(error.to_string().contains(expected), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
