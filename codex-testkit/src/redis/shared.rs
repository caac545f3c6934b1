//! The one server that the tests of a process share.

use std::{env, sync::OnceLock};

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _};

use super::{container::RedisContainer, numbers::Numbers, raw::dial, server::RedisServer};
use crate::require::Unavailable;

const URL_VARIABLE: &str = "CODEX_TEST_REDIS_URL";

/// The address of the shared server.
#[derive(Debug)]
pub(super) enum Shared {
    /// Somebody else's, who may have data there.
    Given(ConnectionInfo),
    /// A process of our own.
    Process(Box<RedisServer>),
    /// A container of our own.
    Container(RedisContainer, Numbers),
}

/// Returns the shared server, started by whoever asks first; a failure is remembered too.
///
/// It blocks, and uses no runtime: the test that asks first may run on one that is gone when the
/// next test asks.
pub(super) fn shared() -> Result<&'static Shared, Unavailable> {
    static SHARED: OnceLock<Result<Shared, Unavailable>> = OnceLock::new();
    SHARED.get_or_init(find).as_ref().map_err(Clone::clone)
}

/// Returns the URL of database 0 of the shared server, for what is about no database at all.
///
/// # Errors
///
/// [`Unavailable`] where there is no server, with what was tried.
pub fn shared_url() -> Result<String, Unavailable> {
    Ok(match shared()? {
        Shared::Given(_) => env::var(URL_VARIABLE).unwrap_or_default(),
        Shared::Process(server) => server.url(),
        Shared::Container(container, _) => container.url(),
    })
}

fn find() -> Result<Shared, Unavailable> {
    if let Ok(url) = env::var(URL_VARIABLE) {
        // Anyone who names a server wants that server: a private server in its place would hide
        // that it is down.
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

/// Returns the address of a server that answers, and is not ours.
pub(super) fn reach(url: &str) -> Result<ConnectionInfo, Unavailable> {
    // The crate's own texts do not repeat the URL, which may hold a password.
    let info = url
        .into_connection_info()
        .map_err(|error| Unavailable::new(format!("it is no URL of a Redis: {error}")))?;
    Client::open(info.clone())
        .and_then(|_| dial(&info))
        .map_err(|error| Unavailable::new(format!("its server does not answer: {error}")))?;
    Ok(info)
}
