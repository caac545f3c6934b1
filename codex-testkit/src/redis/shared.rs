//! The server that the tests of a process share.

use std::{env, fmt, sync::OnceLock};

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _};

use super::{container::RedisContainer, numbers::Numbers, raw::dial, server::RedisServer};
use crate::require::Unavailable;

const URL_VARIABLE: &str = "CODEX_TEST_REDIS_URL";

/// The shared server.
pub(super) enum Shared {
    /// A server that the user named. It may hold data.
    Given {
        info: ConnectionInfo,
        /// The URL as given.
        url: String,
    },
    /// A process that the tests have started.
    Process(Box<RedisServer>),
    /// A container that the tests have started.
    Container(RedisContainer, Numbers),
}

// Without the URL and the settings, which may hold a password.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given { info, .. } => f.debug_tuple("Given").field(info.addr()).finish(),
            Self::Process(server) => f.debug_tuple("Process").field(server).finish(),
            Self::Container(container, _) => f.debug_tuple("Container").field(container).finish(),
        }
    }
}

/// Returns the shared server. The first call starts it, and its result is kept, even if it is an
/// error.
///
/// Blocks and uses no async runtime, because the first caller's runtime may have ended when the
/// next test calls this.
pub(super) fn shared() -> Result<&'static Shared, Unavailable> {
    static SHARED: OnceLock<Result<Shared, Unavailable>> = OnceLock::new();
    SHARED.get_or_init(find).as_ref().map_err(Clone::clone)
}

/// Returns the URL of the shared server, for tests that use no database: `CODEX_TEST_REDIS_URL`
/// itself, or the URL of database 0 of a server that the tests have started.
///
/// # Errors
///
/// [`Unavailable`] if there is no server, with the reason that each attempt failed.
pub fn shared_url() -> Result<String, Unavailable> {
    Ok(match shared()? {
        Shared::Given { url, .. } => url.clone(),
        Shared::Process(server) => server.url(),
        Shared::Container(container, _) => container.url(),
    })
}

fn find() -> Result<Shared, Unavailable> {
    if let Ok(url) = env::var(URL_VARIABLE) {
        // No fallback: a private server would hide that the server named by the user is down.
        return match reach(&url) {
            Ok(info) => Ok(Shared::Given { info, url }),
            Err(reason) => Err(Unavailable::new(format!("{URL_VARIABLE} is set, but {reason}"))),
        };
    }
    let no_process = match RedisServer::start() {
        Ok(server) => return Ok(Shared::Process(Box::new(server))),
        Err(reason) => reason,
    };
    match RedisContainer::start() {
        Ok(container) => Ok(Shared::Container(container, Numbers::default())),
        Err(no_container) => Err(Unavailable::new(format!(
            "{URL_VARIABLE} is not set; {no_process}; {no_container}"
        ))),
    }
}

/// Parses the URL of a server that the tests have not started, and checks that the server answers.
pub(super) fn reach(url: &str) -> Result<ConnectionInfo, Unavailable> {
    // The messages of the `redis` crate do not contain the URL, which may hold a password.
    let info = url
        .into_connection_info()
        .map_err(|error| Unavailable::new(format!("it is not a URL of a Redis server: {error}")))?;
    Client::open(info.clone())
        .and_then(|_| dial(&info))
        .map_err(|error| Unavailable::new(format!("its server does not answer: {error}")))?;
    Ok(info)
}
