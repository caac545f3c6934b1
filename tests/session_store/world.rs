//! The backends that every test here runs on.

use std::time::{Duration, SystemTime};

use codex_kv::{
    AnyBackend, DjangoSigned, Session, SessionKey, SessionStore, SessionStoreBuilder,
    memory::{ManualClock, MemoryBackend},
    redis::RedisBackend,
};
use codex_testkit::redis::Database;

pub(crate) const SECRET: &str = "codex-wire-vectors-secret-key-0001";

/// A fresh, empty backend and the time it lives in.
pub(crate) struct World {
    pub(crate) backend: AnyBackend,
    /// None where time cannot be moved.
    clock: Option<ManualClock>,
}

impl World {
    pub(crate) fn memory() -> Self {
        let clock = ManualClock::new();
        Self {
            backend: AnyBackend::new(MemoryBackend::with_clock(clock.clone())),
            clock: Some(clock),
        }
    }

    /// A database of a real server, where time has to be waited for.
    pub(crate) async fn redis(database: &Database) -> Self {
        let backend = RedisBackend::connect(&database.url()).await.unwrap();
        Self {
            backend: AnyBackend::new(backend),
            clock: None,
        }
    }

    /// A builder with a codec and this world's clock.
    pub(crate) fn builder(&self) -> SessionStoreBuilder<AnyBackend, DjangoSigned> {
        let builder = SessionStore::builder(self.backend.clone()).codec(DjangoSigned::new(SECRET));
        match self.clock.clone() {
            Some(clock) => builder.clock(move || clock.system_time()),
            None => builder,
        }
    }

    pub(crate) fn store(&self) -> SessionStore<AnyBackend> {
        self.builder().project("shop").build().unwrap()
    }

    /// Lets time pass: at once where the clock can be moved.
    pub(crate) async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time).await,
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock
            .as_ref()
            .map_or_else(SystemTime::now, ManualClock::system_time)
    }
}

/// The stored key of a session of [`World::store`].
pub(crate) fn record(key: &SessionKey) -> String {
    format!("shop:session:{}", key.as_str())
}

pub(crate) fn key(session: &Session) -> SessionKey {
    session.key().expect("it is stored").clone()
}

/// Each test once per backend: `memory::…` and `redis::…`.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::world::World::memory()).await;
            })+
        }

        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let database = codex_testkit::require!("redis", codex_testkit::redis::Database::lease());
                super::$test($crate::world::World::redis(&database).await).await;
            })+
        }
    };
}
pub(crate) use on_every_backend;
