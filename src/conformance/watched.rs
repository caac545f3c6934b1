//! The backend under test, watched and disturbed.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    mem,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_testkit::suite::{BoxFuture, sleep, yield_now};

use crate::{
    Capabilities, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};

/// A backend that writes down which verbs are asked of it, lets somebody else act just before one, and fails where it is told to.
/// Clones are one.
pub(super) struct Watched<B> {
    inner: Arc<B>,
    state: Arc<State>,
}

struct State {
    calls: Mutex<Vec<&'static str>>,
    /// Who acts before which verb, once each and in this order.
    meddlers: Mutex<VecDeque<(&'static str, BoxFuture<'static, ()>)>>,
    /// How many calls still succeed; they are not counted at `usize::MAX`.
    calls_left: AtomicUsize,
}

impl<B: KvBackend> Watched<B> {
    pub(super) fn new(inner: Arc<B>) -> Self {
        let state = State {
            calls: Mutex::default(),
            meddlers: Mutex::default(),
            calls_left: AtomicUsize::new(usize::MAX),
        };
        let state = Arc::new(state);
        Self { inner, state }
    }

    /// The verbs since the last time, in order.
    pub(super) fn take(&self) -> Vec<&'static str> {
        mem::take(&mut self.state.calls.lock().unwrap())
    }

    /// Returns when so many calls have been made.
    pub(super) async fn reach(&self, calls: usize) {
        while self.state.calls.lock().unwrap().len() < calls {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets `meddler` act just before `verb` is done the next time.
    pub(super) fn before(&self, verb: &'static str, meddler: impl Future<Output = ()> + Send + 'static) {
        let mut meddlers = self.state.meddlers.lock().unwrap();
        meddlers.push_back((verb, Box::pin(meddler)));
    }

    /// Fails every call after so many; `usize::MAX` ends that.
    pub(super) fn fail_after(&self, calls: usize) {
        self.state.calls_left.store(calls, Ordering::SeqCst);
    }

    async fn ask(&self, verb: &'static str) -> Result<()> {
        self.state.calls.lock().unwrap().push(verb);
        yield_now().await;
        let less = |left| {
            if left == usize::MAX {
                Some(left)
            } else {
                usize::checked_sub(left, 1)
            }
        };
        let left = self
            .state
            .calls_left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        if left.is_err() {
            return Err(Error::new(ErrorKind::Connection, verb, "the store cannot be reached"));
        }
        let meddler = {
            let mut meddlers = self.state.meddlers.lock().unwrap();
            meddlers.pop_front_if(|(before, _)| *before == verb)
        };
        if let Some((_, meddler)) = meddler {
            meddler.await;
        }
        Ok(())
    }
}

impl<B> Clone for Watched<B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            state: self.state.clone(),
        }
    }
}

// Who waits to meddle cannot be shown.
impl<B: fmt::Debug> fmt::Debug for Watched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.inner).finish()
    }
}

#[deny(clippy::missing_trait_methods, reason = "what is tested is the backend's own verbs")]
impl<B: KvBackend> KvBackend for Watched<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.ask("get").await?;
        self.inner.get(key).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.ask("set").await?;
        self.inner.set(key, value, options).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.ask("del").await?;
        self.inner.del(keys).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.ask("del_if_equals").await?;
        self.inner.del_if_equals(key, expected).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.ask("expire").await?;
        self.inner.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.ask("ttl").await?;
        self.inner.ttl(key).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.ask("scan").await?;
        self.inner.scan(request).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.ask("get_many").await?;
        self.inner.get_many(keys).await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        self.ask("set_many").await?;
        self.inner.set_many(entries, expiry).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.ask("incr").await?;
        self.inner.incr(key, delta, on_missing).await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.ask("del_matching").await?;
        self.inner.del_matching(pattern).await
    }
}
