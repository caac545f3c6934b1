//! The emptying of databases, including on servers that do not allow every command.

use redis::{FromRedisValue as _, RedisError, Value};

use super::raw::Raw;
use crate::require::Unavailable;

/// The number of keys per DEL, and the hint of a SCAN.
const BATCH: usize = 1_000;

/// The way in which a database is emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cleaning {
    /// By FLUSHDB.
    Flush,
    /// By SCAN and DEL, because FLUSHDB is renamed or forbidden.
    ScanAndDelete,
}

impl Cleaning {
    /// Determines how the database can be emptied. It must be empty now.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the database could not be emptied. Nothing may be written to it then.
    pub(super) fn of(raw: &Raw) -> Result<Self, Unavailable> {
        let Err(flush) = raw.command(&["FLUSHDB"]) else {
            return Ok(Self::Flush);
        };
        let missing = "codex-testkit:no-such-key";
        let scan = raw.command(&["SCAN", "0"]).err().map(|error| ("SCAN", error));
        let delete = raw.command(&["DEL", missing]).err().map(|error| ("DEL", error));
        match scan.or(delete) {
            None => Ok(Self::ScanAndDelete),
            Some((command, error)) => Err(Unavailable::new(format!(
                "the suite could not empty a database again, so nothing was written: FLUSHDB is refused ({}), and so is \
                 {command} ({}); allow FLUSHDB, or SCAN and DEL",
                said(&flush),
                said(&error)
            ))),
        }
    }

    /// Empties the database, and checks that it is empty.
    ///
    /// # Errors
    ///
    /// The server's error, or the number of remaining keys.
    pub(super) fn clean(self, raw: &Raw) -> Result<(), String> {
        let cleaned = match self {
            Self::Flush => raw.command(&["FLUSHDB"]).map(drop),
            Self::ScanAndDelete => scan_and_delete(raw),
        };
        cleaned.map_err(|error| said(&error))?;
        match keys(raw).map_err(|error| said(&error))? {
            0 => Ok(()),
            left => Err(format!("{left} keys are left")),
        }
    }
}

/// Returns the number of keys. Counts them with SCAN if DBSIZE is refused.
pub(super) fn keys(raw: &Raw) -> Result<u64, RedisError> {
    if let Ok(count) = raw.command(&["DBSIZE"]) {
        return Ok(u64::from_redis_value(count)?);
    }
    let mut count = 0;
    each_page(raw, |keys| {
        count += keys.len() as u64;
        Ok(())
    })?;
    Ok(count)
}

fn scan_and_delete(raw: &Raw) -> Result<(), RedisError> {
    each_page(raw, |keys| {
        for batch in keys.chunks(BATCH) {
            let mut command = vec![b"DEL".to_vec()];
            command.extend_from_slice(batch);
            raw.command(&command)?;
        }
        Ok(())
    })
}

/// Passes the keys to `visit`, page by page. A key that exists throughout is visited, possibly
/// twice.
fn each_page(raw: &Raw, mut visit: impl FnMut(&[Vec<u8>]) -> Result<(), RedisError>) -> Result<(), RedisError> {
    let mut cursor = "0".to_owned();
    loop {
        let page = raw.command(&["SCAN", &cursor, "COUNT", &BATCH.to_string()])?;
        let (next, keys): (String, Vec<Vec<u8>>) = redis::FromRedisValue::from_redis_value(page)?;
        visit(&keys)?;
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

/// Returns the server's error text. It reveals no secret, because the kit's own commands contain
/// none.
pub(super) fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Returns whether this user may not run the command, or the server does not know it.
pub(super) fn is_refused(error: &RedisError) -> bool {
    error.code().is_some_and(|code| matches!(code, "NOPERM" | "ERR"))
}

/// Returns the reason to avoid patterns with many stars, given a server's answer to `INFO server`,
/// or `None` if such patterns are safe.
pub(super) fn avoids_many_stars(info: Option<&str>) -> Option<&'static str> {
    let Some(info) = info else {
        return Some(
            "the server does not report its version (INFO is refused), and Redis before 6.0.18, 6.2.11 and 7.0.9 blocks all \
             clients while it matches such a pattern (CVE-2022-36021)",
        );
    };
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    // Valkey was forked from a Redis with the fix. It reports that Redis's version as well as its
    // own.
    if field("server_name") == Some("valkey") || field("valkey_version").is_some() {
        return None;
    }
    let version: Vec<u32> = field("redis_version")
        .unwrap_or_default()
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect();
    let is_safe = match *version.as_slice() {
        [6, 0, patch, ..] => patch >= 18,
        [6, 2, patch, ..] => patch >= 11,
        [7, 0, patch, ..] => patch >= 9,
        [7, minor, ..] => minor >= 2,
        [major, ..] => major >= 8,
        [] => false,
    };
    if is_safe {
        return None;
    }
    Some(
        "Redis before 6.0.18, 6.2.11 and 7.0.9 blocks all clients while it matches such a pattern (CVE-2022-36021), and this \
         server reports such a version or none",
    )
}

/// Returns `INFO server`, if the server answers it.
pub(super) fn server_info(raw: &Raw) -> Option<String> {
    match raw.command(&["INFO", "server"]).ok()? {
        Value::BulkString(info) => String::from_utf8(info).ok(),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_spared_patterns_with_many_stars() {
        for (version, is_safe) in [
            ("5.0.14", false),
            ("6.0.17", false),
            ("6.0.18", true),
            ("6.2.5", false),
            ("6.2.11", true),
            ("6.3.4", false),
            ("7.0.8", false),
            ("7.0.15", true),
            ("7.2.4", true),
            ("7.4.0", true),
            ("8.2.1", true),
            ("10.0.0", true),
            ("255.255.255", true),
            ("unstable", false),
            ("", false),
        ] {
            let info = format!("# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n");
            assert_eq!(avoids_many_stars(Some(&info)).is_none(), is_safe, "{version}");
        }
        let valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n";
        assert_eq!(avoids_many_stars(Some(valkey)), None);
        assert!(avoids_many_stars(Some("# Server\r\n")).is_some());
        assert!(avoids_many_stars(None).is_some());
    }
}
