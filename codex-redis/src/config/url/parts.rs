//! The split of a URL into login, servers, path and settings.

use codex_traits::Result;

use super::authority::login;
use crate::config::{credentials::Login, parameters, settings::bad_setting};

pub(super) struct Parts<'a, T> {
    pub(super) login: Option<Login>,
    pub(super) found: T,
    pub(super) query: &'a str,
}

/// Splits the part of a URL after the scheme, and parses its servers and its path with `read`.
///
/// By RFC 3986 the authority ends at the first `/`, `?` or `#`, so a later `@` belongs to the path
/// or the settings. Users also write passwords that contain such a character without encoding it.
/// When the first reading is not valid, the last `@` ends the password.
pub(super) fn split<T>(rest: &str, read: fn(&str, &str) -> Result<T>) -> Result<Parts<'_, T>> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let by_rule = split_at(rest, rest[..end].rfind('@'), read);
    let Some(last) = rest.rfind('@').filter(|at| *at >= end) else {
        return by_rule;
    };
    match by_rule {
        Ok(parts) if could_be_query(parts.query) => Ok(parts),
        // An `@` in a setting must not turn a mistaken host into a password, and the setting into a
        // host.
        Err(error) if is_host_with_settings(&rest[..end], &rest[end..]) => Err(error),
        _ => split_at(rest, Some(last), read),
    }
}

fn split_at<T>(rest: &str, at: Option<usize>, read: fn(&str, &str) -> Result<T>) -> Result<Parts<'_, T>> {
    let (credentials, rest) = match at {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => ("", rest),
    };
    let login = login(credentials)?;
    let (rest, query) = split_query(rest)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok(Parts {
        login,
        found: read(authority, path)?,
        query,
    })
}

pub(super) fn split_query(rest: &str) -> Result<(&str, &str)> {
    if rest.contains('#') {
        return Err(bad_setting("a # in the URL must be percent-encoded as %23"));
    }
    Ok(rest.split_once('?').unwrap_or((rest, "")))
}

/// Returns whether each part is of the form `name=value`.
fn could_be_query(query: &str) -> bool {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let mut parts = query.split('&').filter(|part| !part.is_empty());
    parts.all(|part| part.split_once('=').is_some_and(|(name, _)| is_name(name)))
}

/// Returns whether this is a host followed by settings. Either the port is numeric or missing and
/// each setting has the form `name=value`, or the name of at least one setting is known.
fn is_host_with_settings(authority: &str, tail: &str) -> bool {
    let Some((_, query)) = tail.split_once('?') else {
        return false;
    };
    let server = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    if host.is_empty() {
        return false;
    }
    let mut names = query.split('&').filter_map(|part| part.split_once('='));
    (port.bytes().all(|byte| byte.is_ascii_digit()) && could_be_query(query))
        || names.any(|(name, _)| parameters::is_known(name))
}
