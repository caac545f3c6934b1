//! A backend that logs its calls.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use codex_traits::{Pattern, Result};

use super::{Answer, Call, ConditionKind, Intercepted, Interceptor, Reply, Request, Verb};

/// The parts of a call that are not logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Redaction {
    /// The values. The log keeps the length of each value.
    #[default]
    Values,
    /// The values and the keys. The log keeps a number for each key, which tells it apart from
    /// other keys.
    ValuesAndKeys,
}

/// A backend that behaves as `B` does, and logs its calls for assertions.
///
/// Calls are logged in the order in which they begin, each with its answer. Only
/// [`clear`](Self::clear) removes calls from the log. The log never keeps values. If `B` is
/// `Clone`, a clone writes to the same log.
///
/// ```
/// use codex_memory::MemoryBackend;
/// use codex_testkit::doubles::{RecordingBackend, Verb};
/// use codex_traits::{KvBackend, SetOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> codex_traits::Result<()> {
/// let backend = RecordingBackend::new(MemoryBackend::new());
/// backend.get("user:1").await?;
/// let _ = backend.set("user:1", "Alice".into(), SetOptions::if_absent()).await?;
///
/// assert_eq!(backend.count(Verb::Get), 1);
/// assert_eq!(
///     backend.lines(),
///     [r#"get "user:1" -> none"#, r#"set "user:1" 5 bytes if absent for ever -> written"#]
/// );
/// # Ok(())
/// # }
/// ```
pub type RecordingBackend<B> = Intercepted<B, Recorder>;

/// The log of a [`RecordingBackend`]. Clones write to the same log.
#[derive(Clone)]
pub struct Recorder {
    redaction: Redaction,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    calls: Vec<Call>,
    /// The number of cleared calls, which is also the ticket of the first remaining call.
    cleared: usize,
    /// The number of each key, if keys are redacted.
    numbers: HashMap<String, usize>,
}

impl<B> Intercepted<B, Recorder> {
    /// Wraps `inner`. Logs its calls without their values.
    pub fn new(inner: B) -> Self {
        Self::with_redaction(inner, Redaction::Values)
    }

    /// Wraps `inner`. Logs its calls without the parts that `redaction` names.
    pub fn with_redaction(inner: B, redaction: Redaction) -> Self {
        let log = Arc::default();
        Self::with_interceptor(inner, Recorder { redaction, log })
    }

    /// Returns the calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.interceptor.log().calls.clone()
    }

    /// Returns the calls so far as lines, each as [`Call`] displays it.
    pub fn lines(&self) -> Vec<String> {
        self.interceptor.log().calls.iter().map(ToString::to_string).collect()
    }

    /// Returns how often `verb` was called.
    pub fn count(&self, verb: Verb) -> usize {
        self.interceptor
            .log()
            .calls
            .iter()
            .filter(|call| call.verb == verb)
            .count()
    }

    /// Removes the calls so far. Redacted keys keep their numbers.
    pub fn clear(&self) {
        let mut log = self.interceptor.log();
        log.cleared += log.calls.len();
        log.calls.clear();
    }
}

impl Recorder {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a call to the log and returns its ticket.
    fn begin(&self, request: &Request<'_>) -> usize {
        let mut call = Call::new(request.verb());
        call.value_lengths = request.values().into_iter().map(<[u8]>::len).collect();
        call.expiry = request.expiry();
        call.pattern = request.pattern().map(|pattern| self.pattern(pattern));
        if let Request::Set { options, .. } = request {
            call.condition = Some(ConditionKind::from(&options.condition));
        }
        let mut log = self.log();
        call.keys = request
            .keys()
            .into_iter()
            .map(|key| match self.redaction {
                Redaction::Values => key.to_owned(),
                Redaction::ValuesAndKeys => {
                    let next = log.numbers.len() + 1;
                    format!("#{}", log.numbers.entry(key.to_owned()).or_insert(next))
                }
            })
            .collect();
        log.calls.push(call);
        log.cleared + log.calls.len() - 1
    }

    fn pattern(&self, pattern: &Pattern) -> String {
        match self.redaction {
            Redaction::Values => String::from_utf8_lossy(pattern.as_bytes()).into_owned(),
            Redaction::ValuesAndKeys => "#".to_owned(),
        }
    }
}

impl Interceptor for Recorder {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let ticket = self.begin(&request);
        let result = call.await;
        let mut log = self.log();
        let at = ticket.checked_sub(log.cleared);
        if let Some(call) = at.and_then(|at| log.calls.get_mut(at)) {
            call.answer = match &result {
                Ok(value) => value.summary(),
                Err(error) => Answer::Failed(error.kind()),
            };
        }
        drop(log);
        result
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("redaction", &self.redaction)
            .field("calls", &self.log().calls.len())
            .finish_non_exhaustive()
    }
}
