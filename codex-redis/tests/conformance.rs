//! The contract of `KvBackend`, clause by clause: over TCP, behind `AnyBackend`, over a Unix
//! socket, over TLS, as a user with few rights, and through Sentinel.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

#[path = "support/rights.rs"]
mod rights;

use std::{
    marker::PhantomData,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use codex_redis::{RedisBackend, RedisBuilder, RespVersion};
#[cfg(feature = "tls")]
use codex_testkit::redis::Certificates;
use codex_testkit::{
    Foreign, Harness, Outage, Time,
    redis::{Database, FragileRedis, Leased, RedisContainer, RedisSentinel, RedisServer, ServerHarness},
    require,
    require::Unavailable,
};
use codex_traits::{AnyBackend, ErrorKind, KvBackend};
use tokio::sync::OnceCell;

/// The command timeout of backends for outages. It is short because the clauses often wait for it,
/// several times within the time for a recovery, and long enough for calls between outages on a
/// busy machine.
const DEADLINE: Duration = Duration::from_secs(1);

/// The maximum number of logins at a server in service.
const LOGINS: usize = 10;

/// The timeouts of backends for everything else, where nothing waits for them.
const PATIENCE: Duration = Duration::from_secs(10);

/// A small limit, so that a reply soon exceeds it.
const MAX_REPLY_BYTES: usize = 8 << 20;

/// A way to make a backend for a database.
trait Make: Send + Sync + 'static {
    type Backend: KvBackend + Clone;

    /// Whether the proxy that breaks connections can be placed in between.
    const BY_PROXY: bool;

    fn lease() -> Result<Database, Unavailable> {
        Database::lease()
    }

    fn settings(database: &Database) -> Option<RedisBuilder>;

    fn wrap(backend: RedisBackend) -> Self::Backend;
}

struct Tcp;

impl Make for Tcp {
    type Backend = RedisBackend;

    const BY_PROXY: bool = true;

    fn settings(database: &Database) -> Option<RedisBuilder> {
        Some(RedisBackend::builder().url(&database.url()))
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

/// `AnyBackend` over TCP, so that every clause of TCP applies.
struct Any;

impl Make for Any {
    type Backend = AnyBackend;

    const BY_PROXY: bool = true;

    fn settings(database: &Database) -> Option<RedisBuilder> {
        Tcp::settings(database)
    }

    fn wrap(backend: RedisBackend) -> AnyBackend {
        AnyBackend::new(backend)
    }
}

/// A Unix socket with RESP3, so that the suite covers both versions of the protocol.
struct Unix;

impl Make for Unix {
    type Backend = RedisBackend;

    const BY_PROXY: bool = false;

    fn settings(database: &Database) -> Option<RedisBuilder> {
        let settings = RedisBackend::builder().url(&database.unix_url()?);
        Some(settings.resp(RespVersion::Resp3))
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

#[cfg(feature = "tls")]
struct Tls;

#[cfg(feature = "tls")]
impl Make for Tls {
    type Backend = RedisBackend;

    const BY_PROXY: bool = false;

    fn lease() -> Result<Database, Unavailable> {
        Database::lease_on(tls_server()?.0)
    }

    fn settings(database: &Database) -> Option<RedisBuilder> {
        let (_, certificates) = tls_server().ok()?;
        let tls = codex_redis::RedisTls::new().certificate_authority(certificates.authority());
        Some(RedisBackend::builder().url(&database.tls_url()?).tls(tls))
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

/// Starts the server when a test first needs it.
#[cfg(feature = "tls")]
fn tls_server() -> Result<(&'static RedisServer, &'static Certificates), Unavailable> {
    static STARTED: OnceLock<Result<(RedisServer, Certificates), Unavailable>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let certificates = Certificates::new()?;
        Ok((RedisServer::start_with_tls::<&str>(&certificates, [])?, certificates))
    });
    match started {
        Ok((server, certificates)) => Ok((server, certificates)),
        Err(reason) => Err(reason.clone()),
    }
}

/// A user with only the rights that the guide lists.
struct Acl;

impl Make for Acl {
    type Backend = RedisBackend;

    const BY_PROXY: bool = false;

    fn lease() -> Result<Database, Unavailable> {
        Database::lease_on(acl_server()?)
    }

    fn settings(database: &Database) -> Option<RedisBuilder> {
        let settings = RedisBackend::builder().url(&database.url());
        Some(settings.username(rights::USER).password(rights::PASSWORD))
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

/// Starts the server when a test first needs it.
fn acl_server() -> Result<&'static RedisServer, Unavailable> {
    static STARTED: OnceLock<Result<RedisServer, Unavailable>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let server = RedisServer::start()?;
        rights::grant(&server, "standalone", &[]);
        Ok(server)
    });
    started.as_ref().map_err(Clone::clone)
}

struct BySentinel;

impl Make for BySentinel {
    type Backend = RedisBackend;

    const BY_PROXY: bool = false;

    fn lease() -> Result<Database, Unavailable> {
        Database::lease_on(&sentinels()?.servers()[0])
    }

    fn settings(database: &Database) -> Option<RedisBuilder> {
        let url = sentinels().ok()?.database_url(database.number());
        Some(RedisBackend::builder().url(&url))
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

/// Starts the server when a test first needs it.
fn sentinels() -> Result<&'static RedisSentinel, Unavailable> {
    static STARTED: OnceLock<Result<RedisSentinel, Unavailable>> = OnceLock::new();
    // They must not fail over because a primary is late on a busy machine.
    let started = STARTED.get_or_init(RedisSentinel::start_patient);
    started.as_ref().map_err(Clone::clone)
}

/// The place of a backend's keys.
#[derive(Debug)]
enum Place {
    Database(Box<Database>),
    Fragile(#[expect(dead_code, reason = "held, so that it stays")] FragileRedis),
}

impl Place {
    fn database(&self) -> Option<&Database> {
        match self {
            Self::Database(database) => Some(database),
            Self::Fragile(_) => None,
        }
    }
}

struct RedisHarness<M> {
    /// A server that can be taken out of service, started on first use, and the number of its
    /// databases in use.
    fragile: OnceCell<FragileRedis>,
    used: AtomicU32,
    make: PhantomData<M>,
}

impl<M: Make> RedisHarness<M> {
    fn new() -> Result<Self, Unavailable> {
        let database = M::lease()?;
        let _ = M::settings(&database).ok_or_else(|| Unavailable::new("the test server has no unix socket"))?;
        Ok(Self {
            fragile: OnceCell::new(),
            used: AtomicU32::new(0),
            make: PhantomData,
        })
    }
}

impl<M: Make> Harness for RedisHarness<M> {
    type Backend = Leased<M::Backend, Place>;

    async fn fresh(&self) -> Self::Backend {
        if let Some(fragile) = self.fragile.get() {
            let url = fragile.database_url(self.used.fetch_add(1, Ordering::SeqCst));
            // Each stalled call takes the whole timeout.
            let connect = || {
                let settings = RedisBackend::builder()
                    .command_timeout(DEADLINE)
                    .max_reply_bytes(MAX_REPLY_BYTES);
                settings.url(&url).build()
            };
            let mut built = connect().await;
            // On a busy machine, a server may not answer a login within the connect timeout, which
            // stays short because it bounds the recovery after an outage.
            for _ in 1..LOGINS {
                if !matches!(&built, Err(error) if error.kind() == ErrorKind::Timeout) {
                    break;
                }
                built = connect().await;
            }
            return Leased::new(M::wrap(built.unwrap()), Place::Fragile(fragile.clone()));
        }
        let database = M::lease().unwrap();
        // Many tests share few cores and one server, which does nothing else while it receives 64
        // MiB. All other settings keep their defaults.
        let settings = M::settings(&database)
            .unwrap()
            .command_timeout(PATIENCE)
            .connect_timeout(PATIENCE);
        let backend = settings.build().await.unwrap();
        Leased::new(M::wrap(backend), Place::Database(Box::new(database)))
    }

    /// Allows for a busy machine. Redis reads the clock when a key is requested, so the granularity
    /// covers the round trip.
    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(60),
        }
    }

    async fn outage(&self) -> Option<Outage> {
        if !M::BY_PROXY {
            return None;
        }
        let fragile = self
            .fragile
            .get_or_init(async || FragileRedis::start().await.unwrap())
            .await;
        Some(fragile.outage())
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        backend
            .place()
            .database()
            .is_some_and(|database| database.plant(foreign))
    }

    async fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let database = backend.place().database();
        database.is_some_and(|database| database.is_planted(foreign))
    }

    /// Returns a limit for a hundred thousand calls while several servers share few cores.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn max_reply_bytes(&self) -> u64 {
        MAX_REPLY_BYTES as u64
    }

    async fn memory_in_use(&self, backend: &Self::Backend) -> Option<u64> {
        backend.place().database()?.memory_of_clients()
    }

    async fn avoids_many_stars(&self, backend: &Self::Backend) -> Option<&'static str> {
        backend.place().database()?.avoids_many_stars()
    }
}

mod tcp {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Tcp>::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}

mod any_backend {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Any>::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}

mod unix {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Unix>::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        life_01: "the proxy is on TCP",
        life_02: "the proxy is on TCP",
        life_03: "the proxy is on TCP",
        life_05: "the proxy is on TCP",
        life_11: "the proxy is on TCP",
        life_12: "the proxy is on TCP",
        life_13: "the proxy is on TCP",
        life_14: "the proxy is on TCP",
        scan_10: "one node",
    });
}

#[cfg(feature = "tls")]
mod tls {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Tls>::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        life_01: "the proxy's server has no TLS",
        life_02: "the proxy's server has no TLS",
        life_03: "the proxy's server has no TLS",
        life_05: "the proxy's server has no TLS",
        life_11: "the proxy's server has no TLS",
        life_12: "the proxy's server has no TLS",
        life_13: "the proxy's server has no TLS",
        life_14: "the proxy's server has no TLS",
        scan_10: "one node",
    });
}

mod acl {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Acl>::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        life_01: "the proxy's server has no such user",
        life_02: "the proxy's server has no such user",
        life_03: "the proxy's server has no such user",
        life_05: "the proxy's server has no such user",
        life_11: "the proxy's server has no such user",
        life_12: "the proxy's server has no such user",
        life_13: "the proxy's server has no such user",
        life_14: "the proxy's server has no such user",
        scan_10: "one node",
    });
}

mod sentinel {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::BySentinel>::new(), requires: "redis", skip: {
        dur_01: "durability is a matter of the server's settings",
        dur_02: "durability is a matter of the server's settings",
        exp_12: "the server's clock is the machine's",
        life_01: "the proxy's server has no Sentinels",
        life_02: "the proxy's server has no Sentinels",
        life_03: "the proxy's server has no Sentinels",
        life_05: "the proxy's server has no Sentinels",
        life_11: "the proxy's server has no Sentinels",
        life_12: "the proxy's server has no Sentinels",
        life_13: "the proxy's server has no Sentinels",
        life_14: "the proxy's server has no Sentinels",
        scan_10: "one node",
    });
}

/// Runs the whole suite once more, on a server in a container instead of the machine's
/// `redis-server`.
#[test]
fn the_suite_passes_on_a_server_in_a_container() {
    let container = require!("docker", RedisContainer::start());
    // Without a database number, so that each store has its own database.
    let url = container.url().trim_end_matches("/0").to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(async {
        let harness = ServerHarness::on(&url, |url| async move {
            let settings = RedisBackend::builder().url(&url);
            // A half-open connection is closed after the timeouts, for which the clauses wait 8 s.
            let settings = settings
                .command_timeout(Duration::from_secs(3))
                .timeouts_before_redial(2);
            settings.build().await
        });
        codex_testkit::run(&harness.unwrap()).await
    });
    println!("{report}");
    assert!(!report.failed(), "{report}");
    let passed = |outcome: &codex_testkit::Outcome| matches!(outcome, codex_testkit::Outcome::Passed);
    let passed = report.outcomes.iter().filter(|(_, outcome)| passed(outcome)).count();
    assert!(passed > 70, "only {passed} clauses ran: {report}");
}
