//! The suites on a real Redis.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use codex_kv::{
    redis::RedisBackend,
    testkit::{
        Harness, Outage, Time,
        redis::{Database, FragileRedis},
        require::Unavailable,
    },
};
use tokio::sync::OnceCell;

struct Redis {
    /// The lease of the last store. A clause uses one store at a time, so the previous store is no
    /// longer in use.
    database: Mutex<Database>,
    /// A server that can be taken out of service, which is started on first use.
    fragile: OnceCell<FragileRedis>,
    /// The number of that server's databases in use.
    used: AtomicU32,
}

impl Redis {
    fn new() -> Result<Self, Unavailable> {
        Ok(Self {
            database: Mutex::new(Database::lease()?),
            fragile: OnceCell::new(),
            used: AtomicU32::new(0),
        })
    }
}

impl Harness for Redis {
    type Backend = RedisBackend;

    async fn fresh(&self) -> RedisBackend {
        let url = if let Some(fragile) = self.fragile.get() {
            fragile.database_url(self.used.fetch_add(1, Ordering::SeqCst))
        } else {
            let database = Database::lease().unwrap();
            let url = database.patient_url();
            *self.database.lock().unwrap() = database;
            url
        };
        RedisBackend::connect(&url).await.unwrap()
    }

    /// Returns a granularity that allows for a round trip on a busy machine, because Redis reads
    /// its clock when a key is accessed.
    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(60),
        }
    }

    async fn outage(&self) -> Option<Outage> {
        let fragile = self.fragile.get_or_try_init(FragileRedis::start).await;
        Some(fragile.unwrap().outage())
    }
}

mod cache {
    codex_kv::cache_conformance_tests!(super::Redis::new(), requires: "redis");
}

mod session {
    codex_kv::session_conformance_tests!(super::Redis::new(), requires: "redis");
}
