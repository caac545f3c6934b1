//! Every setting of the backend.

use std::{fmt, future::Future, path::PathBuf, time::Duration};

use codex_traits::Result;
use zeroize::Zeroizing;

use super::{
    address_map::AddressMap,
    credentials::{Credentials, Login, LoginSource},
    settings::{Address, Checked, RespVersion, Settings, Target, bad_setting},
    url,
};

/// Settings of a [`RedisBackend`](crate::RedisBackend), checked when it is built.
///
/// | setting | what it is |
/// |---|---|
/// | [`url`](Self::url) | address, database, user and password in one |
/// | [`tcp`](Self::tcp), [`unix_socket`](Self::unix_socket) | where the server is |
/// | [`sentinel`](Self::sentinel) | the Sentinels that know where the primary is, and the name that they know it by |
/// | [`cluster`](Self::cluster) | nodes of a cluster, by which the others are found |
/// | [`sentinel_username`](Self::sentinel_username), [`sentinel_password`](Self::sentinel_password) | for the Sentinels themselves |
/// | [`database`](Self::database) | the number of the database |
/// | [`username`](Self::username) | of the server's ACL |
/// | [`password`](Self::password) | wiped from memory when dropped, and never printed |
/// | [`credentials`](Self::credentials), [`sentinel_credentials`](Self::sentinel_credentials) | a function that is asked for user and password at each login |
/// | [`lazy`](Self::lazy) | whether the first call dials, in place of [`build`](Self::build) |
/// | [`address_map`](Self::address_map) | the addresses that reach servers behind address translation |
/// | [`command_timeout`](Self::command_timeout) | the deadline of a round trip: waiting, dialling and answer, and [more for what is large](crate#deadline) |
/// | [`connect_timeout`](Self::connect_timeout) | for one dial: name, connection, login and a first answer |
/// | `tls` (feature `tls`) | TLS, whom to trust, and a certificate of the client's |
/// | [`connections`](Self::connections) | connections per runtime, each shared by any number of calls |
/// | [`max_in_flight`](Self::max_in_flight) | calls at a time on this handle and its clones; others wait within their deadline |
/// | [`max_waiting`](Self::max_waiting) | calls that may wait so; further calls fail immediately |
/// | [`transfer_timeout`](Self::transfer_timeout) | the longest that large data of its own may make a call take |
/// | [`max_reply_bytes`](Self::max_reply_bytes) | memory of the answers on one connection |
/// | [`timeouts_before_redial`](Self::timeouts_before_redial) | timeouts in a row after which a connection is left |
/// | [`backoff`](Self::backoff) | the pause after a failed dial, doubled each time, with jitter |
/// | [`keepalive`](Self::keepalive) | TCP keepalive; Linux also gives up after 10 s on sent data that nobody confirms |
/// | [`client_name`](Self::client_name) | what the server's `CLIENT LIST` shows |
/// | [`resp`](Self::resp) | the version of the protocol |
/// | [`slow_command`](Self::slow_command) | a round trip that takes longer is a `tracing` event |
///
/// `docs/redis.md` in the repository has the default of each with its reason, and its name in a
/// URL.
///
/// A later setting takes the place of an earlier one, so the parts of a URL can be overridden after
/// it.
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
    // The first bad setting, told at the end so that the calls can be chained.
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

    /// Reads the settings that a URL names. A setting that it leaves out keeps its value.
    ///
    /// | URL | deployment |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]` | one server over TCP |
    /// | `redis+unix://[[user]:password@]/path`, `unix://…` | one server over a Unix socket |
    /// | `redis-sentinel://[[user]:password@]host[:port],.../name[/database]` | [the primary](Self::sentinel) of that name |
    /// | `redis-cluster://[[user]:password@]host[:port],...` | [the cluster](Self::cluster) |
    /// | `rediss://`, `rediss-sentinel://`, `rediss-cluster://` | the same over TLS (feature `tls`), to the Sentinels too |
    ///
    /// Schemes are compared without case. `valkey` and `valkeys` in place of `redis` and `rediss`
    /// mean the same.
    ///
    /// A URL may end with settings: `?command_timeout=200ms&connections=4`. Their names are those
    /// of the builder's methods. In addition there are `db`, `backoff_min`, `backoff_max` and, for
    /// TLS, `tls_ca_file`, `tls_cert_file`, `tls_key_file` (paths of PEM files) and
    /// `tls_server_name`. A duration is a whole number and one of the units `ms`, `s`, `m` and `h`;
    /// `keepalive=off` and an empty `client_name` are `None`; `resp` is 2 or 3. An unknown name, a
    /// name that is given twice and a value of another form are errors. A setting under the name of
    /// another client is refused with ours beside it: `socket_timeout=5` with `command_timeout=5s`.
    ///
    /// User name, password, path, the primary's name and the values of settings are
    /// percent-decoded. `:@` before the host is no login. The authority ends at the first `/`, `?`
    /// or `#`; if that is not valid, the last `@` ends the password, so most passwords work without
    /// encoding.
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

    /// A host name or address, and a port.
    pub fn tcp(mut self, host: impl Into<String>, port: u16) -> Self {
        self.target = Target::One(Address::Tcp {
            host: host.into(),
            port,
        });
        self
    }

    /// The path of a unix socket.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.target = Target::One(Address::Unix(path.into()));
        self
    }

    /// The primary that these Sentinels know by `name`, wherever a fail-over puts it. Each is a
    /// host and a port (26379 is usual); one that answers is enough.
    pub fn sentinel<H: Into<String>>(
        mut self,
        name: impl Into<String>,
        sentinels: impl IntoIterator<Item = (H, u16)>,
    ) -> Self {
        let address = |(host, port): (H, u16)| Address::Tcp {
            host: host.into(),
            port,
        };
        self.target = Target::Sentinel {
            sentinels: sentinels.into_iter().map(address).collect(),
            name: name.into(),
        };
        self
    }

    /// The cluster that these are nodes of; the others are found through the first that answers.
    /// Each is a host and a port.
    pub fn cluster<H: Into<String>>(mut self, nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        let address = |(host, port): (H, u16)| Address::Tcp {
            host: host.into(),
            port,
        };
        self.target = Target::Cluster(nodes.into_iter().map(address).collect());
        self
    }

    /// A user of the Sentinels' own ACL; needs a [`sentinel_password`](Self::sentinel_password).
    pub fn sentinel_username(mut self, username: impl Into<String>) -> Self {
        self.sentinel_username = Some(username.into());
        self
    }

    /// The password of the Sentinels themselves. ([`password`](Self::password) is the one of the
    /// servers that they watch over.)
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(Zeroizing::new(password.into()));
        self
    }

    /// The number of the database.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// A user of the server's ACL; needs a [`password`](Self::password).
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password, as it is: not percent-encoded.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Zeroizing::new(password.into()));
        self
    }

    /// Asks `provider` for the user and the password at each login, so that credentials which
    /// rotate or expire keep working. It takes the place of [`username`](Self::username) and
    /// [`password`](Self::password).
    ///
    /// Each dial asks once, within its [`connect_timeout`](Self::connect_timeout), from the runtime
    /// that dials. A connection that is up stays logged in. An error of the provider fails the dial
    /// and is the source of the error that callers get, so its text must hold no secret.
    ///
    /// ```no_run
    /// use codex_redis::{Credentials, RedisBackend};
    ///
    /// # async fn ask_the_vault() -> std::io::Result<String> { unimplemented!() }
    /// # async fn example() -> codex_traits::Result<()> {
    /// let backend = RedisBackend::builder()
    ///     .url("rediss://cache.internal")
    ///     .credentials(|| async { Ok(Credentials::new("app", ask_the_vault().await?)) })
    ///     .build()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn credentials<P, F>(mut self, provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.credentials = Some(LoginSource::provider(provider));
        self
    }

    /// The same for the Sentinels, in place of [`sentinel_username`](Self::sentinel_username) and
    /// [`sentinel_password`](Self::sentinel_password).
    pub fn sentinel_credentials<P, F>(mut self, provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = std::result::Result<Credentials, Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        self.sentinel_credentials = Some(LoginSource::provider(provider));
        self
    }

    /// Whether no server is needed at the start: [`build`](Self::build) checks the settings and
    /// dials nothing, and the first call dials within its deadline. A wrong password is then found
    /// by that call. In a URL it is `lazy=true`.
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }

    /// Translates the addresses that nodes of a cluster or Sentinels state of servers, where
    /// network address translation makes others of them. `translate` gets host and port as stated,
    /// and returns those that reach the server from here, or `None` if they are the same. The
    /// addresses in the settings are not translated. In a URL it is
    /// `address_map=10.0.0.1:6379>203.0.113.7:7001,…`.
    pub fn address_map(
        mut self,
        translate: impl Fn(&str, u16) -> Option<(String, u16)> + Send + Sync + 'static,
    ) -> Self {
        self.address_map = Some(AddressMap::new(translate));
        self
    }

    /// TLS, also where the URL is not a `rediss://` one. Not over a unix socket.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: super::tls::RedisTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The deadline of one round trip to the server; see [the crate](crate#deadline). At least a
    /// millisecond.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// How long one dial may take. It goes on in the background where the call that began it gives
    /// up earlier. At least a millisecond.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest that a call may take with the time that its own large data adds to
    /// [`command_timeout`](Self::command_timeout): a second for every 8 MiB that it sends, or has
    /// received. At least a millisecond; if it is shorter than `command_timeout`, large data adds
    /// nothing.
    pub fn transfer_timeout(mut self, timeout: Duration) -> Self {
        self.transfer_timeout = timeout;
        self
    }

    /// How many connections there are on each runtime, from 1 to 64. The first carries whatever is
    /// small, because requests that are written together cost least. Requests of more than 64 KiB
    /// go by the others, and while something so large is under way on the first, what is small goes
    /// by the next that is free of it.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Limits the calls in flight on each runtime; at least 1. Further calls wait for their turn,
    /// within their deadline.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Limits the calls that wait for their turn on each runtime while
    /// [`max_in_flight`](Self::max_in_flight) calls are in flight. Further calls fail immediately,
    /// so that a stalled server costs a bounded amount of memory. 0 lets none wait.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.max_waiting = calls;
        self
    }

    /// How much memory the answers on one connection may take, from 64 KiB to 1 TiB: those that are
    /// arriving, with what small values take beside their bytes, and those that their calls have
    /// not taken yet. If there is more, the connection is closed, and its calls fail. The default,
    /// 512 MiB, is the largest value that a server stores by default.
    pub fn max_reply_bytes(mut self, bytes: usize) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// After how many timeouts in a row a connection is taken for frozen and left; at least 1. A
    /// connection whose oldest request is overdue by as many times the
    /// [`command_timeout`](Self::command_timeout) is left too.
    pub fn timeouts_before_redial(mut self, timeouts: u32) -> Self {
        self.timeouts_before_redial = timeouts;
        self
    }

    /// The first and the longest pause after a failed dial. Calls fail at once meanwhile.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }

    /// After how long an idle TCP connection is probed; `None` leaves that to the system. At least
    /// a second.
    pub fn keepalive(mut self, keepalive: Option<Duration>) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// What the server's `CLIENT LIST` shows; printable ASCII without spaces. `None` sends none.
    pub fn client_name(mut self, name: Option<&str>) -> Self {
        self.client_name = name.map(str::to_owned);
        self
    }

    /// The version of the protocol. No verb needs the newer one; it is for servers or proxies that
    /// speak nothing else.
    pub fn resp(mut self, version: RespVersion) -> Self {
        self.resp = version;
        self
    }

    /// From when on a round trip is reported as slow, as a `tracing` event with the verb and the
    /// time taken.
    pub fn slow_command(mut self, threshold: Duration) -> Self {
        self.slow_command = threshold;
        self
    }

    fn check_values(&self) -> Result<()> {
        let addresses = self.target.addresses();
        for (holds, expected) in [
            (
                !addresses
                    .iter()
                    .any(|address| matches!(address, Address::Tcp { host, port } if host.is_empty() || *port == 0)),
                "tcp, sentinel, cluster: a host must not be empty and a port must be from 1 to 65535",
            ),
            (
                !addresses.is_empty(),
                "sentinel, cluster: there must be at least one host",
            ),
            (
                !matches!(&self.target, Target::Sentinel { name, .. } if name.is_empty()),
                "sentinel: the primary's name must not be empty",
            ),
            (
                !matches!(&self.target, Target::Cluster(_) if self.database != 0),
                "database: a cluster has only database 0",
            ),
            (
                !matches!(addresses, [Address::Unix(path)] if path.as_os_str().is_empty()),
                "unix_socket: the path must not be empty",
            ),
            (
                cfg!(unix) || !matches!(addresses, [Address::Unix(_)]),
                "unix_socket: this platform has no Unix sockets; connect over TCP with redis://host:port",
            ),
            (
                i32::try_from(self.database).is_ok(),
                "database: must be a number from 0 to 2147483647",
            ),
            (
                (1..=64).contains(&self.connections),
                "connections: must be from 1 to 64",
            ),
            (
                in_range(self.command_timeout),
                "command_timeout: must be from 1 ms to 1 day",
            ),
            (
                in_range(self.connect_timeout),
                "connect_timeout: must be from 1 ms to 1 day",
            ),
            (
                in_range(self.transfer_timeout),
                "transfer_timeout: must be from 1 ms to 1 day",
            ),
            (
                (64 << 10..=1 << 40).contains(&(self.max_reply_bytes as u64)),
                "max_reply_bytes: must be from 65536 (64 KiB) to 1099511627776 (1 TiB)",
            ),
            (
                (1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&self.max_in_flight),
                "max_in_flight: must be at least 1",
            ),
            (
                self.timeouts_before_redial > 0,
                "timeouts_before_redial: must be at least 1",
            ),
            (
                in_range(self.backoff.0) && in_range(self.backoff.1) && self.backoff.0 <= self.backoff.1,
                "backoff: must be from 1 ms to 1 day, and the first pause no longer than the longest",
            ),
            (
                self.keepalive
                    .is_none_or(|keepalive| keepalive >= Duration::from_secs(1)),
                "keepalive: must be at least a second",
            ),
            (
                self.client_name
                    .as_ref()
                    .is_none_or(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())),
                "client_name: must be printable ASCII without spaces",
            ),
        ] {
            if !holds {
                return Err(bad_setting(expected));
            }
        }
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn check_tls(&self) -> Result<Option<super::tls::TlsSource>> {
        let tls = match &self.tls {
            Some(tls) => Some(tls.clone()),
            None => self.tls_by_url.then(|| self.tls_parameters.settings()).transpose()?,
        };
        if tls.is_some() && matches!(self.target, Target::One(Address::Unix(_))) {
            return Err(bad_setting(
                "tls: there is none over a Unix socket; use redis+unix:// without it, or rediss://host:port",
            ));
        }
        tls.map(super::tls::RedisTls::check).transpose()
    }

    pub(crate) fn check(mut self) -> Result<Checked> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        #[cfg(feature = "tls")]
        let tls = self.check_tls()?;
        #[cfg(not(feature = "tls"))]
        if self.tls_by_url {
            return Err(bad_setting(
                "a rediss:// URL needs the feature `tls` of codex-redis (`redis-tls` of codex-kv)",
            ));
        }
        self.check_values()?;
        let own_login = source(self.credentials, self.username, self.password)?;
        let sentinel_login = source(
            self.sentinel_credentials,
            self.sentinel_username,
            self.sentinel_password,
        )?;
        let settings = Settings {
            database: self.database,
            login: own_login,
            #[cfg(feature = "tls")]
            tls,
            address_map: self.address_map,
            connections: self.connections,
            command_timeout: self.command_timeout,
            connect_timeout: self.connect_timeout,
            transfer_timeout: self.transfer_timeout,
            max_in_flight: self.max_in_flight,
            max_waiting: self.max_waiting,
            max_reply_bytes: self.max_reply_bytes,
            timeouts_before_redial: self.timeouts_before_redial,
            backoff_min: self.backoff.0,
            backoff_max: self.backoff.1,
            keepalive: self.keepalive,
            client_name: self.client_name,
            resp: self.resp,
            slow_command: self.slow_command,
        };
        Ok(Checked {
            target: self.target,
            settings,
            sentinel_login,
            lazy: self.lazy,
        })
    }
}

fn source(
    provider: Option<LoginSource>,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
) -> Result<Option<LoginSource>> {
    match (provider, user, password) {
        (Some(provider), ..) => Ok(Some(provider)),
        (None, user, Some(password)) => Ok(Some(LoginSource::Fixed(Login { user, password }))),
        (None, None, None) => Ok(None),
        (None, Some(_), None) => Err(bad_setting(
            "username: a user name needs a password; set `password`, or `user:password@` in the URL",
        )),
    }
}

fn in_range(timeout: Duration) -> bool {
    (Duration::from_millis(1)..=Duration::from_hours(24)).contains(&timeout)
}

// The address is left out too: where a password was put in a wrong place, it can hold a part of it.
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

#[cfg(test)]
mod tests {
    use codex_traits::ErrorKind;

    use super::*;

    #[test]
    fn the_defaults_are_good_and_later_settings_take_the_place_of_earlier_ones() {
        let checked = RedisBuilder::new().check().unwrap();
        assert_eq!(format!("{:?}", checked.target.addresses()[0]), "127.0.0.1:6379");
        let settings = RedisBuilder::new()
            .url("redis://app:old@h/3")
            .password("new")
            .database(4)
            .check()
            .unwrap();
        let settings = &settings.settings;
        let Some(LoginSource::Fixed(login)) = &settings.login else {
            panic!("{settings:?}")
        };
        assert_eq!(
            (login.user.as_deref(), login.password.as_str(), settings.database),
            (Some("app"), "new", 4)
        );
        let settings = RedisBuilder::new().database(4).url("redis://h").check().unwrap();
        assert_eq!(settings.settings.database, 4);
    }

    #[test]
    fn a_bad_setting_is_named_with_what_was_expected() {
        let day = Duration::from_hours(24);
        for (builder, setting) in vec![
            (RedisBuilder::new().tcp("", 1), "tcp"),
            (RedisBuilder::new().tcp("h", 0), "tcp"),
            (RedisBuilder::new().unix_socket(""), "unix_socket"),
            (RedisBuilder::new().sentinel("", [("h", 1)]), "sentinel"),
            (RedisBuilder::new().sentinel::<String>("main", []), "sentinel"),
            (RedisBuilder::new().sentinel("main", [("h", 0)]), "sentinel"),
            (RedisBuilder::new().sentinel_username("app"), "password"),
            (RedisBuilder::new().cluster::<String>([]), "cluster"),
            (RedisBuilder::new().cluster([("", 1)]), "cluster"),
            (RedisBuilder::new().cluster([("h", 1)]).database(1), "database"),
            (RedisBuilder::new().database(u32::MAX), "database"),
            (RedisBuilder::new().username("app"), "password"),
            (RedisBuilder::new().connections(0), "connections"),
            (RedisBuilder::new().connections(65), "connections"),
            (RedisBuilder::new().command_timeout(Duration::ZERO), "command_timeout"),
            (RedisBuilder::new().command_timeout(Duration::MAX), "command_timeout"),
            (RedisBuilder::new().connect_timeout(day * 2), "connect_timeout"),
            (RedisBuilder::new().transfer_timeout(Duration::ZERO), "transfer_timeout"),
            (RedisBuilder::new().max_reply_bytes(1000), "max_reply_bytes"),
            (RedisBuilder::new().max_reply_bytes(usize::MAX), "max_reply_bytes"),
            (RedisBuilder::new().max_in_flight(0), "max_in_flight"),
            (RedisBuilder::new().max_in_flight(usize::MAX), "max_in_flight"),
            (RedisBuilder::new().timeouts_before_redial(0), "timeouts_before_redial"),
            (RedisBuilder::new().backoff(Duration::ZERO, day), "backoff"),
            (RedisBuilder::new().backoff(day, Duration::from_secs(1)), "backoff"),
            (RedisBuilder::new().keepalive(Some(Duration::ZERO)), "keepalive"),
            (RedisBuilder::new().client_name(Some("two words")), "client_name"),
            (RedisBuilder::new().client_name(Some("")), "client_name"),
            // The first of two is told.
            (RedisBuilder::new().url("redis://h:0").url("redis://"), "port"),
        ] {
            let error = builder.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(setting), "{setting}: {error}");
        }
    }
}
