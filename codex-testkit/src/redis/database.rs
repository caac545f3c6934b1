//! An empty database for a single test.

use std::{
    fmt,
    io::Write as _,
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use redis::{Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, RedisResult, Value, cmd};

use super::{
    cleaning::{self, Cleaning, is_refused, said},
    numbers::Numbers,
    raw::{Raw, dial},
    registry::{Registry, left_behind},
    server::RedisServer,
    shared::{Shared, reach, shared},
};
use crate::require::Unavailable;

/// The time to wait for a database that another process holds.
const PATIENCE: Duration = Duration::from_secs(120);

/// An empty database for exclusive use until it is dropped, by default on the shared server; see
/// [the module](super).
pub struct Database {
    number: u32,
    url: String,
    unix_url: Option<String>,
    tls_url: Option<String>,
    raw: Raw,
    lease: Lease,
    /// The query of the URL that was passed to [`lease_from`](Self::lease_from), such as
    /// `protocol=resp3`.
    settings: String,
}

enum Lease {
    /// A number on a server that the tests have started.
    Number(&'static Numbers),
    /// A claim on a database of a server that the tests have not started.
    Claim {
        /// A subscription, which other processes can see. It ends with the connection, even if its
        /// holder crashes.
        _subscription: Connection,
        cleaning: Cleaning,
        /// Notified when the database is returned.
        registry: Option<Arc<Registry>>,
    },
}

impl Database {
    /// Acquires a lease on an empty database of the shared server. Blocks for up to two minutes
    /// while other tests hold the empty databases of a given server.
    ///
    /// On a server that `CODEX_TEST_REDIS_URL` names, only leased databases are modified, and a
    /// database that holds data is never leased. A database number in that URL is ignored; its
    /// settings, such as `protocol=resp3`, apply to every leased database.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there is no server, or no empty database on it.
    pub fn lease() -> Result<Self, Unavailable> {
        match shared()? {
            Shared::Given { info, url } => Self::claim(info, None, settings_of(url), PATIENCE),
            Shared::Process(server) => Self::lease_on(server),
            Shared::Container(container, numbers) => {
                Self::number_of(numbers, |number| (container.database_url(number), None, None))
            }
        }
    }

    /// Acquires a lease on an empty database of this server, which the tests have started.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if all of its databases are leased, or if a used database could not be
    /// emptied.
    pub fn lease_on(server: &'static RedisServer) -> Result<Self, Unavailable> {
        Self::number_of(server.numbers(), |number| {
            (
                server.database_url(number),
                Some(server.database_unix_url(number)),
                server.database_tls_url(number),
            )
        })
    }

    /// Returns a database of a server that the tests have started. `urls` returns its URLs for TCP,
    /// a Unix socket and TLS.
    fn number_of(
        numbers: &'static Numbers,
        urls: impl FnOnce(u32) -> (String, Option<String>, Option<String>),
    ) -> Result<Self, Unavailable> {
        let (number, was_used) = numbers
            .take()
            .ok_or_else(|| Unavailable::new("every database of the test server is leased"))?;
        let (url, unix_url, tls_url) = urls(number);
        let info = url
            .as_str()
            .into_connection_info()
            .map_err(|error| Unavailable::new(error.to_string()))?;
        let database = Self {
            number,
            url,
            unix_url,
            tls_url,
            raw: Raw::new(info),
            lease: Lease::Number(numbers),
            settings: String::new(),
        };
        if was_used {
            database
                .flush()
                .map_err(|error| Unavailable::new(format!("a used database could not be emptied: {error}")))?;
        }
        Ok(database)
    }

    /// Acquires a lease on an empty database of the server that `url` names, by the rules for a
    /// given server. If `url` names a database (`redis://localhost/5`, `?db=5` for a socket), no
    /// other database is used.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if the server does not answer, if it has no such empty database, or if it
    /// refuses a command that is needed to empty the database again. Nothing has been written in
    /// that case.
    pub fn lease_from(url: &str) -> Result<Self, Unavailable> {
        Self::claim(&reach(url)?, named_database(url)?, settings_of(url), PATIENCE)
    }

    /// Acquires a lease as [`lease_from`](Self::lease_from) does, but does not wait if every empty
    /// database is in use.
    pub(super) fn lease_at_once(url: &str) -> Result<Self, Unavailable> {
        Self::claim(&reach(url)?, named_database(url)?, settings_of(url), Duration::ZERO)
    }

    /// Registers this database in `registry`, which is notified when the database is returned.
    pub(super) fn registered_in(mut self, registry: &Arc<Registry>) -> Self {
        if let Lease::Claim {
            cleaning,
            registry: own,
            ..
        } = &mut self.lease
        {
            registry.register(self.number, self.raw.another(), *cleaning);
            *own = Some(registry.clone());
        }
        self
    }

    /// Returns a database of a server that the tests have not started: the database `only`, or any
    /// empty database.
    fn claim(
        info: &ConnectionInfo,
        only: Option<u32>,
        settings: &str,
        patience: Duration,
    ) -> Result<Self, Unavailable> {
        let failed = |error: RedisError| Unavailable::new(unclaimed(&error));
        let numbers: Vec<u32> = only.map_or_else(|| (0..databases_of(info)).collect(), |number| vec![number]);
        let deadline = Instant::now() + patience;
        loop {
            let mut held = 0;
            for &number in &numbers {
                let Some(claim) = claim_number(info, number).map_err(failed)? else {
                    held += 1;
                    continue;
                };
                let selected = info
                    .clone()
                    .set_redis_settings(info.redis_settings().clone().set_db(i64::from(number)));
                let raw = Raw::new(selected);
                if cleaning::keys(&raw).map_err(failed)? == 0 {
                    let (url, unix_url) = urls_of(info, number, settings);
                    let cleaning = Cleaning::of(&raw)?;
                    return Ok(Self {
                        number,
                        url,
                        unix_url,
                        tls_url: None,
                        raw,
                        lease: Lease::Claim {
                            _subscription: claim,
                            cleaning,
                            registry: None,
                        },
                        settings: settings.to_owned(),
                    });
                }
            }
            if held == 0 {
                return Err(Unavailable::new(match only {
                    Some(number) => format!("database {number} of the given server is not empty, and so is left alone"),
                    None => format!("none of the {} databases of the given server is empty", numbers.len()),
                }));
            }
            if Instant::now() > deadline {
                return Err(Unavailable::new(format!(
                    "no empty database within {} s: of {}, {held} are in use by other tests",
                    patience.as_secs(),
                    numbers.len()
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns the database's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Returns the URL of this database, `redis://<host>:<port>/<number>`, with the credentials of
    /// a given server, and with the settings in the URL that was passed to
    /// [`lease_from`](Self::lease_from).
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the [URL](Self::url) with timeouts of 10 s for connections and commands, unless the
    /// URL that was passed to [`lease_from`](Self::lease_from) sets others. It suits tests that do
    /// not check deadlines: on a busy machine, an answer can take longer than the default of a
    /// client.
    pub fn patient_url(&self) -> String {
        patient(self.url.clone())
    }

    /// Returns the URL for the Unix socket, `redis+unix:///<path>?db=<number>`, if the tests have
    /// started the server or the URL of a given server names a socket.
    pub fn unix_url(&self) -> Option<String> {
        self.unix_url.clone()
    }

    /// Returns the URL for TLS, `rediss://127.0.0.1:<port>/<number>`, if the server was started
    /// with certificates.
    pub fn tls_url(&self) -> Option<String> {
        self.tls_url.clone()
    }

    /// Sends one command to this database, bypassing any backend: for example to plant a list
    /// (`["RPUSH", key, "x"]`) or a key that is not UTF-8, or to read raw bytes.
    ///
    /// # Errors
    ///
    /// Any failure of the server or the connection.
    pub fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Result<Value, RedisError> {
        self.raw.command(parts)
    }

    /// Empties this database.
    ///
    /// # Errors
    ///
    /// Any failure of the server or the connection.
    pub fn flush(&self) -> Result<(), RedisError> {
        self.command(&["FLUSHDB"]).map(drop)
    }

    /// Returns the reason to avoid patterns with many stars on this server, or `None` if they are
    /// safe. Implements [`Harness::avoids_many_stars`](crate::Harness::avoids_many_stars) for any
    /// client.
    pub fn avoids_many_stars(&self) -> Option<&'static str> {
        cleaning::avoids_many_stars(cleaning::server_info(&self.raw).as_deref())
    }

    /// Returns the address of the server, unless it uses TLS.
    pub(super) fn upstream(&self) -> Option<ConnectionAddr> {
        let address = self.raw.address();
        matches!(address, ConnectionAddr::Tcp(..) | ConnectionAddr::Unix(_)).then(|| address.clone())
    }

    /// Returns the URL of this database behind a proxy that listens at `proxy`.
    pub(super) fn url_through(&self, proxy: SocketAddr) -> String {
        let login = login_of(self.raw.info());
        format!("redis://{login}{proxy}/{}{}", self.number, query("?", &self.settings))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is left out, because a given URL may hold a password.
        f.debug_struct("Database")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        match &self.lease {
            // A reused number is emptied again, but the tests' values would accumulate in memory
            // until then.
            Lease::Number(numbers) => {
                if self.command(&["FLUSHDB", "ASYNC"]).is_ok() {
                    numbers.give_back(self.number);
                }
            }
            // The claim must still hold while the database is emptied.
            Lease::Claim { cleaning, registry, .. } => {
                let cleaned = cleaning.clean(&self.raw);
                if let Err(reason) = &cleaned {
                    // Written directly to the stream, because the test harness captures the output
                    // of the print macros. A closed stream is ignored.
                    let _ = writeln!(
                        std::io::stderr(),
                        "\nCODEX-LEFT-BEHIND {}",
                        left_behind(self.number, reason)
                    );
                }
                if let Some(registry) = registry {
                    registry.release(self.number, cleaned);
                } else if let Err(reason) = cleaned
                    && !thread::panicking()
                {
                    panic!("{}", left_behind(self.number, &reason));
                }
            }
        }
    }
}

/// Claims a number through the subscribers of a channel, because a claim must not write a key to a
/// server that the tests have not started. Each process subscribes first and then counts the
/// subscribers. If two processes do so at once, at least one of them sees the other and gives way.
fn claim_number(info: &ConnectionInfo, number: u32) -> RedisResult<Option<Connection>> {
    let channel = format!("codex-testkit:database:{number}");
    if subscribers(info, &channel)? > 0 {
        return Ok(None);
    }
    let mut claim = dial(info)?;
    claim.send_packed_command(&cmd("SUBSCRIBE").arg(&channel).get_packed_command())?;
    claim.recv_response()?.extract_error()?;
    Ok((subscribers(info, &channel)? == 1).then_some(claim))
}

fn subscribers(info: &ConnectionInfo, channel: &str) -> RedisResult<u64> {
    let (_, count): (String, u64) = cmd("PUBSUB").arg("NUMSUB").arg(channel).query(&mut dial(info)?)?;
    Ok(count)
}

/// Returns the message for a failed claim, with the permissions that may be missing.
fn unclaimed(error: &RedisError) -> String {
    let said = said(error);
    if is_refused(error) {
        return format!(
            "no database could be claimed ({said}), so nothing was written: the suite needs SELECT, SUBSCRIBE and PUBSUB NUMSUB on \
             channels `codex-testkit:*`, and SCAN or DBSIZE; for an ACL user: `+select +subscribe +pubsub +scan +dbsize \
             &codex-testkit:*`"
        );
    }
    format!("no database could be claimed: {said}")
}

/// Returns the number of databases, or Redis's default of 16 if the server does not report it.
fn databases_of(info: &ConnectionInfo) -> u32 {
    let asked = dial(info).and_then(|mut connection| {
        cmd("CONFIG")
            .arg("GET")
            .arg("databases")
            .query::<(String, u32)>(&mut connection)
    });
    asked.map_or(16, |(_, count)| count)
}

/// Returns the database that `url` names explicitly.
fn named_database(url: &str) -> Result<Option<u32>, Unavailable> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let number = if scheme.contains("unix") {
        query.split('&').find_map(|pair| pair.strip_prefix("db="))
    } else {
        before.split_once('/').map(|(_, path)| path)
    };
    match number {
        None | Some("") => Ok(None),
        Some(number) => number.parse().map(Some).map_err(|_| {
            Unavailable::new("the database in the URL is not a number: expected a URL such as redis://localhost:6379/5")
        }),
    }
}

/// Returns the query of a URL, such as `protocol=resp3&command_timeout=1s`.
fn settings_of(url: &str) -> &str {
    url.split_once('?').map_or("", |(_, query)| query)
}

/// Returns `before` and these settings without a database, which the caller adds elsewhere. Returns
/// an empty string if there are no other settings.
fn query(before: &str, settings: &str) -> String {
    let others: Vec<&str> = settings
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("db="))
        .collect();
    if others.is_empty() {
        return String::new();
    }
    format!("{before}{}", others.join("&"))
}

fn login_of(info: &ConnectionInfo) -> String {
    let settings = info.redis_settings();
    let user = settings.username().map(encoded).unwrap_or_default();
    settings
        .password()
        .map(|password| format!("{user}:{}@", encoded(password)))
        .unwrap_or_default()
}

fn urls_of(info: &ConnectionInfo, number: u32, settings: &str) -> (String, Option<String>) {
    let login = login_of(info);
    match info.addr() {
        ConnectionAddr::Unix(path) => {
            let others = query("&", settings);
            let url = format!("redis+unix://{login}{}?db={number}{others}", path.display());
            (url.clone(), Some(url))
        }
        ConnectionAddr::Tcp(host, port) if host.contains(':') => {
            let others = query("?", settings);
            (format!("redis://{login}[{host}]:{port}/{number}{others}"), None)
        }
        address => {
            let others = query("?", settings);
            (format!("redis://{login}{address}/{number}{others}"), None)
        }
    }
}

fn patient(mut url: String) -> String {
    for setting in ["connect_timeout", "command_timeout"] {
        if !url.contains(&format!("{setting}=")) {
            let separator = if url.contains('?') { '&' } else { '?' };
            url = format!("{url}{separator}{setting}=10s");
        }
    }
    url
}

fn encoded(text: &str) -> String {
    let encode = |byte: u8| match char::from(byte) {
        plain if plain.is_ascii_alphanumeric() => plain.to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_a_url_are_kept_and_its_database_is_not() {
        for (url, number, expected) in [
            ("redis://h:1/3", 3, "redis://h:1/3"),
            (
                "redis://u:p%40@h:1?protocol=resp3",
                7,
                "redis://u:p%40@h:1/7?protocol=resp3",
            ),
            (
                "redis+unix:///s?db=2&protocol=resp3",
                2,
                "redis+unix:///s?db=2&protocol=resp3",
            ),
        ] {
            let info = url.into_connection_info().unwrap();
            assert_eq!(urls_of(&info, number, settings_of(url)).0, expected);
        }
    }

    #[test]
    fn a_patient_url_keeps_the_settings_of_the_url() {
        for (url, expected) in [
            ("redis://h:1", "redis://h:1?connect_timeout=10s&command_timeout=10s"),
            (
                "redis+unix:///s?db=2&command_timeout=1m",
                "redis+unix:///s?db=2&command_timeout=1m&connect_timeout=10s",
            ),
        ] {
            assert_eq!(patient(url.to_owned()), expected);
        }
    }

    #[test]
    fn a_database_is_named_by_the_url_or_not_at_all() {
        for (url, named) in [
            ("redis://localhost", None),
            ("redis://localhost:6379/", None),
            ("redis://user:pass@localhost:6379/0", Some(0)),
            ("redis://[::1]:6379/15?protocol=resp3", Some(15)),
            ("redis+unix:///tmp/redis/socket", None),
            ("redis+unix:///tmp/redis/socket?pass=x&db=3", Some(3)),
        ] {
            assert_eq!(named_database(url).unwrap(), named, "{url}");
        }
        for url in [
            "redis://localhost/five",
            "redis://localhost/-1",
            "redis://localhost/4294967296",
        ] {
            assert!(named_database(url).is_err(), "{url}");
        }
    }
}
