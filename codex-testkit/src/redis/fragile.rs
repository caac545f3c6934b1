//! A real server that tests can take out of service.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;

use super::{RedisServer, proxy_faults::ProxyFaults};
use crate::{Breaker, Fault, Outage, OutageKind, Proxy, require::Unavailable, runtime::sleep};

/// A server for a single test behind a [`Proxy`], for the [`outage`](crate::Harness::outage) of a
/// [`Harness`](crate::Harness).
///
/// The proxy refuses and stalls connections and loses answers. The server itself demands
/// credentials, becomes read-only, and runs out of memory. Clones share the server.
#[derive(Debug, Clone)]
pub struct FragileRedis {
    server: Arc<RedisServer>,
    proxy: Arc<Proxy>,
    breaks: Arc<ProxyFaults>,
}

impl FragileRedis {
    /// Starts a server that is in service.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there is no `redis-server` on `PATH`, or no port for the proxy.
    pub async fn start() -> Result<Self, Unavailable> {
        let server = RedisServer::start()?;
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let proxy = Proxy::start(upstream).await;
        let proxy = proxy.map_err(|error| Unavailable::new(format!("no port for a proxy: {error}")))?;
        Ok(Self {
            server: Arc::new(server),
            proxy: Arc::new(proxy),
            breaks: Arc::default(),
        })
    }

    /// Returns the URL of one of its 16,384 databases, through the proxy:
    /// `redis://127.0.0.1:<port>/<number>`.
    pub fn database_url(&self, number: u32) -> String {
        format!("redis://{}/{number}", self.proxy.address())
    }

    /// Returns the server, for commands that bypass the proxy.
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    /// Returns the proxy, for faults that no [`OutageKind`] names.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Returns the switch that takes the server out of service.
    pub fn outage(&self) -> Outage {
        Outage::new(self.clone())
    }

    /// Sends the server a command that changes a setting. It must succeed, because the server
    /// belongs to the tests.
    fn command(&self, parts: &[&str]) {
        let answer = self.server.command(parts);
        answer.unwrap_or_else(|error| panic!("{} failed: {error}", parts[0]));
    }
}

impl Breaker for FragileRedis {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![
            OutageKind::Refused,
            OutageKind::Stalled,
            OutageKind::NoAuth,
            OutageKind::ReadOnly,
            OutageKind::OutOfMemory,
            OutageKind::ReplyLost,
            OutageKind::HalfOpen,
            OutageKind::UnrelatedFrames,
            OutageKind::EndlessReply,
        ]
    }

    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match kind {
                OutageKind::Refused
                | OutageKind::Stalled
                | OutageKind::ReplyLost
                | OutageKind::HalfOpen
                | OutageKind::UnrelatedFrames
                | OutageKind::EndlessReply => self.breaks.begin(&self.proxy, kind),
                OutageKind::NoAuth => {
                    self.command(&["CONFIG", "SET", "requirepass", "not-for-you"]);
                    // The server demands a password only on new connections.
                    self.proxy.cut();
                    // The delay lets both ends notice the cut, so that the next call does not run
                    // into it.
                    sleep(Duration::from_millis(100)).await;
                }
                // The server becomes a read-only replica of a primary that does not exist.
                OutageKind::ReadOnly => self.command(&["REPLICAOF", "127.0.0.1", "1"]),
                OutageKind::OutOfMemory => self.command(&["CONFIG", "SET", "maxmemory", "1"]),
                OutageKind::NodeDown => panic!("there is one node; `kinds` does not list it"),
            }
        })
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.proxy.set_fault(Fault::None);
            self.command(&["CONFIG", "SET", "requirepass", ""]);
            self.command(&["REPLICAOF", "NO", "ONE"]);
            self.command(&["CONFIG", "SET", "maxmemory", "0"]);
        })
    }

    fn flooded_bytes(&self) -> Option<u64> {
        Some(self.proxy.flooded_bytes())
    }
}
