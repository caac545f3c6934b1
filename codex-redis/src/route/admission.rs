//! Admission: the limits on calls in flight and waiting on a runtime, and their deadlines.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use codex_traits::ErrorKind;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    config::settings::Settings,
    connection::multiplexer::Deadline,
    server::{Here, PerRuntime, Start, Timing, current_runtime},
    wire::Failure,
};

/// The admission of calls, separate for each runtime. Calls on a runtime that is not driven must
/// not delay the others.
#[derive(Debug)]
pub(crate) struct Admission {
    settings: Arc<Settings>,
    gates: PerRuntime<Gate>,
}

/// A semaphore whose fast path costs one atomic operation to acquire and one to release. Every call
/// on every thread takes it. tokio's semaphore locks a mutex for each released permit.
#[derive(Debug)]
struct Gate {
    limit: usize,
    /// Calls in flight, and permits in `handed_over`.
    taken: AtomicUsize,
    /// Calls that will take a permit from `handed_over`. A call that is shed is never counted,
    /// because a permit that is handed over to it would be lost if no other call may wait.
    waiting: AtomicUsize,
    /// Permits that ended calls have handed over to waiting calls, in the order of arrival.
    handed_over: Semaphore,
}

/// The permit of a call in flight.
pub(crate) struct Permit<'a> {
    pub(crate) timing: Timing,
    gate: Here<'a, Gate>,
}

impl Admission {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            gates: PerRuntime::new(),
        }
    }

    /// Returns the deadline of a call that begins now.
    pub(crate) fn deadline(&self, verb: &'static str) -> Deadline {
        self.deadline_from(Instant::now(), verb)
    }

    fn deadline_from(&self, now: Instant, verb: &'static str) -> Deadline {
        let at = now + self.settings.command_timeout;
        Deadline {
            at,
            latest: at.max(now + self.settings.transfer_timeout),
            verb,
        }
    }

    /// Waits until the call may begin, within its deadline, or fails immediately if too many calls
    /// wait already.
    pub(crate) async fn admit(&self, verb: &'static str) -> Result<Permit<'_>, Failure> {
        let start = Start {
            at: Instant::now(),
            runtime: current_runtime()?,
        };
        let deadline = self.deadline_from(start.at, verb);
        let gate = self.gates.of(
            start.runtime,
            || Gate::new(self.settings.max_in_flight),
            |gate| gate.taken.load(Ordering::Relaxed) > 0,
        );
        let mut timing = Timing {
            start: Some(start),
            deadline,
        };
        if gate.waiting.load(Ordering::Relaxed) > 0 || !gate.try_take() {
            Box::pin(gate.wait(deadline, self.settings.max_waiting)).await?;
            timing.start = None;
        }
        Ok(Permit { timing, gate })
    }
}

impl Gate {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            handed_over: Semaphore::new(0),
        }
    }

    fn try_take(&self) -> bool {
        let more = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_ok()
    }

    /// Releases a permit, and hands it over if a call waits. A call that begins to wait and a call
    /// that ends each write their own value before they read the other's, in the same order for all
    /// threads. So either the first finds the permit free, or the second finds the first waiting.
    ///
    /// A permit that is handed over to a call that has just given up stays in `handed_over`. The
    /// next call without another permit takes it.
    fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 && self.try_take() {
            self.handed_over.add_permits(1);
        }
    }

    #[cold]
    async fn wait(&self, deadline: Deadline, most: usize) -> Result<(), Failure> {
        let _waiter = Waiter::new(&self.waiting, most).ok_or_else(overloaded)?;
        if self.try_take() {
            return Ok(());
        }
        match timeout_at(deadline.at, self.handed_over.acquire()).await {
            Ok(Ok(permit)) => {
                permit.forget();
                // The earlier calls may have held their permits until this same deadline.
                if deadline.at <= Instant::now() {
                    self.give_back();
                    return Err(no_turn());
                }
                Ok(())
            }
            // The semaphore is never closed.
            Ok(Err(_)) => Err(Failure::new(ErrorKind::Connection, "the handle is closed").not_executed()),
            Err(_) => Err(no_turn()),
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.gate.give_back();
    }
}

/// A waiting call, counted until it is dropped.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    /// Counts a call that waits. Returns `None` if `most` calls wait already.
    fn new(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let more = |waiting| (waiting < most).then_some(waiting + 1);
        let counted = waiting.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        // Made only if it was counted, because dropping it ends the count.
        counted.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the failure of a call that is shed, because queueing would only add latency.
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

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use futures_util::FutureExt as _;

    use super::*;

    fn far() -> Deadline {
        let at = Instant::now() + Duration::from_secs(60);
        Deadline {
            at,
            latest: at,
            verb: "get",
        }
    }

    #[test]
    fn a_call_that_is_shed_is_not_counted() {
        let gate = Gate::new(1);
        assert!(gate.try_take());
        assert!(gate.wait(far(), 0).now_or_never().unwrap().is_err());
        let mut waiting = Box::pin(gate.wait(far(), 1));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(gate.wait(far(), 1).now_or_never().unwrap().is_err());
        assert_eq!(gate.waiting.load(Ordering::SeqCst), 1);
        drop(waiting);
        assert_eq!(gate.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_call_that_is_shed_takes_no_permit_with_it() {
        const THREADS: usize = 4;
        const CALLS: usize = 20_000;
        let gate = Gate::new(1);
        let deadline = far();
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..CALLS {
                        if gate.try_take() {
                            gate.give_back();
                        } else {
                            match gate.wait(deadline, 0).now_or_never() {
                                Some(Ok(())) => gate.give_back(),
                                Some(Err(_)) => {}
                                None => panic!("a call waits, and none may"),
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(gate.handed_over.available_permits(), 0);
        assert_eq!(gate.taken.load(Ordering::SeqCst), 0);
        assert_eq!(gate.waiting.load(Ordering::SeqCst), 0);
    }
}
