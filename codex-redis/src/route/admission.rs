//! How many calls of a handle may be under way on a runtime, how many more may wait, and until
//! when.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use codex_traits::ErrorKind;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{config::settings::Settings, connection::multiplexer::Deadline, server::PerRuntime, wire::Failure};

/// The admission of calls, for each runtime by itself: calls on a runtime that is not being driven
/// must not hold up others.
#[derive(Debug)]
pub(crate) struct Admission {
    settings: Arc<Settings>,
    gates: PerRuntime<Gate>,
}

#[derive(Debug)]
struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Held while a call is under way.
pub(crate) struct Permit {
    pub(crate) deadline: Deadline,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            gates: PerRuntime::new(),
        }
    }

    /// The deadline of a call that begins now.
    pub(crate) fn deadline(&self, verb: &'static str) -> Deadline {
        let now = Instant::now();
        let at = now + self.settings.command_timeout;
        Deadline {
            at,
            latest: at.max(now + self.settings.transfer_timeout),
            verb,
        }
    }

    /// Waits until the call may begin, within its deadline, or fails immediately if too many calls
    /// wait already.
    pub(crate) async fn admit(&self, verb: &'static str) -> Result<Permit, Failure> {
        let deadline = self.deadline(verb);
        let gate = self.gates.here(
            || Gate {
                permits: Arc::new(Semaphore::new(self.settings.max_in_flight)),
                waiting: AtomicUsize::new(0),
            },
            |gate| gate.permits.available_permits() < self.settings.max_in_flight,
        )?;
        let permit = match Arc::clone(&gate.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => Box::pin(gate.wait(deadline, self.settings.max_waiting)).await?,
        };
        Ok(Permit {
            deadline,
            _permit: permit,
        })
    }
}

impl Gate {
    #[cold]
    async fn wait(&self, deadline: Deadline, most: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let _waiter = Waiter::new(&self.waiting);
        if self.waiting.load(Ordering::Relaxed) > most {
            return Err(overloaded());
        }
        match timeout_at(deadline.at, Arc::clone(&self.permits).acquire_owned()).await {
            // The calls before had their turn until their deadline, which was the same.
            Ok(Ok(_)) if deadline.at <= Instant::now() => Err(no_turn()),
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Ok(Err(_)) => Err(Failure::new(ErrorKind::Connection, "the handle is closed").not_executed()),
            Err(_) => Err(no_turn()),
        }
    }
}

/// Counted while it waits, and no longer once it is dropped.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Shed load here: queueing would only add latency.
fn overloaded() -> Failure {
    Failure::new(ErrorKind::Connection, "too many calls wait for the server")
        .not_executed()
        .retryable()
}

fn no_turn() -> Failure {
    Failure::new(
        ErrorKind::Timeout,
        "too many calls were under way to begin within the deadline",
    )
    .not_executed()
}
