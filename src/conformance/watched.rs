//! A wrapper of the backend under test that records and disturbs its calls.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_testkit::{
    doubles::{Intercepted, Interceptor, Reply, Request},
    suite::{BoxFuture, sleep, yield_now},
};

use crate::{Error, ErrorKind, Result};

/// A backend whose calls go through a [`Watch`].
pub(super) type Watched<B> = Intercepted<Arc<B>, Watch>;

/// A recorder of the called verbs. It can run another client's action just before a call, and can
/// fail calls. Clones share their state.
#[derive(Clone)]
pub(super) struct Watch(Arc<State>);

struct State {
    calls: Mutex<Vec<&'static str>>,
    /// The actions before certain verbs. Each runs once, in this order.
    meddlers: Mutex<VecDeque<(&'static str, BoxFuture<'static, ()>)>>,
    /// The number of calls that still succeed; `usize::MAX` means no limit.
    calls_left: AtomicUsize,
    /// Whether only one call fails after that number.
    fails_once: AtomicBool,
    /// The error that every call returns instead of reaching the backend.
    error: Mutex<Option<Error>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            calls: Mutex::default(),
            meddlers: Mutex::default(),
            calls_left: AtomicUsize::new(usize::MAX),
            fails_once: AtomicBool::new(false),
            error: Mutex::default(),
        }))
    }

    /// Returns the verbs since the last call of this method, in order.
    pub(super) fn take(&self) -> Vec<&'static str> {
        mem::take(&mut self.0.calls.lock().unwrap())
    }

    /// Waits until this many calls have been made.
    pub(super) async fn reach(&self, calls: usize) {
        while self.0.calls.lock().unwrap().len() < calls {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs `meddler` just before the next call of `verb`.
    pub(super) fn before(&self, verb: &'static str, meddler: impl Future<Output = ()> + Send + 'static) {
        let mut meddlers = self.0.meddlers.lock().unwrap();
        meddlers.push_back((verb, Box::pin(meddler)));
    }

    /// Fails every call after this many calls; `usize::MAX` ends the failures.
    pub(super) fn fail_after(&self, calls: usize) {
        self.0.calls_left.store(calls, Ordering::SeqCst);
    }

    /// Fails one call after this many calls.
    pub(super) fn fail_once_after(&self, calls: usize) {
        self.0.fails_once.store(true, Ordering::SeqCst);
        self.fail_after(calls);
    }

    /// Fails every call with this error; `None` ends the failures.
    pub(super) fn fail_with(&self, error: Option<Error>) {
        *self.0.error.lock().unwrap() = error;
    }

    async fn ask(&self, verb: &'static str) -> Result<()> {
        self.0.calls.lock().unwrap().push(verb);
        yield_now().await;
        let less = |left| {
            if left == usize::MAX {
                Some(left)
            } else {
                usize::checked_sub(left, 1)
            }
        };
        let left = self.0.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        if left.is_err() {
            if self.0.fails_once.swap(false, Ordering::SeqCst) {
                self.fail_after(usize::MAX);
            }
            return Err(Error::new(ErrorKind::Connection, verb, "the store cannot be reached"));
        }
        if let Some(error) = self.0.error.lock().unwrap().clone() {
            return Err(error);
        }
        let meddler = {
            let mut meddlers = self.0.meddlers.lock().unwrap();
            let is_next = meddlers.front().is_some_and(|(before, _)| *before == verb);
            if is_next { meddlers.pop_front() } else { None }
        };
        if let Some((_, meddler)) = meddler {
            meddler.await;
        }
        Ok(())
    }
}

impl Interceptor for Watch {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.ask(request.verb().name()).await?;
        call.await
    }
}

// The pending actions have no `Debug` form.
impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
