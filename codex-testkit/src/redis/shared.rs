//! The server that the tests of a process share.

use std::{env, sync::OnceLock};

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _};

use super::{container::RedisContainer, numbers::Numbers, raw::dial, server::RedisServer};
use crate::require::Unavailable;

const URL_VARIABLE: &str = "CODEX_TEST_REDIS_URL";

/// The address of the shared server.
#[derive(Debug)]
pub(super) enum Shared {
    /// A server of the user, which may hold data.
    Given(ConnectionInfo),
    /// A process that the tests have started.
    Process(Box<RedisServer>),
    /// A container that the tests have started.
    Container(RedisContainer, Numbers),
}

/// Returns the shared server. The first call starts it. A failure is remembered too.
///
/// This blocks without a runtime, because the runtime of the first caller may have ended when the
/// next test asks.
pub(super) fn shared() -> Result<&'static Shared, Unavailable> {
    static SHARED: OnceLock<Result<Shared, Unavailable>> = OnceLock::new();
    SHARED.get_or_init(find).as_ref().map_err(Clone::clone)
}

/// Returns the URL of database 0 of the shared server, for tests that use no database.
///
/// # Errors
///
/// [`Unavailable`] if there is no server, with the list of attempts.
pub fn shared_url() -> Result<String, Unavailable> {
    Ok(match shared()? {
        Shared::Given(_) => env::var(URL_VARIABLE).unwrap_or_default(),
        Shared::Process(server) => server.url(),
        Shared::Container(container, _) => container.url(),
    })
}

fn find() -> Result<Shared, Unavailable> {
    if let Ok(url) = env::var(URL_VARIABLE) {
        // If the user names a server, a private server in its place would hide that the named
        // server is down.
        return match reach(&url) {
            Ok(info) => Ok(Shared::Given(info)),
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

/// Returns the address of a server that answers and that the tests have not started.
pub(super) fn reach(url: &str) -> Result<ConnectionInfo, Unavailable> {
    // The crate's own messages do not contain the URL, which may hold a password.
    let info = url
        .into_connection_info()
        .map_err(|error| Unavailable::new(format!("it is no URL of a Redis: {error}")))?;
    Client::open(info.clone())
        .and_then(|_| dial(&info))
        .map_err(|error| Unavailable::new(format!("its server does not answer: {error}")))?;
    Ok(info)
}
