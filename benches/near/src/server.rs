//! The server of one client: nothing else is sent to it.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use codex_kv::{Expiry, KvBackend as _, redis::RedisBackend};

use crate::{key, value};

const START: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts a server with this many keys.
    pub(crate) async fn with(keys: usize) -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .stdout(Stdio::null())
            .spawn()
            .expect("a redis-server on PATH");
        let server = Self { process, port };
        let start = Instant::now();
        let redis = loop {
            match RedisBackend::connect(&server.url()).await {
                Ok(redis) => break redis,
                Err(error) => assert!(start.elapsed() < START, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let names: Vec<String> = (0..keys).map(key).collect();
        for chunk in names.chunks(1000) {
            let entries: Vec<_> = chunk.iter().map(|key| (key.as_str(), value(0))).collect();
            let expiry = Expiry::After(Duration::from_secs(3600));
            redis.set_many(&entries, expiry).await.unwrap();
        }
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
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

impl Drop for Server {
    fn drop(&mut self) {
        // It is ending already if this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
