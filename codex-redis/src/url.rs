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
    pub(crate) database: Option<u32>,
    pub(crate) login: Option<Login>,
}

/// Reads `redis://[[user]:password@]host[:port][/database]` and `redis+unix://[[user]:password@]/path[?db=database]`.
///
/// By hand, because a general URL parser refuses or rewrites what is a valid password, and its errors show what it was given.
pub(crate) fn parse(url: &str) -> Result<Target> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| bad_setting("the URL must begin with redis:// or redis+unix://"))?;
    match scheme.to_ascii_lowercase().as_str() {
        "redis" => tcp(rest),
        "redis+unix" => unix(rest),
        _ => Err(bad_setting("the URL's scheme must be redis or redis+unix")),
    }
}

fn tcp(rest: &str) -> Result<Target> {
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
