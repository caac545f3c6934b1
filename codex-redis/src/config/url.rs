//! The URL of a server.

mod authority;
mod parts;
mod scheme;

use std::{fmt, path::PathBuf};

use codex_traits::Result;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

pub(super) use self::authority::server;
use self::{authority::servers, scheme::Kind};
use super::{
    credentials::Login,
    settings::{Address, Target, bad_setting},
};

/// The port of Redis and Valkey.
pub(crate) const DEFAULT_PORT: u16 = 6379;

/// The port of Sentinels.
const SENTINEL_PORT: u16 = 26379;

/// The settings of a URL. A setting that the URL leaves out is `None`.
pub(crate) struct Parsed<'a> {
    pub(crate) target: Target,
    pub(crate) tls: bool,
    pub(crate) database: Option<u32>,
    pub(crate) login: Option<Login>,
    /// The text after the `?`, not decoded.
    pub(crate) query: &'a str,
}

impl fmt::Debug for Parsed<'_> {
    // The query may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("target", &self.target)
            .field("tls", &self.tls)
            .field("database", &self.database)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// A deployment, and the database if the path names it.
type Place = (Target, Option<u32>);

/// Parses the forms that [`RedisBuilder::url`](crate::RedisBuilder::url) lists.
///
/// Written by hand: a general URL parser refuses or rewrites valid passwords, and its errors repeat
/// its input.
pub(crate) fn parse(url: &str) -> Result<Parsed<'_>> {
    let (scheme, rest) = scheme::split(url)?;
    let read: fn(&str, &str) -> Result<Place> = match scheme.kind {
        Kind::Unix => return unix(rest),
        Kind::Server => one_server,
        Kind::Sentinel => sentinel,
        Kind::Cluster => cluster,
    };
    let parts::Parts {
        login,
        found: (target, database),
        query,
    } = parts::split(rest, read)?;
    Ok(Parsed {
        target,
        tls: scheme.tls,
        database,
        login,
        query,
    })
}

fn one_server(authority: &str, path: &str) -> Result<Place> {
    Ok((Target::One(server(authority, DEFAULT_PORT)?), optional_database(path)?))
}

fn sentinel(authorities: &str, path: &str) -> Result<Place> {
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(bad_setting(
            "the URL must name the primary that the Sentinels watch, for example \
             `redis-sentinel://host1,host2/mymaster/0`",
        ));
    }
    if name.contains('@') {
        return Err(bad_setting("an @ in the primary's name must be percent-encoded as %40"));
    }
    let target = Target::Sentinel {
        sentinels: servers(authorities, SENTINEL_PORT)?,
        name: decoded(name)?,
    };
    Ok((target, optional_database(number)?))
}

fn cluster(authorities: &str, path: &str) -> Result<Place> {
    let database = optional_database(path)?;
    if database.is_some_and(|database| database != 0) {
        return Err(bad_setting(
            "a cluster has only database 0: remove the number from the URL",
        ));
    }
    Ok((Target::Cluster(servers(authorities, DEFAULT_PORT)?), database))
}

fn unix(rest: &str) -> Result<Parsed<'_>> {
    // A URL that begins with the path has no login, so the path and the settings may contain an
    // `@`.
    let (login, rest) = match rest.find("@/") {
        Some(at) if !rest.starts_with('/') => (authority::login(&rest[..at])?, &rest[at + 1..]),
        _ => (None, rest),
    };
    let (path, query) = parts::split_query(rest)?;
    if !path.starts_with('/') || path.len() == 1 {
        return Err(bad_setting(
            "the URL must name the absolute path of a Unix socket, for example `redis+unix:///run/redis.sock` \
             with three slashes",
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

fn optional_database(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        Ok(None)
    } else {
        database(text).map(Some)
    }
}

pub(crate) fn database(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number: &u32| digits && i32::try_from(*number).is_ok())
        .ok_or_else(|| bad_setting("the URL's database must be a number from 0, for example `redis://host/0`"))
}

/// Percent-decodes a part of a URL. It may be a password, so the buffer is allocated once and never
/// moved. It is wiped if it is not UTF-8.
pub(crate) fn decoded(text: &str) -> Result<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    bytes.extend(percent_decode_str(text));
    String::from_utf8(std::mem::take(&mut *bytes)).map_err(|error| {
        drop(Zeroizing::new(error.into_bytes()));
        bad_setting("percent-encoded bytes in a URL must be UTF-8; encode a literal % as %25")
    })
}

#[cfg(test)]
mod tests;
