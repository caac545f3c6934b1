//! The one server that the tests of a process share.

use std::{
    collections::BTreeSet,
    env,
    sync::{Mutex, OnceLock, PoisonError},
};

use redis::{Client, ConnectionInfo, IntoConnectionInfo as _};

use super::{
    container::RedisContainer,
    raw::dial,
    server::{DATABASES, RedisServer},
};
use crate::require::Unavailable;

const URL_VARIABLE: &str = "CODEX_TEST_REDIS_URL";

/// Where the shared server is.
#[derive(Debug)]
pub(super) enum Shared {
    /// Somebody else's, who may have data there.
    Given(ConnectionInfo),
    /// A process of our own.
    Process(Box<RedisServer>),
    /// A container of our own.
    Container(RedisContainer, Numbers),
}

/// The shared server, started by whoever asks first; a failure is remembered too.
///
/// It blocks, and uses no runtime: the test that asks first may run on one that is gone when the next test asks.
pub(super) fn shared() -> Result<&'static Shared, Unavailable> {
    static SHARED: OnceLock<Result<Shared, Unavailable>> = OnceLock::new();
    SHARED.get_or_init(find).as_ref().map_err(Clone::clone)
}

/// The URL of database 0 of the shared server, for what is about no database at all.
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
        // Whoever names a server wants that one: a private one in its place would hide that it is down.
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

/// Where a server is that answers, and is not ours.
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

/// The databases of a server that is ours alone, so that a counter is enough to tell who has which.
#[derive(Debug, Default)]
pub(super) struct Numbers(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    ever: u32,
    returned: BTreeSet<u32>,
}

impl Numbers {
    /// A number that nobody holds, and whether somebody did before. Fresh ones first: what a test left running cannot disturb the
    /// next one there. Database 0 is never leased, because commands that forget to select one end up in it.
    pub(super) fn take(&self) -> Option<(u32, bool)> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.ever + 1 < DATABASES {
            used.ever += 1;
            return Some((used.ever, false));
        }
        used.returned.pop_first().map(|number| (number, true))
    }

    pub(super) fn give_back(&self, number: u32) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.returned.insert(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_leased_once_and_again_after_it_was_given_back() {
        let numbers = Numbers::default();
        let all: BTreeSet<u32> = std::iter::from_fn(|| numbers.take())
            .map(|(number, _)| number)
            .collect();
        assert_eq!(all, (1..DATABASES).collect());
        numbers.give_back(7);
        assert_eq!(numbers.take(), Some((7, true)));
        assert_eq!(numbers.take(), None);
    }
}
