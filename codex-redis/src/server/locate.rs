//! The address of a server, and the dial.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::Value;
use tokio::time::{Instant, timeout_at};

use crate::{
    config::settings::{Address, Settings},
    connection::{
        connect::{Connection, log_end, open},
        failure::{DialError, End},
        multiplexer::Watch,
    },
    observe,
    wire::error::kind_name,
};

/// The location of a server.
pub(crate) trait Locate: fmt::Debug + Send + Sync + 'static {
    /// Returns the server's address, if it never changes.
    fn fixed(&self) -> Option<&Address>;

    /// Returns the server's address now.
    fn locate(&self) -> impl Future<Output = Result<Address, DialError>> + Send;

    /// Checks that a new connection leads to the intended server.
    fn verify(
        &self,
        connection: &Connection,
        settings: &Settings,
    ) -> impl Future<Output = Result<(), DialError>> + Send;

    /// Returns whether the server is still at this address, as far as known without asking.
    fn is_at(&self, address: &Address) -> bool;

    /// Returns the longest pause between two dials.
    fn longest_pause(&self, settings: &Settings) -> Duration;
}

/// A server at an address that never changes.
impl Locate for Address {
    fn fixed(&self) -> Option<&Address> {
        Some(self)
    }

    async fn locate(&self) -> Result<Address, DialError> {
        Ok(self.clone())
    }

    async fn verify(&self, _: &Connection, _: &Settings) -> Result<(), DialError> {
        Ok(())
    }

    fn is_at(&self, address: &Address) -> bool {
        self == address
    }

    fn longest_pause(&self, settings: &Settings) -> Duration {
        settings.backoff_max
    }
}

/// A server and its settings.
pub(crate) struct Endpoint<L> {
    pub(crate) place: L,
    pub(crate) settings: Arc<Settings>,
    stalls: Stalls,
}

/// The number of connections to a server that have stalled. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Stalls(Arc<AtomicU64>);

impl Stalls {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Counts a connection that ended for this reason, if it stalled.
    pub(super) fn ended(&self, end: End) {
        if end == End::Stalled {
            self.0.fetch_add(1, Ordering::Release);
        }
    }
}

impl<L: Locate> Endpoint<L> {
    pub(super) fn new(place: L, settings: Arc<Settings>) -> Self {
        Self {
            place,
            settings,
            stalls: Stalls::default(),
        }
    }

    pub(super) fn stalls(&self) -> &Stalls {
        &self.stalls
    }

    async fn open(&self, address: &Address, deadline: Instant) -> Result<Connection, DialError> {
        let watch = Box::new(CountStalls {
            address: address.clone(),
            stalls: self.stalls.clone(),
        });
        open(address, &self.settings, deadline, watch).await
    }

    /// Dials within the connect timeout. Tasks of the current runtime drive the connection.
    pub(super) async fn dial(&self) -> Result<Connection, DialError> {
        let settings = &*self.settings;
        let start = Instant::now();
        let deadline = start + settings.connect_timeout;
        let attempt = async {
            let connection = match self.place.fixed() {
                Some(address) => self.open(address, deadline).await?,
                None => self.open(&self.place.locate().await?, deadline).await?,
            };
            self.place.verify(&connection, settings).await?;
            Ok(connection)
        };
        // Each step of `open` ends at the deadline with its own error. This timeout covers the
        // questions to the Sentinels and the server.
        let dialled = timeout_at(deadline, attempt).await.unwrap_or(Err(DialError::late(
            "no connection to the primary within the connect timeout",
        )));
        let (database, taken) = (settings.database, start.elapsed());
        match &dialled {
            Ok(connection) => observe::dialled(connection.address().parts(), database, taken),
            Err(error) => {
                observe::not_dialled(&self.place, database, kind_name(error.kind), error.message, taken);
            }
        }
        dialled
    }
}

impl<L: fmt::Debug> fmt::Debug for Endpoint<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// A watch that logs the end of a connection, and counts it if the connection stalled.
struct CountStalls {
    address: Address,
    stalls: Stalls,
}

impl Watch for CountStalls {
    /// Ignores pushes: the connection requests none.
    fn push(&self, _: Vec<Value>) {}

    fn ended(&self, end: End, unanswered: usize) {
        self.stalls.ended(end);
        log_end(&self.address, end, unanswered);
    }
}
