//! The place of one connection: empty, being dialled, or in use.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::{
    connection::{connect::Link, failure::DialError},
    server::locate::{Endpoint, dial},
};

/// What comes of a dial; `None` while it is under way. Any number of calls wait for it, and none of them can cancel it.
pub(crate) type Dialled = watch::Receiver<Option<Result<Arc<Link>, DialError>>>;

/// Never locked across an await.
#[derive(Debug)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    Empty,
    Dialling(Dialled),
    Ready(Arc<Link>),
    /// After failed dials, until the given time.
    Resting {
        until: Instant,
        failures: u32,
        reason: DialError,
    },
}

/// What a call finds in a slot.
pub(crate) enum Found {
    Ready(Arc<Link>),
    Dialling(Dialled),
    Resting(DialError),
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Empty))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, where there is one.
    pub(crate) fn ready(&self) -> Option<Arc<Link>> {
        match &*self.state() {
            State::Ready(link) if !link.mux().is_closed() => Some(Arc::clone(link)),
            _ => None,
        }
    }

    /// The connection, or what is known of it; begins to dial where nobody does.
    pub(crate) fn find(self: &Arc<Self>, endpoint: &Arc<Endpoint>) -> Found {
        let mut state = self.state();
        let failures = match &*state {
            State::Ready(link) if !link.mux().is_closed() => return Found::Ready(Arc::clone(link)),
            // A dial that was dropped with its runtime has left no result and no sender.
            State::Dialling(dialled) if dialled.has_changed().is_ok() => return Found::Dialling(dialled.clone()),
            State::Resting { until, reason, .. } if Instant::now() < *until => return Found::Resting(*reason),
            State::Resting { failures, .. } => *failures,
            State::Empty | State::Ready(_) | State::Dialling(_) => 0,
        };
        let dialled = self.spawn_dial(Arc::clone(endpoint), failures);
        *state = State::Dialling(dialled.clone());
        Found::Dialling(dialled)
    }

    /// In a task of its own, so that a call with a short deadline cannot cancel it for the others, or for the next.
    fn spawn_dial(self: &Arc<Self>, endpoint: Arc<Endpoint>, failures: u32) -> Dialled {
        let (result, dialled) = watch::channel(None);
        let slot = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = dial(&endpoint).await.map(Arc::new);
            *slot.state() = match &outcome {
                Ok(link) => State::Ready(Arc::clone(link)),
                // A dial that had all its time makes no pause longer: a server that goes on again would be left waiting.
                Err(reason) if reason.is_late() => State::Resting {
                    until: Instant::now() + pause(&endpoint, 0),
                    failures,
                    reason: *reason,
                },
                Err(reason) => State::Resting {
                    until: Instant::now() + pause(&endpoint, failures),
                    failures: failures.saturating_add(1),
                    reason: *reason,
                },
            };
            // Nobody may be waiting any more.
            let _ = result.send(Some(outcome));
        });
        dialled
    }

    /// Leaves this connection, so that the next call dials, and says whether it was in here. Calls that are under way on it keep it.
    /// Another one, dialled since, stays.
    pub(crate) fn evict(&self, link: &Arc<Link>, reason: &'static str) -> bool {
        let mut state = self.state();
        let is_here = matches!(&*state, State::Ready(current) if Arc::ptr_eq(current, link));
        if is_here {
            *state = State::Empty;
            crate::observe::evicted(link.address(), reason);
        }
        is_here
    }

    /// Whether a runtime drives something in here.
    pub(crate) fn is_alive(&self) -> bool {
        match &*self.state() {
            State::Ready(link) => !link.mux().is_closed(),
            State::Dialling(dialled) => dialled.has_changed().is_ok(),
            State::Empty | State::Resting { .. } => false,
        }
    }
}

/// Doubled with each failure, then between half of it and all of it by chance: handles that lost a server together should not
/// all come back together.
fn pause(endpoint: &Endpoint, failures: u32) -> Duration {
    let doubled = endpoint.settings.backoff_min.saturating_mul(1 << failures.min(16));
    let longest = doubled.min(endpoint.longest_pause());
    // Without random numbers there is no jitter, which is no reason to fail.
    let chance = getrandom::u32().unwrap_or(u32::MAX);
    longest.mul_f64(0.5 + 0.5 * f64::from(chance) / f64::from(u32::MAX))
}
