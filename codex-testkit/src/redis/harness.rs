//! The harness of any client of a Redis server.

use std::{fmt, future::Future, time::Duration};

use codex_traits::{KvBackend, Result};

use super::{Database, Leased};
use crate::{Foreign, Harness, Time, require::Unavailable};

/// Runs the clauses on the backend that `connect` makes of a URL: each store is a [`Database`] of a server.
///
/// ```no_run
/// use codex_testkit::redis::ServerHarness;
/// # use codex_traits::{AnyBackend, Result};
/// # async fn connect(url: &str) -> Result<AnyBackend> { unimplemented!() }
///
/// # async fn sketch() {
/// let harness = ServerHarness::shared(|url| async move { connect(&url).await }).unwrap();
/// let report = codex_testkit::run(&harness).await;
/// # }
/// ```
pub struct ServerHarness<C> {
    /// The shared server where there is none.
    url: Option<String>,
    confined: bool,
    connect: C,
}

// With the bounds of `Harness` already here, so that a closure's argument needs no type.
impl<C, F, B> ServerHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    /// On the server that tests share; see [the module](super).
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where there is none.
    pub fn shared(connect: C) -> Result<Self, Unavailable> {
        drop(Database::lease()?);
        Ok(Self {
            url: None,
            confined: false,
            connect,
        })
    }

    /// On the server that `url` names, by the rules of [`Database::lease_from`]: what anybody has there is left alone.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where it does not answer or has no database that is empty.
    pub fn on(url: &str, connect: C) -> Result<Self, Unavailable> {
        let first = Database::lease_from(url)?;
        let confined = Database::lease_at_once(url).is_err();
        drop(first);
        Ok(Self {
            url: Some(url.to_owned()),
            confined,
            connect,
        })
    }
}

impl<C> ServerHarness<C> {
    /// Whether there is one database alone: the URL names it, or no second one is empty. The clause that needs two stores at a time (set-05)
    /// cannot be run then.
    pub fn is_confined(&self) -> bool {
        self.confined
    }

    fn lease(&self) -> Result<Database, Unavailable> {
        match &self.url {
            Some(url) => Database::lease_from(url),
            None => Database::lease(),
        }
    }
}

impl<C> fmt::Debug for ServerHarness<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("ServerHarness")
            .field("confined", &self.confined)
            .finish_non_exhaustive()
    }
}

impl<C, F, B> Harness for ServerHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    type Backend = Leased<B>;

    async fn fresh(&self) -> Leased<B> {
        let database = self
            .lease()
            .unwrap_or_else(|reason| panic!("no store for the clause: {reason}"));
        let backend = (self.connect)(database.url()).await;
        Leased::new(
            backend.unwrap_or_else(|error| panic!("no connection for the clause: {error}")),
            database,
        )
    }

    /// Redis looks at the clock when a key is asked for; the rest is the way there and back on a busy machine.
    fn time(&self) -> Time {
        Time::Real {
            granularity: Duration::from_millis(25),
        }
    }

    fn reopen(&self, backend: &Leased<B>) -> Option<Leased<B>> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Leased<B>, foreign: &Foreign) -> bool {
        backend.place().plant(foreign)
    }

    async fn is_planted(&self, backend: &Leased<B>, foreign: &Foreign) -> bool {
        backend.place().is_planted(foreign)
    }

    async fn memory_in_use(&self, backend: &Leased<B>) -> Option<u64> {
        backend.place().memory_of_clients()
    }
}
