//! The checked settings.

use std::{borrow::Cow, fmt, path::PathBuf, time::Duration};

use codex_traits::{Error, ErrorKind};

use super::{address_map::AddressMap, credentials::LoginSource};

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) database: u32,
    pub(crate) login: Option<LoginSource>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<super::tls::TlsSource>,
    pub(crate) address_map: Option<AddressMap>,
    pub(crate) connections: usize,
    pub(crate) command_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) transfer_timeout: Duration,
    pub(crate) max_in_flight: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_reply_bytes: usize,
    pub(crate) timeouts_before_redial: u32,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) client_name: Option<String>,
    pub(crate) resp: RespVersion,
    pub(crate) slow_command: Duration,
}

/// A version of the Redis protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RespVersion {
    /// RESP2, the default of every server.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`. The results of every verb are the same.
    Resp3,
}

/// The deployment that a handle uses.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    One(Address),
    /// The primary that these Sentinels know by this name.
    Sentinel {
        sentinels: Vec<Address>,
        name: String,
    },
    /// The cluster that these nodes belong to.
    Cluster(Vec<Address>),
}

/// The checked settings of a builder.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) target: Target,
    pub(crate) settings: Settings,
    pub(crate) sentinel_login: Option<LoginSource>,
    /// Whether `build` only checks the settings and does not connect.
    pub(crate) lazy: bool,
}

impl Settings {
    /// Returns the address that reaches a server that announces `address`.
    pub(crate) fn reachable(&self, address: Address) -> Address {
        match &self.address_map {
            Some(map) => map.translate(address),
            None => address,
        }
    }
}

impl Target {
    pub(crate) fn addresses(&self) -> &[Address] {
        match self {
            Self::One(address) => std::slice::from_ref(address),
            Self::Sentinel { sentinels, .. } => sentinels,
            Self::Cluster(seeds) => seeds,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Address {
    /// Returns the host and the port. A Unix socket has its path as the host, and no port.
    pub(crate) fn parts(&self) -> (Cow<'_, str>, Option<u16>) {
        match self {
            Self::Tcp { host, port } => (host.as_str().into(), Some(*port)),
            Self::Unix(path) => (path.to_string_lossy(), None),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Returns the error for a setting. It states the expected form and never the given value, which
/// may be a misplaced password.
pub(crate) fn bad_setting(expected: &'static str) -> Error {
    Error::new(ErrorKind::Config, "connect", expected)
}
