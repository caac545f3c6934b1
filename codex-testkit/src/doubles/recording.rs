//! A backend that keeps a log.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Condition, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};

use super::{Answer, Call, ConditionKind, Verb};

/// What a log leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Redaction {
    /// The values; of each, its length is kept.
    #[default]
    Values,
    /// The values and the keys; of each key, a number is kept that tells it from others.
    ValuesAndKeys,
}

/// A backend that does what `B` does and keeps a log of it, to be asserted on.
///
/// Calls are logged in the order in which they begin, each with its answer; the log is never cut but by [`clear`](Self::clear). Values are never kept.
/// Where `B` is `Clone`, a clone writes to the same log.
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
#[derive(Clone)]
pub struct RecordingBackend<B> {
    inner: B,
    redaction: Redaction,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    calls: Vec<Call>,
    /// How many calls were cleared: the ticket of the first that is still there.
    cleared: usize,
    /// The number of each key where keys are redacted.
    numbers: HashMap<String, usize>,
}

impl<B> RecordingBackend<B> {
    /// Records what is asked of `inner`, without the values.
    pub fn new(inner: B) -> Self {
        Self::with_redaction(inner, Redaction::Values)
    }

    /// Records what is asked of `inner`, without what `redaction` names.
    pub fn with_redaction(inner: B, redaction: Redaction) -> Self {
        let log = Arc::default();
        Self { inner, redaction, log }
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.log().calls.clone()
    }

    /// The calls so far, a line each, as [`Call`] is displayed.
    pub fn lines(&self) -> Vec<String> {
        self.log().calls.iter().map(ToString::to_string).collect()
    }

    /// How often `verb` was called.
    pub fn count(&self, verb: Verb) -> usize {
        self.log().calls.iter().filter(|call| call.verb == verb).count()
    }

    /// Forgets the calls so far. Numbers of redacted keys stay as they are.
    pub fn clear(&self) {
        let mut log = self.log();
        log.cleared += log.calls.len();
        log.calls.clear();
    }

    /// The backend that is wrapped; what is asked of it directly is not recorded.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a call down, and answers its ticket.
    fn begin(&self, mut call: Call, keys: &[&str]) -> usize {
        let mut log = self.log();
        call.keys = keys
            .iter()
            .map(|key| match self.redaction {
                Redaction::Values => (*key).to_owned(),
                Redaction::ValuesAndKeys => {
                    let next = log.numbers.len() + 1;
                    format!("#{}", log.numbers.entry((*key).to_owned()).or_insert(next))
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

impl<B: KvBackend> RecordingBackend<B> {
    async fn record<T: Send>(
        &self,
        call: Call,
        keys: &[&str],
        answer: impl FnOnce(&T) -> Answer + Send,
        inner: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let ticket = self.begin(call, keys);
        let result = inner.await;
        let mut log = self.log();
        let at = ticket.checked_sub(log.cleared);
        if let Some(call) = at.and_then(|at| log.calls.get_mut(at)) {
            call.answer = match &result {
                Ok(value) => answer(value),
                Err(error) => Answer::Failed(error.kind()),
            };
        }
        drop(log);
        result
    }
}

impl<B: fmt::Debug> fmt::Debug for RecordingBackend<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingBackend")
            .field("inner", &self.inner)
            .field("redaction", &self.redaction)
            .field("calls", &self.log().calls.len())
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: KvBackend> KvBackend for RecordingBackend<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let answer = |value: &Option<Bytes>| Answer::Values(vec![value.as_ref().map(Bytes::len)]);
        self.record(Call::new(Verb::Get), &[key], answer, self.inner.get(key))
            .await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let mut call = Call::new(Verb::Set);
        call.value_lengths.push(value.len());
        if let Condition::IfEquals(expected) = &options.condition {
            call.value_lengths.push(expected.len());
        }
        call.condition = Some(ConditionKind::from(&options.condition));
        call.expiry = Some(options.expiry);
        let inner = self.inner.set(key, value, options);
        self.record(call, &[key], |outcome| Answer::Set(*outcome), inner).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let answer = |count: &u64| Answer::Count(*count);
        self.record(Call::new(Verb::Del), keys, answer, self.inner.del(keys))
            .await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let mut call = Call::new(Verb::DelIfEquals);
        call.value_lengths.push(expected.len());
        let inner = self.inner.del_if_equals(key, expected);
        self.record(call, &[key], |deleted| Answer::Flag(*deleted), inner).await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let mut call = Call::new(Verb::Expire);
        call.expiry = Some(expiry);
        let inner = self.inner.expire(key, expiry);
        self.record(call, &[key], |present| Answer::Flag(*present), inner).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let answer = |ttl: &Ttl| Answer::Ttl(*ttl);
        self.record(Call::new(Verb::Ttl), &[key], answer, self.inner.ttl(key))
            .await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let mut call = Call::new(Verb::Scan);
        call.pattern = Some(self.pattern(request.pattern));
        let answer = |page: &ScanPage| Answer::Page {
            keys: page.keys.len(),
            last: page.next.is_none(),
        };
        self.record(call, &[], answer, self.inner.scan(request)).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let answer = |values: &Vec<Option<Bytes>>| {
            let lengths = values.iter().map(|value| value.as_ref().map(Bytes::len));
            Answer::Values(lengths.collect())
        };
        self.record(Call::new(Verb::GetMany), keys, answer, self.inner.get_many(keys))
            .await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let mut call = Call::new(Verb::SetMany);
        call.value_lengths = entries.iter().map(|(_, value)| value.len()).collect();
        call.expiry = Some(expiry);
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let inner = self.inner.set_many(entries, expiry);
        self.record(call, &keys, |()| Answer::Done, inner).await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let mut call = Call::new(Verb::Incr);
        if let OnMissing::Create(expiry) = on_missing {
            call.expiry = Some(expiry);
        }
        // The sum is the value.
        let answer = |sum: &Option<i64>| Answer::Flag(sum.is_some());
        self.record(call, &[key], answer, self.inner.incr(key, delta, on_missing))
            .await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        let mut call = Call::new(Verb::DelMatching);
        call.pattern = Some(self.pattern(pattern));
        let inner = self.inner.del_matching(pattern);
        self.record(call, &[], |count| Answer::Count(*count), inner).await
    }
}
