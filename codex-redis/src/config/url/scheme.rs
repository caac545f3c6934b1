//! The schemes of Redis and Valkey URLs.

use codex_traits::{Error, ErrorKind, Result};

/// The deployment that a scheme names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Server,
    Unix,
    Sentinel,
    Cluster,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Scheme {
    pub(super) kind: Kind,
    pub(super) tls: bool,
}

/// Every scheme that is accepted, in lower case.
const ACCEPTED: [(&str, Kind, bool); 17] = [
    ("redis", Kind::Server, false),
    ("rediss", Kind::Server, true),
    ("valkey", Kind::Server, false),
    ("valkeys", Kind::Server, true),
    ("redis+unix", Kind::Unix, false),
    ("valkey+unix", Kind::Unix, false),
    ("unix", Kind::Unix, false),
    // Celery, and Lettuce.
    ("redis+socket", Kind::Unix, false),
    ("redis-socket", Kind::Unix, false),
    ("redis-sentinel", Kind::Sentinel, false),
    ("rediss-sentinel", Kind::Sentinel, true),
    ("valkey-sentinel", Kind::Sentinel, false),
    ("valkeys-sentinel", Kind::Sentinel, true),
    ("redis-cluster", Kind::Cluster, false),
    ("rediss-cluster", Kind::Cluster, true),
    ("valkey-cluster", Kind::Cluster, false),
    ("valkeys-cluster", Kind::Cluster, true),
];

/// Schemes of other clients, each with our scheme.
const REFUSED: [(&str, &str); 12] = [
    ("sentinel", "redis-sentinel"),
    ("redis+sentinel", "redis-sentinel"),
    ("rediss+sentinel", "rediss-sentinel"),
    ("cluster", "redis-cluster"),
    ("redis+cluster", "redis-cluster"),
    ("rediss+cluster", "rediss-cluster"),
    ("redis+ssl", "rediss"),
    ("redis+tls", "rediss"),
    ("redis-ssl", "rediss"),
    ("rediss+unix", "redis+unix"),
    ("tcp", "redis"),
    ("tls", "rediss"),
];

/// Splits a URL after its scheme. Schemes are case-insensitive (RFC 3986).
pub(super) fn split(url: &str) -> Result<(Scheme, &str)> {
    let (scheme, rest) = url.split_once("://").ok_or_else(unknown)?;
    let scheme = scheme.to_ascii_lowercase();
    if let Some((_, kind, tls)) = ACCEPTED.into_iter().find(|(name, ..)| *name == scheme) {
        return Ok((Scheme { kind, tls }, rest));
    }
    match REFUSED.into_iter().find(|(name, _)| *name == scheme) {
        Some((theirs, ours)) => Err(config(format!(
            "the scheme {theirs}:// is not known: use {ours}:// instead"
        ))),
        None => Err(unknown()),
    }
}

fn unknown() -> Error {
    config(
        "the URL must begin with redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://, \
         for example `redis://localhost:6379/0`",
    )
}

fn config(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Config, "connect", message)
}
