//! The contract of `KvBackend`, clause by clause, over TCP, over a unix socket, and behind `AnyBackend`.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod leased;

use std::time::Duration;

use codex_redis::RedisBackend;
use codex_testkit::{
    Foreign, Harness, Time,
    redis::{Database, Value},
    require::Unavailable,
};
use codex_traits::{AnyBackend, KvBackend};
use leased::Leased;

/// How a backend is made for a database.
trait Make: Send + Sync + 'static {
    type Backend: KvBackend + Clone;

    fn url(database: &Database) -> Option<String>;

    fn wrap(backend: RedisBackend) -> Self::Backend;
}

struct Tcp;

impl Make for Tcp {
    type Backend = RedisBackend;

    fn url(database: &Database) -> Option<String> {
        Some(database.url())
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

struct Unix;

impl Make for Unix {
    type Backend = RedisBackend;

    fn url(database: &Database) -> Option<String> {
        database.unix_url()
    }

    fn wrap(backend: RedisBackend) -> RedisBackend {
        backend
    }
}

struct Any;

impl Make for Any {
    type Backend = AnyBackend;

    fn url(database: &Database) -> Option<String> {
        Some(database.url())
    }

    fn wrap(backend: RedisBackend) -> AnyBackend {
        AnyBackend::new(backend)
    }
}

struct RedisHarness<M>(std::marker::PhantomData<M>);

impl<M: Make> RedisHarness<M> {
    fn new() -> Result<Self, Unavailable> {
        let database = Database::lease()?;
        M::url(&database).ok_or_else(|| Unavailable::new("the test server has no unix socket"))?;
        Ok(Self(std::marker::PhantomData))
    }
}

impl<M: Make> Harness for RedisHarness<M> {
    type Backend = Leased<M::Backend>;

    async fn fresh(&self) -> Self::Backend {
        let database = Database::lease().unwrap();
        // Many tests share few cores and one server, which does nothing else while it takes in 64 MiB; all else is as it comes.
        let settings = RedisBackend::builder().command_timeout(Duration::from_secs(10));
        let backend = settings.url(&M::url(&database).unwrap()).build().await.unwrap();
        Leased::new(M::wrap(backend), database)
    }

    /// Redis looks at the clock when a key is asked for; the rest is the way there and back on a busy machine.
    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(25),
        }
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let database = backend.database();
        let planted = match foreign {
            Foreign::List { key } => database.command(&["RPUSH", key, "one", "two"]),
            Foreign::NonUtf8Key { key } => database.command(&[b"SET", key.as_slice(), b"value"]),
            _ => return false,
        };
        planted.is_ok()
    }

    async fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let key = match foreign {
            Foreign::List { key } => key.as_bytes(),
            Foreign::NonUtf8Key { key } => key,
            _ => return false,
        };
        backend.database().command(&[b"EXISTS", key]).unwrap() == Value::Int(1)
    }

    /// What the server keeps for the connections to this database; all else that it keeps is other tests' too.
    async fn memory_in_use(&self, backend: &Self::Backend) -> Option<u64> {
        let database = backend.database();
        let Value::BulkString(clients) = database.command(&["CLIENT", "LIST"]).ok()? else {
            return None;
        };
        let clients = String::from_utf8(clients).ok()?;
        let own = format!("db={}", database.number());
        let memory = |line: &str| {
            let mut fields = line.split(' ');
            fields
                .clone()
                .any(|field| field == own)
                .then(|| fields.find_map(|field| field.strip_prefix("tot-mem=")?.parse::<u64>().ok()))?
        };
        Some(clients.lines().filter_map(memory).sum())
    }
}

mod tcp {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Tcp>::new(), requires: "redis", skip: {
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}

mod unix {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Unix>::new(), requires: "redis", skip: {
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}

mod any {
    codex_testkit::conformance_tests!(super::RedisHarness::<super::Any>::new(), requires: "redis", skip: {
        exp_12: "the server's clock is the machine's",
        scan_10: "one node",
    });
}
