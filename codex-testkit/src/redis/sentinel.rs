//! A primary, its replica, and three Sentinels that watch over them.

use std::{
    ffi::OsString,
    thread,
    time::{Duration, Instant},
};

use redis::{FromRedisValue as _, Value};

use super::server::{CONFIGURATION, RedisServer};
use crate::require::Unavailable;

/// The time that the servers have to find each other.
const PATIENCE: Duration = Duration::from_secs(30);

/// A primary, its replica and three Sentinels, started from the `redis-server` on `PATH`. All
/// servers end when this value is dropped, or with the process.
#[derive(Debug)]
pub struct RedisSentinel {
    servers: [RedisServer; 2],
    sentinels: Vec<RedisServer>,
}

impl RedisSentinel {
    /// The name of the primary in the Sentinels.
    pub const NAME: &str = "main";

    /// Starts the servers, and waits until the Sentinels know the replica and each other. The first
    /// server is the primary. The Sentinels consider it down after one second of silence.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if a server does not start, or if the servers do not find each other.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(Duration::from_secs(1))
    }

    /// Starts servers whose Sentinels wait for two minutes of silence, for tests that a fail-over
    /// on a busy machine would break.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_patient() -> Result<Self, Unavailable> {
        Self::start_with(Duration::from_secs(120))
    }

    fn start_with(down_after: Duration) -> Result<Self, Unavailable> {
        // By default, a primary waits five seconds before it sends its data to a replica.
        let primary = RedisServer::start_with(["--repl-diskless-sync-delay", "0"])?;
        let port = primary.port().to_string();
        let following = ["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"];
        let replica = RedisServer::start_with(following)?;
        wait("the replica to be in sync", || {
            let state = text(&replica, &["INFO", "replication"]);
            state.contains("master_link_status:up")
        })?;
        let configuration = format!(
            "sentinel monitor {name} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {name} {down}\n\
             sentinel failover-timeout {name} 6000\n",
            name = Self::NAME,
            down = down_after.as_millis(),
        );
        let mut sentinels = Vec::with_capacity(3);
        for _ in 0..3 {
            let files = vec![(CONFIGURATION, configuration.clone())];
            sentinels.push(RedisServer::start_from::<OsString>(
                files,
                false,
                ["--sentinel".into()],
            )?);
        }
        let started = Self {
            servers: [primary, replica],
            sentinels,
        };
        for sentinel in &started.sentinels {
            wait("a Sentinel to know the others", || {
                let state = text(sentinel, &["INFO", "sentinel"]);
                state.contains("status=ok") && state.contains("slaves=1,sentinels=3")
            })?;
        }
        Ok(started)
    }

    /// Returns `redis-sentinel://127.0.0.1:<port>,…/main/0`.
    pub fn url(&self) -> String {
        self.database_url(0)
    }

    /// Returns the same URL with another database.
    pub fn database_url(&self, database: u32) -> String {
        let places: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| format!("127.0.0.1:{}", sentinel.port()))
            .collect();
        format!("redis-sentinel://{}/{}/{database}", places.join(","), Self::NAME)
    }

    /// Returns the two servers. The first was the primary at the start.
    pub fn servers(&self) -> &[RedisServer; 2] {
        &self.servers
    }

    /// Returns the Sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// Returns the server that a majority of the Sentinels names as the primary, or `None` if there
    /// is no majority.
    pub fn primary(&self) -> Option<&RedisServer> {
        self.servers.iter().find(|server| {
            let port = server.port().to_string();
            let names = |sentinel: &&RedisServer| {
                let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]);
                answer
                    .is_ok_and(|place| Vec::<String>::from_redis_value(place).is_ok_and(|place| place.contains(&port)))
            };
            self.sentinels.iter().filter(names).count() > self.sentinels.len() / 2
        })
    }
}

pub(super) fn text(server: &RedisServer, command: &[&str]) -> String {
    match server.command(command) {
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

pub(super) fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Unavailable> {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return Err(Unavailable::new(format!(
                "gave up after {} s waiting for {what}",
                PATIENCE.as_secs()
            )));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
