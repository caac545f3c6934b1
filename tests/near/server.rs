//! Tests of near caches on a single Redis server behind a proxy.

use std::time::Duration;

use codex_kv::{Result, near::NearBackend, redis::RedisBackend};
use codex_testkit::{
    Fault, Proxy,
    near::{Disturbance, NearHarness},
    redis::{RedisServer, Value},
    require::Unavailable,
};

pub(crate) const MAX_STALENESS: Duration = Duration::from_millis(600);
const MAX_VALUE_BYTES: usize = 4096;
const MAX_BYTES: usize = 256 << 10;

pub(crate) struct OneServer {
    server: RedisServer,
    proxy: Proxy,
    bare: RedisBackend,
}

impl OneServer {
    pub(crate) async fn start() -> Result<Self, Unavailable> {
        let server = RedisServer::start()?;
        let address = ([127, 0, 0, 1], server.port()).into();
        let proxy = Proxy::start(address)
            .await
            .map_err(|error| Unavailable::new(error.to_string()))?;
        let bare = RedisBackend::connect(&server.url()).await;
        let bare = bare.map_err(|error| Unavailable::new(error.to_string()))?;
        Ok(Self { server, proxy, bare })
    }

    pub(crate) fn server(&self) -> &RedisServer {
        &self.server
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

/// Returns how many GET and MGET calls the server has counted.
pub(crate) fn reads_of(server: &RedisServer) -> Option<u64> {
    let Ok(Value::BulkString(text)) = server.command(&["INFO", "commandstats"]) else {
        return None;
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    let calls = |command: &str| -> u64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
    };
    Some(calls("get") + calls("mget"))
}

impl NearHarness for OneServer {
    type Near = NearBackend<RedisBackend>;
    type Bare = RedisBackend;

    async fn near(&self) -> Result<Self::Near> {
        let url = format!("redis://{}/0", self.proxy.address());
        let redis = RedisBackend::builder()
            .url(&url)
            .command_timeout(Duration::from_secs(2))
            .build()
            .await?;
        NearBackend::builder(redis)
            .max_staleness(MAX_STALENESS)
            .max_value_bytes(MAX_VALUE_BYTES)
            .max_bytes(MAX_BYTES)
            .build()
            .await
    }

    fn bare(&self) -> RedisBackend {
        self.bare.clone()
    }

    fn below(&self, near: &Self::Near) -> Option<RedisBackend> {
        Some(near.inner().clone())
    }

    fn max_staleness(&self) -> Duration {
        MAX_STALENESS
    }

    /// Allows far more than the roughly 100 µs that a push takes, because the machine may be busy.
    fn push_time(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(50)
    }

    async fn disturb(&self, disturbance: Disturbance<'_>) -> bool {
        match disturbance {
            Disturbance::Cut => self.proxy.cut(),
            Disturbance::BlackHole => self.proxy.set_fault(Fault::Stall),
            Disturbance::Heal => self.proxy.set_fault(Fault::None),
            Disturbance::Latency(latency) => self.proxy.set_fault(Fault::Delay(latency)),
            Disturbance::FlushAll => return self.server.command(&["FLUSHALL"]).is_ok(),
            Disturbance::WriteInAnotherDatabase(key) => {
                let script = "redis.call('SELECT', 1) return redis.call('SET', KEYS[1], 'x')";
                return self.server.command(&["EVAL", script, "1", key]).is_ok();
            }
            _ => return false,
        }
        true
    }

    fn reads(&self) -> Option<u64> {
        reads_of(&self.server)
    }

    fn memory(&self, near: &Self::Near) -> Option<(u64, u64)> {
        Some((near.stats().bytes, MAX_BYTES as u64))
    }

    fn max_value_bytes(&self) -> Option<usize> {
        Some(MAX_VALUE_BYTES)
    }
}
