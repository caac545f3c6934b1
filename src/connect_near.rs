//! The settings of a near cache in a URL.

use std::{borrow::Cow, time::Duration};

use codex_traits::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;

const SIZE: &str = "near";
const STALENESS: &str = "near_staleness";
const MAX_VALUE: &str = "near_max_value";

/// The near cache settings of a URL.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names of the builder's settings")]
pub(crate) struct NearSettings {
    pub(crate) max_bytes: usize,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) max_value_bytes: Option<usize>,
}

/// Removes the settings of a near cache from a URL. Returns the remaining URL and the settings, if
/// any.
///
/// A query that contains an `@` may be part of a password. It is left unchanged unless the Redis
/// backend reads it as settings too.
pub(crate) fn split(url: &str) -> Result<(String, Option<NearSettings>)> {
    let is_query = |(front, query): &(&str, &str)| !query.contains('@') || are_settings(front, query);
    let Some((front, query)) = url.rsplit_once('?').filter(is_query) else {
        return Ok((url.to_owned(), None));
    };
    let (mut size, mut staleness, mut max_value) = (None, None, None);
    let mut is_lazy = false;
    let mut rest: Vec<&str> = Vec::new();
    for part in query.split('&') {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        // As in the other settings. A value that is not UTF-8 is none that a setting has.
        let value = percent_decode_str(value).decode_utf8().unwrap_or(Cow::Borrowed(""));
        let (place, name) = match name {
            SIZE => (&mut size, SIZE),
            STALENESS => (&mut staleness, STALENESS),
            MAX_VALUE => (&mut max_value, MAX_VALUE),
            _ => {
                is_lazy |= name.eq_ignore_ascii_case("lazy") && value.eq_ignore_ascii_case("true");
                rest.push(part);
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err(refused(name, "is given twice in the URL"));
        }
    }
    let Some(size) = size else {
        let alone = staleness.map(|_| STALENESS).or(max_value.map(|_| MAX_VALUE));
        return match alone {
            Some(name) => Err(refused(
                name,
                "needs `near`, the size of the near cache, as in near=64MiB",
            )),
            None => Ok((url.to_owned(), None)),
        };
    };
    if is_lazy {
        return Err(lazy());
    }
    let settings = NearSettings {
        max_bytes: bytes(SIZE, &size)?,
        max_staleness: staleness.map(|value| duration(&value)).transpose()?,
        max_value_bytes: max_value.map(|value| bytes(MAX_VALUE, &value)).transpose()?,
    };
    let rest = rest.join("&");
    let url = if rest.is_empty() {
        front.to_owned()
    } else {
        format!("{front}?{rest}")
    };
    Ok((url, Some(settings)))
}

/// Returns whether `query` consists of settings, although it contains an `@`: it follows the path
/// of a socket or a server, and each part has the form `name=value`.
fn are_settings(front: &str, query: &str) -> bool {
    let rest = front.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let server = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
    let is_server = !host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        !name.is_empty() && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    let mut parts = query.split('&').filter(|part| !part.is_empty());
    (rest.starts_with('/') || is_server)
        && parts.all(|part| part.split_once('=').is_some_and(|(name, _)| is_name(name)))
}

/// Returns the error for a near cache of a lazily connected backend.
pub(crate) fn lazy() -> Error {
    refused(
        SIZE,
        "needs a server that is reached at the start, because a near cache must be refused if the server cannot track: \
         use `connect` without `lazy=true`",
    )
}

pub(crate) fn refused(name: &'static str, expected: &'static str) -> Error {
    Error::new(ErrorKind::Config, "connect", format!("{name}: {expected}"))
}

fn number(value: &str) -> Option<(u64, &str)> {
    let end = value.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = value.split_at(end);
    Some((digits.parse().ok()?, unit))
}

fn bytes(name: &'static str, value: &str) -> Result<usize> {
    let bytes = number(value).and_then(|(count, unit)| {
        let unit: u64 = match unit {
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        usize::try_from(count.checked_mul(unit)?)
            .ok()
            .filter(|bytes| *bytes > 0)
    });
    bytes.ok_or_else(|| {
        refused(
            name,
            "must be a whole number and B, KiB, MiB or GiB in the URL, as in 64MiB",
        )
    })
}

fn duration(value: &str) -> Result<Duration> {
    let duration = number(value).and_then(|(count, unit)| match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" => count.checked_mul(60).map(Duration::from_secs),
        "h" => count.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    });
    duration.ok_or_else(|| {
        refused(
            STALENESS,
            "must be a whole number and ms, s, m or h in the URL, as in 1s",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_taken_out_and_the_others_left() {
        let (url, near) =
            split("redis://u:p@h/2?near=64MiB&connections=3&near_staleness=500ms&near_max_value=8KiB").unwrap();
        assert_eq!(url, "redis://u:p@h/2?connections=3");
        let near = near.unwrap();
        assert_eq!((near.max_bytes, near.max_value_bytes), (64 << 20, Some(8 << 10)));
        assert_eq!(near.max_staleness, Some(Duration::from_millis(500)));
        let (url, near) = split("redis://h?near=1GiB").unwrap();
        assert_eq!((url.as_str(), near.unwrap().max_bytes), ("redis://h", 1 << 30));
        let encoded = "redis://h?near=64%4diB&near_staleness=%35s&near_max_value=8K%69B&client_name=a%2Db";
        let (url, near) = split(encoded).unwrap();
        assert_eq!(url, "redis://h?client_name=a%2Db");
        let near = near.unwrap();
        assert_eq!((near.max_bytes, near.max_value_bytes), (64 << 20, Some(8 << 10)));
        assert_eq!(near.max_staleness, Some(Duration::from_secs(5)));
        // An `@` in a setting is none of a password.
        for front in ["redis://h", "redis://u:p@h:6379/0", "redis+unix:///tmp/socket"] {
            let (url, near) = split(&format!("{front}?client_name=a@b&near=1MiB")).unwrap();
            assert_eq!(url, format!("{front}?client_name=a@b"));
            assert_eq!(near.unwrap().max_bytes, 1 << 20);
        }
        for plain in [
            "redis://h",
            "redis://h?connections=3",
            "redis://:a?near=1MiB&b@h/1",
            "redis://:a?near=1MiB&b=c@h/1",
            "redis://u:a?near=1MiB&b=c@h/1",
        ] {
            assert_eq!(split(plain).unwrap(), (plain.to_owned(), None));
        }
    }

    #[test]
    fn a_bad_setting_is_named_with_what_was_expected_and_never_shown() {
        for (query, expected) in [
            ("near=hunter2", "near: must be a whole number and B, KiB, MiB or GiB"),
            ("near=64MB", "near: must be"),
            ("near=0MiB", "near: must be"),
            ("near=", "near: must be"),
            ("near=99999999999999999GiB", "near: must be"),
            ("near=64%4", "near: must be"),
            ("near=64%ffMiB", "near: must be"),
            ("near=1MiB&near=2MiB", "near: is given twice"),
            ("near_staleness=1s", "near_staleness: needs `near`"),
            (
                "near=1MiB&near_staleness=1",
                "near_staleness: must be a whole number and ms, s, m or h",
            ),
            ("near=1MiB&near_max_value=x", "near_max_value: must be"),
            (
                "near=1MiB&lazy=true",
                "near: needs a server that is reached at the start",
            ),
            (
                "near=1MiB&lazy=%74rue",
                "near: needs a server that is reached at the start",
            ),
        ] {
            let error = split(&format!("redis://h?{query}")).unwrap_err();
            assert!(error.to_string().contains(expected), "{query}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
