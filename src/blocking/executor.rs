//! An executor that runs a future to completion on the calling thread.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{Id, coop},
};

use crate::{Error, ErrorKind};

/// The number of threads of the background runtime. They drive connections and refresh values;
/// calls run on the calling threads.
const WORKERS: usize = 2;

const ON_A_RUNTIME: &str = "a blocking call was made on a thread of an async runtime, which would stall its other tasks; use the \
                            async `codex_kv::Cache` or `codex_kv::SessionStore`, or call it inside `tokio::task::spawn_blocking`";

const THREAD_ENDS: &str = "a blocking call was made while the thread's local variables are being destroyed, when no async runtime can be \
                           entered; make it before the thread ends";

const FORKED: &str = "the process was forked after its first blocking call, and the background runtime has no threads in \
                      this process; make the first call after the fork, or start another program instead";

/// Runs `future` to completion.
///
/// Fails on a thread of an async runtime, without polling the future.
pub(crate) fn wait<T, E: From<Error>>(future: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    match Handle::try_current() {
        Ok(_) if is_runtime_thread() => return Err(refusal(ON_A_RUNTIME).into()),
        // In the destructor of a thread-local variable, entering a runtime would panic, and such a
        // panic aborts the process.
        Err(error) if error.is_thread_local_destroyed() => return Err(refusal(THREAD_ENDS).into()),
        _ => {}
    }
    let background = background()?;
    let _context = background.runtime.enter();
    let mut future = pin!(future);
    with_parker(|parker, waker| {
        let mut context = Context::from_waker(waker);
        loop {
            if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
                return outcome;
            }
            // Checked only before parking, because an in-process store answers without the
            // background threads.
            if std::process::id() != background.process {
                return Err(refusal(FORKED).into());
            }
            parker.park();
        }
    })
}

fn refusal(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "blocking", message)
}

struct Background {
    runtime: Runtime,
    process: u32,
}

/// Returns the background runtime of this process. It is never shut down.
fn background() -> Result<&'static Background, Error> {
    static BACKGROUND: OnceLock<Result<Background, Error>> = OnceLock::new();
    let background = BACKGROUND.get_or_init(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("codex-kv-blocking")
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => Ok(Background {
                runtime,
                process: std::process::id(),
            }),
            Err(error) => Err(Error::new(
                ErrorKind::Config,
                "blocking",
                "the background runtime could not start its threads",
            )
            .with_source(error)),
        }
    });
    background.as_ref().map_err(Clone::clone)
}

/// A flag and the handle to unpark a thread.
struct Parker {
    thread: Thread,
    is_woken: AtomicBool,
}

impl Parker {
    fn park(&self) {
        // A nested call may consume the thread's park token, so the flag decides.
        while !self.is_woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Runs `run` with the thread's parker. A nested call, from a closure that computes a value, gets a
/// separate parker.
fn with_parker<T>(run: impl FnOnce(&Parker, &Waker) -> T) -> T {
    thread_local! {
        static PARKER: RefCell<Option<(Arc<Parker>, Waker)>> = const { RefCell::new(None) };
    }
    // In the destructor of another thread-local variable, this one may already be destroyed.
    let kept = PARKER.try_with(RefCell::take).ok().flatten();
    let (parker, waker) = kept.unwrap_or_else(|| {
        let parker = Arc::new(Parker {
            thread: thread::current(),
            is_woken: AtomicBool::new(false),
        });
        let waker = Waker::from(Arc::clone(&parker));
        (parker, waker)
    });
    let outcome = run(&parker, &waker);
    let _ = PARKER.try_with(|kept| kept.replace(Some((parker, waker))));
    outcome
}

/// Returns whether this thread, on which a tokio runtime is entered, is running the tasks of the
/// runtime, in which case it must not block.
///
/// tokio reveals this only by panicking, and a program may abort on a panic. This function observes
/// two effects instead: the scheduler of a worker defers a task that yields, and the cooperative
/// budget of a task is limited. Neither holds on a thread of `spawn_blocking`, in `block_in_place`,
/// or if a runtime is merely entered.
fn is_runtime_thread() -> bool {
    if is_put_off_by_a_scheduler() {
        return true;
    }
    // Covers the future passed to `Runtime::block_on`, and the tasks of a `LocalSet` in it.
    thread_local! {
        static LAST: Cell<Option<(Id, bool)>> = const { Cell::new(None) };
    }
    let task = tokio::task::try_id();
    match (task, LAST.get()) {
        (Some(task), Some((last, is_limited))) if task == last => is_limited,
        _ => {
            let is_limited = has_a_limited_budget();
            LAST.set(task.map(|task| (task, is_limited)));
            is_limited
        }
    }
}

fn is_put_off_by_a_scheduler() -> bool {
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let yielded = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
    yielded.is_pending() && !woken.0.load(Ordering::Relaxed)
}

/// A waker that records whether it was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Consumes the task's budget until it is exhausted, and then restores it. Returns whether it was
/// exhausted.
fn has_a_limited_budget() -> bool {
    /// A number above tokio's budget for a task.
    const MOST: usize = 256;
    let mut context = Context::from_waker(Waker::noop());
    let mut taken = Vec::new();
    let is_limited = (0..MOST).any(|_| match coop::poll_proceed(&mut context) {
        Poll::Ready(restore) => {
            taken.push(restore);
            false
        }
        Poll::Pending => true,
    });
    // Each item restores the budget before it, so the first item is dropped last.
    while taken.pop().is_some() {}
    is_limited
}
