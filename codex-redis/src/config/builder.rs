//! Every setting of the backend.

mod check;
mod limits;
mod login;
mod place;

use std::{fmt, time::Duration};

use codex_traits::Result;
use zeroize::Zeroizing;

use super::{
    address_map::AddressMap,
    credentials::LoginSource,
    settings::{Address, RespVersion, Target},
    url,
};

/// Settings of a [`RedisBackend`](crate::RedisBackend), checked when it is built.
///
/// | setting | meaning |
/// |---|---|
/// | [`url`](Self::url) | address, database, user, password and settings in one string |
/// | [`tcp`](Self::tcp), [`unix_socket`](Self::unix_socket) | the address of one server |
/// | [`sentinel`](Self::sentinel) | Sentinels, and the name of their primary |
/// | [`cluster`](Self::cluster) | some nodes of a cluster; the others are discovered |
/// | [`database`](Self::database) | the number of the database |
/// | [`username`](Self::username), [`password`](Self::password) | the login; the password is wiped when dropped, and never printed |
/// | [`sentinel_username`](Self::sentinel_username), [`sentinel_password`](Self::sentinel_password) | the login to the Sentinels themselves |
/// | [`credentials`](Self::credentials), [`sentinel_credentials`](Self::sentinel_credentials) | a function that returns user and password at each login |
/// | `tls` (feature `tls`) | TLS, root certificates, and a client certificate |
/// | [`address_map`](Self::address_map) | the translation of addresses that servers announce |
/// | [`lazy`](Self::lazy) | whether the first call dials, instead of [`build`](Self::build) |
/// | [`command_timeout`](Self::command_timeout) | the deadline of a call: waiting, dialling and answer, and [more for large data](crate#deadline) |
/// | [`transfer_timeout`](Self::transfer_timeout) | the longest deadline of a call with large data |
/// | [`connect_timeout`](Self::connect_timeout) | the deadline of a dial: name, connection, TLS, login and first answer |
/// | [`connections`](Self::connections) | connections per runtime, each shared by any number of calls |
/// | [`max_in_flight`](Self::max_in_flight) | concurrent calls on a runtime; others wait within their deadline |
/// | [`max_waiting`](Self::max_waiting) | calls that may wait; further calls fail immediately |
/// | [`max_reply_bytes`](Self::max_reply_bytes) | memory of the replies on one connection |
/// | [`timeouts_before_redial`](Self::timeouts_before_redial) | timeouts in a row after which a connection is closed |
/// | [`backoff`](Self::backoff) | the pause after a failed dial, doubled each time, with jitter |
/// | [`keepalive`](Self::keepalive) | TCP keepalive; on Linux, data that stays unacknowledged for 10 s also ends the connection |
/// | [`client_name`](Self::client_name) | the name in the server's `CLIENT LIST` |
/// | [`resp`](Self::resp) | the protocol version |
/// | [`slow_command`](Self::slow_command) | the duration above which a round trip is reported by a `tracing` event |
///
/// `docs/redis.md` in the repository lists the default of each with its reason, and its name in a
/// URL.
///
/// A later setting replaces an earlier setting, so a call after [`url`](Self::url) overrides a part
/// of the URL.
///
/// ```no_run
/// # use std::time::Duration;
/// # use codex_redis::RedisBackend;
/// # async fn example() -> codex_traits::Result<()> {
/// let backend = RedisBackend::builder()
///     .url("redis://cache.internal/3")
///     .password(std::env::var("REDIS_PASSWORD").unwrap_or_default())
///     .command_timeout(Duration::from_millis(200))
///     .build()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is dialled before `build`"]
pub struct RedisBuilder {
    // The first bad setting. `build` returns it, so that calls can be chained.
    pub(super) refused: Option<codex_traits::Error>,
    pub(super) target: Target,
    pub(super) sentinel_username: Option<String>,
    pub(super) sentinel_password: Option<Zeroizing<String>>,
    pub(super) database: u32,
    pub(super) username: Option<String>,
    pub(super) password: Option<Zeroizing<String>>,
    credentials: Option<LoginSource>,
    sentinel_credentials: Option<LoginSource>,
    pub(super) lazy: bool,
    pub(super) address_map: Option<AddressMap>,
    pub(super) tls_by_url: bool,
    pub(super) tls_parameters: super::parameters::TlsParameters,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::RedisTls>,
    pub(super) connections: usize,
    pub(super) command_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) transfer_timeout: Duration,
    pub(super) max_in_flight: usize,
    pub(super) max_waiting: usize,
    pub(super) max_reply_bytes: usize,
    pub(super) timeouts_before_redial: u32,
    pub(super) backoff: (Duration, Duration),
    pub(super) keepalive: Option<Duration>,
    pub(super) client_name: Option<String>,
    pub(super) resp: RespVersion,
    pub(super) slow_command: Duration,
}

impl RedisBuilder {
    pub(crate) fn new() -> Self {
        Self {
            refused: None,
            target: Target::One(Address::Tcp {
                host: "127.0.0.1".to_owned(),
                port: url::DEFAULT_PORT,
            }),
            sentinel_username: None,
            sentinel_password: None,
            database: 0,
            username: None,
            password: None,
            credentials: None,
            sentinel_credentials: None,
            lazy: false,
            address_map: None,
            tls_by_url: false,
            tls_parameters: super::parameters::TlsParameters::default(),
            #[cfg(feature = "tls")]
            tls: None,
            connections: 2,
            command_timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            transfer_timeout: Duration::from_secs(60),
            max_in_flight: 1024,
            max_waiting: 16_384,
            max_reply_bytes: 512 << 20,
            timeouts_before_redial: 3,
            backoff: (Duration::from_millis(50), Duration::from_secs(3)),
            keepalive: Some(Duration::from_secs(30)),
            client_name: Some("codex-kv".to_owned()),
            resp: RespVersion::Resp2,
            slow_command: Duration::from_millis(100),
        }
    }

    /// Reads the settings in a URL. A setting that the URL leaves out keeps its value.
    ///
    /// | URL | deployment |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]` | one server over TCP |
    /// | `redis+unix://[[user]:password@]/path`, `unix://…` | one server over a Unix socket |
    /// | `redis-sentinel://[[user]:password@]host[:port],.../name[/database]` | [the primary](Self::sentinel) of that name |
    /// | `redis-cluster://[[user]:password@]host[:port],...` | [the cluster](Self::cluster) |
    /// | `rediss://`, `rediss-sentinel://`, `rediss-cluster://` | the same over TLS (feature `tls`), to the Sentinels too |
    ///
    /// Schemes are case-insensitive. `valkey` and `valkeys` are synonyms of `redis` and `rediss`.
    ///
    /// A URL may end with settings: `?command_timeout=200ms&connections=4`. They are named after
    /// the builder's methods. The other names are `db`, `backoff_min`, `backoff_max` and, for TLS,
    /// `tls_ca_file`, `tls_cert_file`, `tls_key_file` (paths of PEM files) and `tls_server_name`. A
    /// duration is a whole number with the unit `ms`, `s`, `m` or `h`. `keepalive=off` and an empty
    /// `client_name` mean `None`. `resp` is 2 or 3. An unknown name, a repeated name and a
    /// malformed value are errors. For a setting of another client, the error names the equivalent
    /// here: `command_timeout=5s` for `socket_timeout=5`.
    ///
    /// User name, password, path, the primary's name and the values of settings are
    /// percent-decoded. `:@` before the host means no login. The authority ends at the first `/`,
    /// `?` or `#`. If the URL is not valid when read that way, the last `@` ends the password, so
    /// most passwords work without encoding.
    pub fn url(mut self, url: &str) -> Self {
        let taken = url::parse(url).and_then(|parsed| self.take(parsed));
        if let Err(error) = taken {
            self.refused.get_or_insert(error);
        }
        self
    }

    fn take(&mut self, parsed: url::Parsed<'_>) -> Result<()> {
        self.target = parsed.target;
        self.tls_by_url = parsed.tls;
        self.tls_parameters = super::parameters::TlsParameters::default();
        self.database = parsed.database.unwrap_or(self.database);
        if let Some(login) = parsed.login {
            self.username = login.user;
            self.password = Some(login.password);
        }
        self.parameters(parsed.query, parsed.database.is_some())
    }
}

// The address is left out: it can contain a part of a misplaced password.
impl fmt::Debug for RedisBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBuilder")
            .field("database", &self.database)
            .field("connections", &self.connections)
            .field("command_timeout", &self.command_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}
