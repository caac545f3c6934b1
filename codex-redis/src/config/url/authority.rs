//! Login, host and port in a URL.

use std::net::Ipv6Addr;

use codex_traits::Result;
use zeroize::Zeroizing;

use super::decoded;
use crate::config::{
    credentials::Login,
    settings::{Address, bad_setting},
};

/// Parses `user:password`. There is no login if both are empty: templates turn an unset password
/// into `redis://:@host`.
pub(super) fn login(text: &str) -> Result<Option<Login>> {
    if text.is_empty() {
        return Ok(None);
    }
    let Some((user, password)) = text.split_once(':') else {
        return Err(bad_setting(
            "a user name in a URL must have a password: `user:password@host`, or `:password@host` without a user name",
        ));
    };
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    let password = Zeroizing::new(decoded(password)?);
    if user.is_none() && password.is_empty() {
        return Ok(None);
    }
    Ok(Some(Login { user, password }))
}

pub(super) fn servers(list: &str, default: u16) -> Result<Vec<Address>> {
    list.split(',').map(|authority| server(authority, default)).collect()
}

pub(in crate::config) fn server(authority: &str, default: u16) -> Result<Address> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed_host(bracketed)?,
        None => plain_host(authority)?,
    };
    let port = match port {
        None => default,
        Some(port) => parse_port(port).ok_or_else(|| {
            bad_setting(
                "the URL's port must be a number from 1 to 65535; if this is part of a password, percent-encode its \
                 special characters",
            )
        })?,
    };
    Ok(Address::Tcp { host, port })
}

/// Parses `::1]:port`, the text after the opening bracket. A zone may be `%eth0`, or `%25eth0` by
/// RFC 6874.
fn bracketed_host(text: &str) -> Result<(String, Option<&str>)> {
    let (host, port) = text
        .split_once(']')
        .ok_or_else(|| bad_setting("an IPv6 address in a URL must end with ], for example `redis://[::1]:6379`"))?;
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (host, None),
    };
    let is_zone = |zone: &str| !zone.is_empty() && zone.bytes().all(is_name_byte);
    if address.parse::<Ipv6Addr>().is_err() || zone.is_some_and(|zone| !is_zone(zone)) {
        return Err(bad_setting(
            "the brackets in a URL must hold an IPv6 address, for example `redis://[::1]:6379`",
        ));
    }
    let host = match zone {
        None => address.to_owned(),
        Some(zone) => format!("{address}%{zone}"),
    };
    match port {
        "" => Ok((host, None)),
        port => Ok((host, Some(port.strip_prefix(':').unwrap_or("")))),
    }
}

fn plain_host(text: &str) -> Result<(String, Option<&str>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if host.is_empty() {
        return Err(bad_setting(
            "the URL must name a host, for example `redis://localhost:6379/0`",
        ));
    }
    if !host.bytes().all(is_name_byte) {
        return Err(bad_setting(
            "the URL's host must be a name or an address, an IPv6 address in brackets; special characters of a \
             password must be percent-encoded",
        ));
    }
    Ok((host.to_owned(), port))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}
