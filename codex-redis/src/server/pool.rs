//! The connections of one runtime to one server.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    connection_cell::{ConnectionCell, Found},
    locate::{Endpoint, Locate},
};
use crate::{
    connection::{
        connect::Connection,
        failure::{DialError, NotSent},
        multiplexer::{Answering, Deadline},
    },
    wire::Request,
};

#[derive(Debug)]
pub(crate) struct Pool<L> {
    endpoint: Arc<Endpoint<L>>,
    cells: Vec<Arc<ConnectionCell>>,
    /// The number of stalled connections that the pool has already reacted to.
    stalls: AtomicU64,
}

/// A request that was sent.
pub(super) struct Sent<'a> {
    pub(super) cell: &'a Arc<ConnectionCell>,
    /// The id of the connection.
    pub(super) connection: u64,
    pub(super) answer: Answering,
}

/// A connection and its cell.
pub(super) type Place<'a> = (&'a Arc<ConnectionCell>, Arc<Connection>);

impl<L: Locate> Pool<L> {
    pub(super) fn new(endpoint: Arc<Endpoint<L>>) -> Self {
        Self {
            cells: (0..endpoint.settings.connections)
                .map(|_| Arc::new(ConnectionCell::new()))
                .collect(),
            stalls: AtomicU64::new(endpoint.stalls().count()),
            endpoint,
        }
    }

    /// Sends a small request on the first connection without a large transfer. Returns `None` if a
    /// connection has to be dialled first.
    ///
    /// The first cell is preferred, because requests that are written together cost less than on
    /// several connections. Large requests prefer the second cell, so that they delay no small
    /// requests. Small requests move there while the first cell has a large transfer.
    ///
    /// `sent` is called with the connection.
    pub(super) fn send_small(
        &self,
        request: &Request<'_, '_>,
        deadline: Deadline,
        sent: impl Fn(&Arc<ConnectionCell>, &Arc<Connection>),
    ) -> Option<Result<Sent<'_>, NotSent>> {
        self.leave_idle_beside_stalled();
        let mut clogged = None;
        for cell in &self.cells {
            let outcome = cell.with_ready(|connection| {
                if connection.multiplexer().is_clogged() {
                    return None;
                }
                Some(send(cell, connection, request, None, deadline).inspect(|_| sent(cell, connection)))
            })?;
            match outcome {
                Some(outcome) => return Some(outcome),
                None => clogged = clogged.or(Some(cell)),
            }
        }
        let cell = clogged?;
        cell.with_ready(|connection| {
            send(cell, connection, request, None, deadline).inspect(|_| sent(cell, connection))
        })
    }

    /// Returns the preferred connection for a request of this size, or `None` if it has to be
    /// dialled first.
    pub(super) fn ready(&self, is_large: bool) -> Option<Place<'_>> {
        self.leave_idle_beside_stalled();
        let cell = self.from(is_large).next()?;
        Some((cell, cell.ready()?))
    }

    /// Returns a connection. Every cell that is not ready begins to dial. The call waits for a dial
    /// only if no cell is ready.
    pub(super) async fn connection(&self, is_large: bool) -> Result<Place<'_>, DialError> {
        loop {
            self.leave_idle_beside_stalled();
            let mut ready = None;
            let mut dialling = None;
            let mut resting = None;
            for cell in self.from(is_large) {
                match cell.find(&self.endpoint) {
                    Found::Ready(connection) => ready = ready.or(Some((cell, connection))),
                    Found::Dialling(dialled) => dialling = dialling.or(Some((cell, dialled))),
                    Found::Resting(reason) => resting = Some(reason),
                }
            }
            match (ready, dialling, resting) {
                (Some(ready), ..) => return Ok(ready),
                (None, Some((cell, dialled)), _) => {
                    // A runtime that is shut down drops each dial at once, so another dial would
                    // not help.
                    let outcome = outcome(dialled).await.ok_or_else(DialError::shut_down)?;
                    return Ok((cell, outcome?));
                }
                (None, None, Some(reason)) => return Err(reason),
                // There is at least one cell, and each is in one of the three states.
                (None, None, None) => {}
            }
        }
    }

    /// Evicts the idle connections if another connection to the server has stalled, in this pool or
    /// elsewhere. A firewall or a fail-over that silently cut that connection has cut the idle
    /// connections too, and a dial costs less than finding out.
    #[inline]
    fn leave_idle_beside_stalled(&self) {
        let stalls = self.endpoint.stalls().count();
        if self.stalls.load(Ordering::Relaxed) != stalls {
            self.stalls.store(stalls, Ordering::Relaxed);
            self.leave_idle("idle beside one with timeouts in a row");
        }
    }

    /// Evicts the connections without a waiting call.
    pub(super) fn leave_idle(&self, reason: &'static str) {
        for cell in &self.cells {
            if let Some(connection) = cell.ready().filter(|ready| ready.multiplexer().is_idle()) {
                cell.evict(connection.id(), reason);
            }
        }
    }

    /// Returns the cells in the order of preference.
    fn from(&self, is_large: bool) -> impl Iterator<Item = &Arc<ConnectionCell>> {
        let first = usize::from(is_large && self.cells.len() > 1);
        self.cells[first..].iter().chain(&self.cells[..first])
    }

    /// Returns whether a runtime drives a connection or a dial of the pool.
    pub(super) fn is_alive(&self) -> bool {
        self.cells.iter().any(|cell| cell.is_alive())
    }
}

pub(super) fn send<'a>(
    cell: &'a Arc<ConnectionCell>,
    connection: &Arc<Connection>,
    request: &Request<'_, '_>,
    room: Option<OwnedSemaphorePermit>,
    deadline: Deadline,
) -> Result<Sent<'a>, NotSent> {
    let answer = connection.multiplexer().send(request, room, deadline)?;
    Ok(Sent {
        cell,
        connection: connection.id(),
        answer,
    })
}

/// Waits for a dial. Returns `None` if the dial was dropped with its runtime.
async fn outcome(
    mut dialled: watch::Receiver<Option<Result<Arc<Connection>, DialError>>>,
) -> Option<Result<Arc<Connection>, DialError>> {
    let outcome = dialled.wait_for(Option::is_some).await.ok()?;
    outcome.clone()
}
