//! A server for one client, which gets no other requests.

use std::time::Duration;

use codex_kv::{Expiry, KvBackend as _, redis::RedisBackend};
use codex_testkit::redis::RedisServer;

use crate::{key, value};

pub(crate) struct Server(RedisServer);

impl Server {
    /// Starts a server with this many keys.
    pub(crate) async fn with(keys: usize) -> Self {
        let server = Self(RedisServer::start().expect("a redis-server on PATH"));
        let redis = RedisBackend::connect(&server.url()).await.unwrap();
        let names: Vec<String> = (0..keys).map(key).collect();
        for chunk in names.chunks(1000) {
            let entries: Vec<_> = chunk.iter().map(|key| (key.as_str(), value(0))).collect();
            let expiry = Expiry::After(Duration::from_secs(3600));
            redis.set_many(&entries, expiry).await.unwrap();
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        self.0.url()
    }

    /// Returns the user and system time of the server.
    pub(crate) fn cpu(&self) -> Duration {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let text: String = redis::cmd("INFO").arg("cpu").query(&mut connection).unwrap();
        let seconds = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        Duration::from_secs_f64(seconds("used_cpu_sys:") + seconds("used_cpu_user:"))
    }
}
