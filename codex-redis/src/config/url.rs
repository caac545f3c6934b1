//! The URL of a server.

use std::path::PathBuf;

use codex_traits::Result;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::config::settings::{Address, Login, Target, bad_setting};

/// Redis's own port.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// The Sentinels' own port.
const SENTINEL_PORT: u16 = 26379;

const EXPECTED_SCHEME: &str =
    "the URL must begin with redis://, redis+unix://, redis-sentinel:// or redis-cluster://, or for TLS with rediss";

/// What a URL says. What it leaves out is `None`.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) target: Target,
    pub(crate) tls: bool,
    pub(crate) database: Option<u32>,
    pub(crate) login: Option<Login>,
    /// What is behind the `?`, as it is.
    pub(crate) query: &'a str,
}

/// Reads the forms that [`RedisBuilder::url`](crate::RedisBuilder::url) lists.
///
/// By hand, because a general URL parser refuses or rewrites what is a valid password, and its errors show what it was given.
pub(crate) fn parse(url: &str) -> Result<Parsed<'_>> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| bad_setting(EXPECTED_SCHEME))?;
    match scheme.to_ascii_lowercase().as_str() {
        "redis" => tcp(rest, false),
        "rediss" => tcp(rest, true),
        "redis+unix" => unix(rest),
        "redis-cluster" => cluster(rest, false),
        "rediss-cluster" => cluster(rest, true),
        "redis-sentinel" => sentinel(rest, false),
        "rediss-sentinel" => sentinel(rest, true),
        _ => Err(bad_setting(EXPECTED_SCHEME)),
    }
}

fn tcp(rest: &str, tls: bool) -> Result<Parsed<'_>> {
    let (login, rest) = split_login(rest)?;
    let (rest, query) = split_query(rest)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(Parsed {
        target: Target::One(server(authority, DEFAULT_PORT)?),
        tls,
        database: optional_database(path)?,
        login,
        query,
    })
}

fn sentinel(rest: &str, tls: bool) -> Result<Parsed<'_>> {
    let (login, rest) = split_login(rest)?;
    let (rest, query) = split_query(rest)?;
    let (authorities, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(bad_setting(
            "a redis-sentinel:// URL must name the primary: redis-sentinel://host[:port],.../name[/database]",
        ));
    }
    Ok(Parsed {
        target: Target::Sentinel {
            sentinels: servers(authorities, SENTINEL_PORT)?,
            name: decoded(name)?,
        },
        tls,
        database: optional_database(number)?,
        login,
        query,
    })
}

fn cluster(rest: &str, tls: bool) -> Result<Parsed<'_>> {
    let (login, rest) = split_login(rest)?;
    let (rest, query) = split_query(rest)?;
    let (authorities, path) = rest.split_once('/').unwrap_or((rest, ""));
    let database = optional_database(path)?;
    if database.is_some_and(|database| database != 0) {
        return Err(bad_setting("a cluster has only database 0"));
    }
    Ok(Parsed {
        target: Target::Cluster(servers(authorities, DEFAULT_PORT)?),
        tls,
        database,
        login,
        query,
    })
}

fn split_query(rest: &str) -> Result<(&str, &str)> {
    if rest.contains('#') {
        return Err(bad_setting("a # in the URL must be percent-encoded"));
    }
    Ok(rest.split_once('?').unwrap_or((rest, "")))
}

fn optional_database(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        Ok(None)
    } else {
        database(text).map(Some)
    }
}

fn servers(list: &str, port: u16) -> Result<Vec<Address>> {
    list.split(',').map(|authority| server(authority, port)).collect()
}

fn server(authority: &str, default: u16) -> Result<Address> {
    let (host, port) = split_port(authority, default)?;
    Ok(Address::Tcp {
        host: host.to_owned(),
        port,
    })
}

fn unix(rest: &str) -> Result<Parsed<'_>> {
    let (login, rest) = split_login(rest)?;
    let (path, query) = split_query(rest)?;
    if !path.starts_with('/') || path.len() == 1 {
        return Err(bad_setting(
            "a redis+unix:// URL must name the absolute path of a socket: redis+unix:///run/redis.sock",
        ));
    }
    Ok(Parsed {
        target: Target::One(Address::Unix(PathBuf::from(decoded(path)?))),
        tls: false,
        database: None,
        login,
        query,
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

fn split_port(authority: &str, default: u16) -> Result<(&str, u16)> {
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
        None => default,
        Some(port) => parse_port(port).ok_or_else(|| bad_setting("the URL's port must be a number from 1 to 65535"))?,
    };
    Ok((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

pub(crate) fn database(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number: &u32| digits && i32::try_from(*number).is_ok())
        .ok_or_else(|| bad_setting("the URL's database must be a number from 0"))
}

pub(crate) fn decoded(text: &str) -> Result<String> {
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

    fn host_of<'a>(parsed: &'a Parsed<'_>) -> (&'a str, u16) {
        match &parsed.target {
            Target::One(Address::Tcp { host, port }) => (host, *port),
            other => panic!("{other:?}"),
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
    fn the_parts_of_a_sentinel_url_are_read() {
        for (url, expected, name, database, tls) in [
            ("redis-sentinel://a/main", "[a:26379]", "main", None, false),
            (
                "redis-sentinel://app:secret@a:1,b,[::1]:3/my%20shop/7",
                "[a:1, b:26379, [::1]:3]",
                "my shop",
                Some(7),
                false,
            ),
            (
                "rediss-sentinel://a,b/main/0",
                "[a:26379, b:26379]",
                "main",
                Some(0),
                true,
            ),
        ] {
            let parsed = parse(url).unwrap();
            let Target::Sentinel { sentinels, name: found } = &parsed.target else {
                panic!("{parsed:?}")
            };
            assert_eq!((format!("{sentinels:?}").as_str(), found.as_str()), (expected, name));
            assert_eq!((parsed.database, parsed.tls), (database, tls));
        }
    }

    #[test]
    fn the_parts_of_a_cluster_url_are_read() {
        for (url, expected, tls) in [
            ("redis-cluster://a", "[a:6379]", false),
            (
                "redis-cluster://app:secret@a:1,b,[::1]:3/0",
                "[a:1, b:6379, [::1]:3]",
                false,
            ),
            ("rediss-cluster://a,b/", "[a:6379, b:6379]", true),
        ] {
            let parsed = parse(url).unwrap();
            let Target::Cluster(nodes) = &parsed.target else {
                panic!("{parsed:?}")
            };
            assert_eq!((format!("{nodes:?}").as_str(), parsed.tls), (expected, tls));
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
        for (url, path, query) in [
            ("redis+unix:///run/redis.sock", "/run/redis.sock", ""),
            ("redis+unix:///run/redis.sock?", "/run/redis.sock", ""),
            ("redis+unix:///run/redis.sock?db=7", "/run/redis.sock", "db=7"),
            (
                "redis+unix:///run/with%20space%3F.sock?db=0",
                "/run/with space?.sock",
                "db=0",
            ),
        ] {
            let target = parse(url).unwrap();
            assert!(
                matches!(&target.target, Target::One(Address::Unix(found)) if found == Path::new(path)),
                "{url}"
            );
            assert_eq!((target.query, target.database), (query, None));
        }
    }

    #[test]
    fn a_bad_url_is_told_what_was_expected_and_never_shown() {
        for (url, expected) in [
            ("", "must begin with redis://"),
            ("hunter2", "begin with redis://"),
            ("localhost:6379", "begin with redis://"),
            ("http://:hunter2@h", "must begin with"),
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
            ("redis://h?x#hunter2", "# in the URL"),
            ("redis-cluster://", "must name a host"),
            ("redis-cluster://a,", "must name a host"),
            ("redis-cluster://a,b:x", "port must be a number"),
            ("redis-cluster://a,b/1", "only database 0"),
            ("redis-sentinel://", "must name the primary"),
            ("redis-sentinel://a,b", "must name the primary"),
            ("redis-sentinel://a,b/", "must name the primary"),
            ("redis-sentinel://a,/main", "must name a host"),
            ("redis-sentinel:///main", "must name a host"),
            ("redis-sentinel://a:0/main", "port must be a number"),
            ("redis-sentinel://a/main/x", "database must be a number"),
            ("redis://:%ff@h", "must be UTF-8"),
            ("redis+unix://", "absolute path"),
            ("redis+unix://run/redis.sock", "absolute path"),
            ("redis+unix:///", "absolute path"),
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
