//! The runtimes of the kit and of its clauses, and races on them.

use std::{
    any::Any,
    future::Future,
    num::NonZero,
    pin::pin,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::{
    runtime::{Builder, Handle, Runtime, RuntimeFlavor},
    sync::Barrier,
    task::{JoinError, JoinHandle, yield_now},
};

use crate::failure::{Checked, Failure};

/// Racers need threads even if the machine has a single core.
const FEWEST_THREADS: usize = 4;

/// More threads do not make more races, and many clauses can run at a time.
const MOST_THREADS: usize = 8;

/// Runs what the kit itself needs, and the harness of a test. No clause runs here.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| built("codex-testkit", threads()));

/// Runs timers only. Code of a harness can block every thread of the other runtime.
static TIMERS: LazyLock<Runtime> = LazyLock::new(|| built("codex-testkit-timers", 1));

/// The runtimes of clauses that are done.
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

/// The runtime of one clause at a time, whose tasks may block every thread of it.
///
/// The next clause gets the same runtime, because connections that its harness keeps may belong to
/// it. The runtime of a clause that is never done is lost: one for each such clause.
pub(crate) struct ClauseRuntime(&'static Runtime);

impl ClauseRuntime {
    pub(crate) fn take() -> Self {
        let idle = idle().pop();
        // Never dropped, so that a clause that hangs without awaiting does not also keep the
        // process from ending.
        Self(idle.unwrap_or_else(|| Box::leak(Box::new(built("codex-testkit-clause", threads())))))
    }

    pub(crate) fn block_on<T>(&self, clause: impl Future<Output = T>) -> T {
        self.0.block_on(clause)
    }

    /// Leaves the runtime to the clauses to come.
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

/// Starts a task that waits most of the time, on the runtime of timers.
pub(crate) fn spawn_timer(task: impl Future<Output = ()> + Send + 'static) {
    TIMERS.spawn(task);
}

/// Waits in real time, on any executor, even if the executor's clock is paused.
pub async fn sleep(duration: Duration) {
    // The runtime is never shut down, so the task cannot be cancelled. The timer is made inside the
    // runtime, because the caller may have no timer or a paused timer.
    let _ = TIMERS.spawn(async move { tokio::time::sleep(duration).await }).await;
}

/// Polls `call` this many times and then drops it. Returns its answer, if it has answered.
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
        Ok(payload) => format!("a task panicked: {}", panic_message(&*payload)),
        Err(error) => format!("a task did not end: {error}"),
    })
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
                answers.push(run(racer, round).await);
            }
            // Errors are returned only now, because a racer that left early would leave the others
            // at the gate.
            answers.into_iter().collect()
        }))
    });
    try_join_all(tasks).await
}

struct Gate {
    barrier: Barrier,
    ready: AtomicUsize,
}

impl Gate {
    async fn pass(&self, all: usize) {
        // The barrier wakes its waiters in sequence. This takes long enough for the first to have
        // finished with an in-process store.
        self.barrier.wait().await;
        // The racers therefore meet again, awake, and start when the last has arrived.
        self.ready.fetch_add(1, Ordering::AcqRel);
        while self.ready.load(Ordering::Acquire) < all {
            yield_now().await;
        }
    }
}
