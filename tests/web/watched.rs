//! A memory backend that records its calls and can be taken out of service.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use codex_kv::{
    Error, ErrorKind, Result,
    memory::MemoryBackend,
    testkit::doubles::{Intercepted, Interceptor, Reply, Request},
};

pub(crate) type Watched = Intercepted<MemoryBackend, Watch>;

/// Returns a backend that is in service. Clones share their state.
pub(crate) fn watched() -> Watched {
    Intercepted::with_interceptor(MemoryBackend::new(), Watch::default())
}

#[derive(Clone, Default)]
pub(crate) struct Watch {
    calls: Arc<Mutex<Vec<(&'static str, String)>>>,
    down: Arc<AtomicBool>,
    /// The number of calls that still succeed before the backend goes down; unlimited at zero.
    down_after: Arc<AtomicUsize>,
}

// It contains keys, which are secret.
impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Watch {
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Takes the backend down after this many successful calls.
    pub(crate) fn set_down_after(&self, calls: usize) {
        self.down_after.store(calls, Ordering::SeqCst);
    }

    /// Returns the verbs and keys since the last call of this method. A verb with several keys has
    /// an entry for each key, and a verb without keys has an empty key.
    pub(crate) fn take(&self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.calls.lock().unwrap())
    }

    /// Returns the verbs since the last call of this method.
    pub(crate) fn verbs(&self) -> Vec<&'static str> {
        self.take().into_iter().map(|(verb, _)| verb).collect()
    }

    fn ask(&self, request: &Request<'_>) -> Result<()> {
        let verb = request.verb().name();
        let mut keys = request.keys();
        if keys.is_empty() {
            keys.push("");
        }
        let calls = keys.into_iter().map(|key| (verb, key.to_owned()));
        self.calls.lock().unwrap().extend(calls);
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Connection, verb, "the store cannot be reached"));
        }
        if self.down_after.load(Ordering::SeqCst) > 0 && self.down_after.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.set_down(true);
        }
        Ok(())
    }
}

impl Interceptor for Watch {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.ask(&request)?;
        call.await
    }
}
