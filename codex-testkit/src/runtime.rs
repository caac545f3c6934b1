//! The runtimes of the kit and of its clauses, and races between tasks.

use std::{
    any::Any,
    future::Future,
    num::NonZero,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::try_join_all};
use tokio::{
    runtime::{Builder, Handle, Runtime, RuntimeFlavor},
    sync::Barrier,
    task::{JoinError, JoinHandle, yield_now},
};

use crate::failure::{Checked, Failure};

/// The minimum number of threads. Races need several threads, even on a single core.
const FEWEST_THREADS: usize = 4;

/// The maximum number of threads. More threads would not reveal more races, and many clauses can
/// run at a time.
const MOST_THREADS: usize = 8;

/// The runtime of the kit's own tasks and of the harnesses of tests. No clause runs on it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| built("codex-testkit", threads()));

/// The runtime of timers. It is separate because a harness can block every thread of the other
/// runtime.
static TIMERS: LazyLock<Runtime> = LazyLock::new(|| built("codex-testkit-timers", 1));

/// The runtimes of finished clauses, for reuse.
static IDLE: Mutex<Vec<&'static Runtime>> = Mutex::new(Vec::new());

fn threads() -> usize {
    let cores = thread::available_parallelism().map_or(FEWEST_THREADS, NonZero::get);
    cores.clamp(FEWEST_THREADS, MOST_THREADS)
}

fn built(name: &str, threads: usize) -> Runtime {
    let built = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build();
    built.unwrap_or_else(|error| panic!("codex-testkit cannot start its runtime: {error}"))
}

fn idle() -> MutexGuard<'static, Vec<&'static Runtime>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the kit's own runtime.
pub(crate) fn runtime() -> &'static Runtime {
    &RUNTIME
}

/// A runtime that a single clause uses at a time. The clause's tasks may block all of its threads.
///
/// The next clause gets the same runtime, because connections that the harness keeps may belong to
/// it. The runtime of a clause that is given up is lost.
pub(crate) struct ClauseRuntime(&'static Runtime);

impl ClauseRuntime {
    pub(crate) fn take() -> Self {
        let idle = idle().pop();
        // Leaked, because dropping a runtime waits for tasks that block its threads, and a hanging
        // clause would keep the process from exiting.
        Self(idle.unwrap_or_else(|| Box::leak(Box::new(built("codex-testkit-clause", threads())))))
    }

    pub(crate) fn block_on<T>(&self, clause: impl Future<Output = T>) -> T {
        self.0.block_on(clause)
    }

    /// Makes the runtime available to later clauses.
    pub(crate) fn give_back(self) {
        idle().push(self.0);
    }
}

/// Starts a task that can run in parallel with others: on the caller's runtime if that runtime has
/// several threads, otherwise on the kit's runtime.
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match Handle::try_current() {
        Ok(current) if current.runtime_flavor() == RuntimeFlavor::MultiThread => current.spawn(task),
        _ => runtime().spawn(task),
    }
}

/// Starts a task on the runtime of timers. The task must not block.
pub(crate) fn spawn_timer(task: impl Future<Output = ()> + Send + 'static) {
    TIMERS.spawn(task);
}

/// Waits in real time, on any executor, even if the executor's clock is paused.
pub async fn sleep(duration: Duration) {
    // The runtime is never shut down, so the task cannot be cancelled. The timer is created inside
    // the runtime, because the caller may have no timer or a paused timer.
    let _ = TIMERS.spawn(async move { tokio::time::sleep(duration).await }).await;
}

/// Polls `call` at most `polls` times and then drops it. Returns its answer, if it has answered by
/// then.
pub(crate) async fn poll_some<T>(call: impl Future<Output = T> + Send, polls: u64) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(answer) = polled {
            return Some(answer);
        }
        yield_now().await;
    }
    None
}

/// Waits for a spawned task.
pub(crate) async fn join<T>(task: JoinHandle<Checked<T>>) -> Checked<T> {
    task.await.map_err(died)?
}

fn died(error: JoinError) -> Failure {
    Failure::Broken(match error.try_into_panic() {
        Ok(payload) => return panicked(&*payload),
        Err(error) => format!("a task did not end: {error}"),
    })
}

fn panicked(payload: &(dyn Any + Send)) -> Failure {
    Failure::Broken(format!("a task panicked: {}", panic_message(payload)))
}

/// Returns the message of a panic.
pub fn panic_message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Runs `racers` tasks through `rounds` rounds, which all tasks begin together, and returns the
/// answers as `[racer][round]`.
pub(crate) async fn race<T, F, Fut>(racers: usize, rounds: usize, run: F) -> Checked<Vec<Vec<T>>>
where
    T: Send + 'static,
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Checked<T>> + Send + 'static,
{
    let gate = Arc::new(Gate {
        barrier: Barrier::new(racers),
        ready: AtomicUsize::new(0),
    });
    let tasks = (0..racers).map(|racer| {
        let (gate, run) = (gate.clone(), run.clone());
        join(spawn(async move {
            let mut answers = Vec::with_capacity(rounds);
            for round in 0..rounds {
                gate.pass((round + 1) * racers).await;
                let run = run.clone();
                let call = AssertUnwindSafe(async move { run(racer, round).await });
                let answer = call.catch_unwind().await;
                answers.push(answer.unwrap_or_else(|payload| Err(panicked(&*payload))));
            }
            // Errors and panics are returned only now, because a racer that ended early would leave
            // the others waiting at the gate.
            answers.into_iter().collect()
        }))
    });
    try_join_all(tasks).await
}

/// The bounds of a writer that races a reader.
///
/// A read that overlaps no write proves nothing, and on a busy machine the writer may finish before
/// the reader runs. The writer therefore also waits for [`OVERLAPS`](Self::OVERLAPS) such reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contest {
    begun: Instant,
    writes: u64,
}

impl Contest {
    /// The number of reads that overlap a write.
    const OVERLAPS: u64 = 100;

    /// The time limit, in case reads and writes never overlap on this machine.
    const LONGEST: Duration = Duration::from_secs(2);

    /// After this time fewer writes suffice, because a clause has a time limit and a call can take
    /// 20 ms.
    const SLOW: Duration = Duration::from_secs(10);

    /// Begins a contest of this many writes.
    pub(crate) fn of(writes: u64) -> Self {
        Self {
            begun: Instant::now(),
            writes,
        }
    }

    /// Returns whether the contest may end after `written` writes and `overlaps` reads that
    /// overlapped one of them.
    pub(crate) fn is_decided(self, written: u64, overlaps: u64) -> bool {
        self.is_decided_after(self.begun.elapsed(), written, overlaps)
    }

    fn is_decided_after(self, elapsed: Duration, written: u64, overlaps: u64) -> bool {
        if overlaps < Self::OVERLAPS {
            written >= self.writes && elapsed >= Self::LONGEST
        } else {
            written >= self.writes || elapsed >= Self::SLOW
        }
    }
}

struct Gate {
    barrier: Barrier,
    ready: AtomicUsize,
}

impl Gate {
    async fn pass(&self, all: usize) {
        // The barrier wakes its waiters in sequence. With an in-process store, the first can finish
        // its call before the last is awake.
        self.barrier.wait().await;
        // The racers therefore meet again while awake, and start once the last of them has arrived.
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < all {
            yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_racer_that_panics_ends_the_race() {
        let raced = race(3, 2, |racer, round| async move {
            assert!((racer, round) != (1, 0), "the racer's own");
            Ok(racer)
        });
        let raced = async { tokio::time::timeout(Duration::from_secs(60), raced).await };
        let ended = runtime().block_on(raced);
        assert!(matches!(ended, Ok(Err(Failure::Broken(text))) if text.contains("the racer's own")));
    }

    #[test]
    fn a_contest_ends_with_its_writes_and_early_on_a_slow_store() {
        let contest = Contest::of(3000);
        for (seconds, written, overlaps, is_decided) in [
            (0, 2999, 100, false),
            (0, 3000, 99, false),
            (0, 3000, 100, true),
            (2, 3000, 0, true),
            (9, 500, 500, false),
            (10, 500, 500, true),
            (10, 500, 99, false),
        ] {
            let elapsed = Duration::from_secs(seconds);
            assert_eq!(
                contest.is_decided_after(elapsed, written, overlaps),
                is_decided,
                "{written} writes and {overlaps} overlaps in {seconds} s"
            );
        }
    }
}
