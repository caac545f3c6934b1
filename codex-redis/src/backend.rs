//! The backend handle, and the start and end of its calls.

mod many;
mod scans;
mod verbs;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use codex_traits::{AnyBackend, Result};

use crate::{
    config::builder::RedisBuilder,
    connection::multiplexer::Deadline,
    observe::metrics,
    route::{Permit, Router, Servers},
    server::Timing,
    wire::{Failure, reply},
};

/// The outcome of a verb, before its name is attached to a failure.
type Outcome<T> = std::result::Result<T, Failure>;

/// A Redis or Valkey server as a [`KvBackend`](codex_traits::KvBackend).
///
/// A clone is another handle on the same connections. See [the crate](crate) for deadlines,
/// failures and runtimes.
///
/// # Cancellation
///
/// The server may still carry out a call whose future is dropped, at most once. The next call still
/// gets its own answer.
#[derive(Clone)]
pub struct RedisBackend(Arc<Router>);

impl RedisBackend {
    /// Connects to the server in the URL, with every other setting at its default.
    /// [`RedisBuilder::url`] lists the forms of the URL.
    ///
    /// # Errors
    ///
    /// The errors of [`RedisBuilder::build`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder().url(url).build().await
    }

    /// Returns a builder with every setting at its default.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::new()
    }

    /// Returns a handle to the server in the URL without connecting. The first call connects, so
    /// the server need not be reachable yet. The function needs no runtime.
    ///
    /// ```
    /// let backend = codex_redis::RedisBackend::connect_lazy("redis://cache.internal:6379/0")?;
    /// # Ok::<(), codex_traits::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting. If the server is
    /// down or the password is wrong, the calls fail.
    pub fn connect_lazy(url: &str) -> Result<Self> {
        Self::builder().url(url).build_lazy()
    }

    /// Reads several values. On a cluster they are not a snapshot.
    pub(crate) async fn values(&self, timing: &Timing, keys: &[&str]) -> Outcome<Vec<Option<Bytes>>> {
        let server = match &self.0.servers {
            Servers::One(server) => server,
            Servers::Cluster(cluster) => return Box::pin(many::get_each(cluster, timing.deadline, keys)).await,
        };
        let Some(mget) = many::mget(keys) else {
            return Box::pin(many::get_in_parts(server, timing.deadline, keys)).await;
        };
        // A single server needs no key for routing.
        reply::values(self.0.command(timing, "", &mget).await?, keys.len())
    }

    pub(crate) fn router(&self) -> &Router {
        &self.0
    }

    /// Waits until a call of this verb may begin. [`Call::end`] attaches the verb to its failure.
    pub(crate) async fn begin(&self, verb: &'static str) -> Result<Call<'_>> {
        let counted = metrics::Call::begin(verb);
        match self.0.admit(verb).await {
            Ok(permit) => Ok(Call { verb, counted, permit }),
            Err(failure) => {
                counted.end(failure.outcome());
                Err(failure.into_error(verb))
            }
        }
    }
}

impl RedisBuilder {
    /// Checks the settings, connects, logs in and waits for the first answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting, a refused
    /// password, a missing password, and a database that the server does not have;
    /// [`ErrorKind::Connection`](codex_traits::ErrorKind::Connection) or
    /// [`ErrorKind::Timeout`](codex_traits::ErrorKind::Timeout) if the server cannot be reached
    /// within [`connect_timeout`](Self::connect_timeout);
    /// [`ErrorKind::Server`](codex_traits::ErrorKind::Server) if it is still loading its data. The
    /// given nodes of a cluster are tried one after another, each with its own timeout.
    pub async fn build(self) -> Result<RedisBackend> {
        let checked = self.check()?;
        let is_lazy = checked.lazy;
        let router = Router::new(checked);
        if !is_lazy {
            router
                .connect()
                .await
                .map_err(|failure| failure.into_error("connect"))?;
        }
        Ok(RedisBackend(Arc::new(router)))
    }

    /// Checks the settings without connecting. The first call connects, as with
    /// [`lazy`](Self::lazy). The function needs no runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting.
    pub fn build_lazy(self) -> Result<RedisBackend> {
        Ok(RedisBackend(Arc::new(Router::new(self.check()?))))
    }
}

/// A call in flight.
pub(crate) struct Call<'a> {
    verb: &'static str,
    counted: metrics::Call,
    permit: Permit<'a>,
}

impl Call<'_> {
    /// Returns the deadline of the call, for all its round trips.
    pub(crate) fn deadline(&self) -> Deadline {
        self.permit.timing.deadline
    }

    /// Returns the timing of the call, for its first request.
    pub(crate) fn timing(&self) -> &Timing {
        &self.permit.timing
    }

    /// Ends the call, and attaches its verb to a failure.
    pub(crate) fn end<T>(self, outcome: Outcome<T>) -> Result<T> {
        self.end_as(outcome, false)
    }

    /// Ends the call, and attaches its verb to a failure. A value may be an error of the server,
    /// with which the call counts as refused.
    pub(crate) fn end_as<T>(self, outcome: Outcome<T>, is_refused: bool) -> Result<T> {
        match outcome {
            Ok(value) => {
                self.counted.end(if is_refused { "refused" } else { "ok" });
                Ok(value)
            }
            Err(failure) => {
                self.counted.end(failure.outcome());
                Err(failure.into_error(self.verb))
            }
        }
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RedisBackend> for AnyBackend {
    fn from(backend: RedisBackend) -> Self {
        Self::new(backend)
    }
}
