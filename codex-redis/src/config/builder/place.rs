//! The addresses of the servers.

use std::path::PathBuf;

use super::RedisBuilder;
use crate::config::{
    address_map::AddressMap,
    settings::{Address, Target},
};

impl RedisBuilder {
    /// Connects to one server over TCP: a host name or an address, and a port.
    pub fn tcp(mut self, host: impl Into<String>, port: u16) -> Self {
        self.target = Target::One(address((host, port)));
        self
    }

    /// Connects to one server over the Unix socket at this path.
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.target = Target::One(Address::Unix(path.into()));
        self
    }

    /// Connects to the primary that these Sentinels know by `name`, and follows it through
    /// fail-overs. Each Sentinel is a host and a port (usually 26379). A single Sentinel that
    /// answers is enough.
    pub fn sentinel<H: Into<String>>(
        mut self,
        name: impl Into<String>,
        sentinels: impl IntoIterator<Item = (H, u16)>,
    ) -> Self {
        self.target = Target::Sentinel {
            sentinels: sentinels.into_iter().map(address).collect(),
            name: name.into(),
        };
        self
    }

    /// Connects to the cluster of these nodes, each a host and a port. The first node that answers
    /// names the others.
    pub fn cluster<H: Into<String>>(mut self, nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        self.target = Target::Cluster(nodes.into_iter().map(address).collect());
        self
    }

    /// Sets the database number.
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Translates the addresses that cluster nodes and Sentinels announce, for networks with
    /// address translation. `translate` takes the announced host and port, and returns the host and
    /// port that reach the server from here, or `None` if they are the same. The addresses in the
    /// settings are not translated. In a URL this is
    /// `address_map=10.0.0.1:6379>203.0.113.7:7001,…`.
    pub fn address_map(
        mut self,
        translate: impl Fn(&str, u16) -> Option<(String, u16)> + Send + Sync + 'static,
    ) -> Self {
        self.address_map = Some(AddressMap::new(translate));
        self
    }

    /// Turns on TLS, even if the URL's scheme does not. A Unix socket cannot use TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::config::tls::RedisTls) -> Self {
        self.tls = Some(tls);
        self
    }
}

fn address((host, port): (impl Into<String>, u16)) -> Address {
    Address::Tcp {
        host: host.into(),
        port,
    }
}
