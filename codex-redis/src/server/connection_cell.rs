//! A cell for a connection: empty, being dialled, or in use.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::locate::{Endpoint, Locate};
use crate::connection::{
    connect::Connection,
    failure::{DialError, catch_panic},
};

/// The outcome of a dial; `None` while it is in progress. Any number of calls can wait for it, and
/// none of them can cancel it.
pub(crate) type Dialled = watch::Receiver<Option<Result<Arc<Connection>, DialError>>>;

/// The cell of a connection. Its lock is never held across an await.
#[derive(Debug)]
pub(crate) struct ConnectionCell(RwLock<State>);

#[derive(Debug)]
enum State {
    Empty,
    Dialling(Dialled),
    Ready(Arc<Connection>),
    /// After failed dials, until the given time.
    Resting {
        until: Instant,
        failures: u32,
        reason: DialError,
    },
}

/// The state of a cell, for a call.
pub(crate) enum Found {
    Ready(Arc<Connection>),
    Dialling(Dialled),
    Resting(DialError),
}

impl ConnectionCell {
    pub(crate) fn new() -> Self {
        Self(RwLock::new(State::Empty))
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere leaves no partial change.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection if it is open.
    pub(crate) fn ready(&self) -> Option<Arc<Connection>> {
        self.with_ready(Arc::clone)
    }

    /// Calls `work` with the connection if it is open. `work` must be brief, because the cell
    /// cannot change meanwhile.
    pub(crate) fn with_ready<T>(&self, work: impl FnOnce(&Arc<Connection>) -> T) -> Option<T> {
        match &*self.state() {
            State::Ready(connection) if !connection.multiplexer().is_closed() => Some(work(connection)),
            _ => None,
        }
    }

    /// Returns the connection or its state. Begins to dial if no dial is in progress.
    pub(crate) fn find<L: Locate>(self: &Arc<Self>, endpoint: &Arc<Endpoint<L>>) -> Found {
        let mut state = self.state_mut();
        let failures = match &*state {
            State::Ready(connection) if !connection.multiplexer().is_closed() => {
                return Found::Ready(Arc::clone(connection));
            }
            // A dial that was dropped with its runtime has left no result and no sender.
            State::Dialling(dialled) if dialled.has_changed().is_ok() => return Found::Dialling(dialled.clone()),
            State::Resting { until, reason, .. } if Instant::now() < *until => return Found::Resting(reason.clone()),
            State::Resting { failures, .. } => *failures,
            State::Empty | State::Ready(_) | State::Dialling(_) => 0,
        };
        let dialled = self.spawn_dial(Arc::clone(endpoint), failures);
        *state = State::Dialling(dialled.clone());
        Found::Dialling(dialled)
    }

    /// Dials in a separate task, so that a call with a short deadline cannot cancel the dial for
    /// other calls.
    fn spawn_dial<L: Locate>(self: &Arc<Self>, endpoint: Arc<Endpoint<L>>, failures: u32) -> Dialled {
        let (result, dialled) = watch::channel(None);
        let cell = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = catch_panic(endpoint.dial()).await.map(Arc::new);
            *cell.state_mut() = match &outcome {
                Ok(connection) => State::Ready(Arc::clone(connection)),
                // A dial that timed out does not lengthen the pause, so that calls soon notice a
                // server that resumes.
                Err(reason) if reason.is_late() => State::Resting {
                    until: Instant::now() + pause(&endpoint, 0),
                    failures,
                    reason: reason.clone(),
                },
                Err(reason) => State::Resting {
                    until: Instant::now() + pause(&endpoint, failures),
                    failures: failures.saturating_add(1),
                    reason: reason.clone(),
                },
            };
            // The waiting calls may all have given up.
            let _ = result.send(Some(outcome));
        });
        dialled
    }

    /// Evicts the connection with this id, so that the next call dials. Returns whether the cell
    /// held it. Calls in flight keep the connection. A newer connection stays.
    pub(crate) fn evict(&self, id: u64, reason: &'static str) -> bool {
        let mut state = self.state_mut();
        let left = match &*state {
            State::Ready(connection) if connection.id() == id => std::mem::replace(&mut *state, State::Empty),
            _ => return false,
        };
        drop(state);
        if let State::Ready(connection) = left {
            crate::observe::evicted(connection.address().parts(), reason);
        }
        true
    }

    /// Evicts the connection with this id if it is older than `age`.
    #[cold]
    pub(crate) fn evict_older(&self, id: u64, age: Duration, reason: &'static str) {
        let is_older = self.with_ready(|connection| connection.since().elapsed() > age);
        if is_older == Some(true) {
            self.evict(id, reason);
        }
    }

    /// Returns whether a runtime drives a connection or a dial of the cell.
    pub(crate) fn is_alive(&self) -> bool {
        match &*self.state() {
            State::Ready(connection) => !connection.multiplexer().is_closed(),
            State::Dialling(dialled) => dialled.has_changed().is_ok(),
            State::Empty | State::Resting { .. } => false,
        }
    }
}

/// Returns the next pause: doubled with each failure, then a random share between half and all of
/// it. The jitter keeps handles that lost a server at the same time from reconnecting at the same
/// time.
fn pause<L: Locate>(endpoint: &Endpoint<L>, failures: u32) -> Duration {
    let doubled = endpoint.settings.backoff_min.saturating_mul(1 << failures.min(16));
    let longest = doubled.min(endpoint.place.longest_pause(&endpoint.settings));
    // Without random numbers there is no jitter.
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    longest.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
}
