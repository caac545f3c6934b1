//! A backend that fails as it is told to.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
};
use futures_util::{FutureExt as _, future::BoxFuture};

use super::{
    Effect, Fault, Injected, Verb,
    fault::{Scheduled, lost, refusal},
};

/// A backend that fails, stalls and loses answers by a schedule, and is otherwise `B`.
///
/// With no fault in force it does what `B` does. Faults are put in force by [`inject`](Self::inject), also while others use the backend, and
/// lifted by [`heal`](Self::heal). Several that are for the same call act in the order in which they were injected: delays add up, and
/// the first that fails the call ends it. Where `B` is `Clone`, a clone is under the same faults.
///
/// ```
/// use codex_memory::MemoryBackend;
/// use codex_testkit::doubles::{Fault, FaultyBackend, Loss, Verb};
/// use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> codex_traits::Result<()> {
/// let backend = FaultyBackend::new(MemoryBackend::new());
/// backend.inject(Fault::answer_lost(Loss::Timeout).on(Verb::Incr).times(1));
///
/// // Counted, but the caller is not told so: to count again would count twice.
/// let create = OnMissing::Create(Expiry::Never);
/// let error = backend.incr("visits", 1, create).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Timeout);
/// assert!(error.may_have_executed());
/// assert_eq!(backend.incr("visits", 1, create).await?, Some(2));
/// assert_eq!(backend.injected().len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FaultyBackend<B> {
    inner: B,
    faults: Arc<Mutex<Faults>>,
    sleep: Arc<Sleep>,
}

type Sleep = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;

#[derive(Debug, Default)]
struct Faults {
    seed: u64,
    scheduled: Vec<Scheduled>,
    /// How many there ever were: the stream of the next one.
    ever: u64,
    injected: Vec<Injected>,
}

impl<B> FaultyBackend<B> {
    /// `inner`, with no fault in force.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            faults: Arc::default(),
            sleep: Arc::new(|duration| default_sleep(duration).boxed()),
        }
    }

    /// With this seed for all that is random; without it, the seed is 0. It is for every clone, and for what comes.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.faults().seed = seed;
        self
    }

    /// With this fault in force from the beginning.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        self.inject(fault);
        self
    }

    /// Lets delayed calls wait by calling `sleep`.
    ///
    /// Without it they wait by tokio's timer, so that under a paused clock (`tokio::time::pause`) nothing takes time; outside of a tokio runtime
    /// they wait in real time. A test with a clock of its own hands in a wait for that clock, or moves it:
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use codex_memory::{ManualClock, MemoryBackend};
    /// use codex_testkit::doubles::{Fault, FaultyBackend, Verb};
    /// use codex_traits::{KvBackend, SetOptions};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> codex_traits::Result<()> {
    /// let clock = ManualClock::new();
    /// let backend = FaultyBackend::new(MemoryBackend::with_clock(clock.clone())).with_sleep(move |duration| {
    ///     clock.advance(duration);
    ///     async {}
    /// });
    /// backend.set("k", "v".into(), SetOptions::expires_after(Duration::from_secs(5))).await?;
    ///
    /// // So slow that the value ends on the way.
    /// backend.inject(Fault::delay(Duration::from_secs(10)).on(Verb::Get));
    /// assert_eq!(backend.get("k").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_sleep<F, Fut>(mut self, sleep: F) -> Self
    where
        F: Fn(Duration) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.sleep = Arc::new(move |duration| sleep(duration).boxed());
        self
    }

    /// Puts a fault in force.
    pub fn inject(&self, fault: Fault) {
        let mut faults = self.faults();
        let stream = faults.ever;
        faults.ever += 1;
        faults.scheduled.push(Scheduled::new(fault, stream));
    }

    /// Lifts every fault. A call that is held up is done when its time is over.
    pub fn heal(&self) {
        self.faults().scheduled.clear();
    }

    /// What was injected so far, in the order of the calls: a test that looks at it cannot pass because nothing went wrong.
    pub fn injected(&self) -> Vec<Injected> {
        self.faults().injected.clone()
    }

    /// The backend that is wrapped, which no fault is for.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to happen to a call.
    fn plan(&self, verb: Verb, keys: &[&str]) -> Vec<Effect> {
        let mut faults = self.faults();
        let Faults {
            seed,
            scheduled,
            injected,
            ..
        } = &mut *faults;
        let mut plan = Vec::new();
        for scheduled in scheduled {
            if let Some(effect) = scheduled.strike(*seed, verb, keys) {
                injected.push(Injected { verb, effect });
                plan.push(effect);
                if !matches!(effect, Effect::Delayed(_)) {
                    break;
                }
            }
        }
        plan
    }
}

impl<B: KvBackend> FaultyBackend<B> {
    async fn call<T: Send>(
        &self,
        verb: Verb,
        keys: &[&str],
        inner: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        for effect in self.plan(verb, keys) {
            match effect {
                Effect::Delayed(duration) => (self.sleep)(duration).await,
                Effect::Refused(kind) => return Err(refusal(kind, verb)),
                Effect::RequestLost(loss) => return Err(lost(loss, verb)),
                Effect::AnswerLost(loss) => {
                    // Whatever it was, nobody hears of it.
                    drop(inner.await);
                    return Err(lost(loss, verb));
                }
            }
        }
        inner.await
    }
}

async fn default_sleep(duration: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::sleep(duration).await;
    } else {
        crate::runtime::sleep(duration).await;
    }
}

impl<B: fmt::Debug> fmt::Debug for FaultyBackend<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults();
        f.debug_struct("FaultyBackend")
            .field("inner", &self.inner)
            .field("seed", &faults.seed)
            .field("in_force", &faults.scheduled.len())
            .field("injected", &faults.injected.len())
            .finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<B: KvBackend> KvBackend for FaultyBackend<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.call(Verb::Get, &[key], self.inner.get(key)).await
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        self.call(Verb::Set, &[key], self.inner.set(key, value, options)).await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.call(Verb::Del, keys, self.inner.del(keys)).await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        self.call(Verb::DelIfEquals, &[key], self.inner.del_if_equals(key, expected))
            .await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        self.call(Verb::Expire, &[key], self.inner.expire(key, expiry)).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.call(Verb::Ttl, &[key], self.inner.ttl(key)).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.call(Verb::Scan, &[], self.inner.scan(request)).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.call(Verb::GetMany, keys, self.inner.get_many(keys)).await
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        self.call(Verb::SetMany, &keys, self.inner.set_many(entries, expiry))
            .await
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        self.call(Verb::Incr, &[key], self.inner.incr(key, delta, on_missing))
            .await
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.call(Verb::DelMatching, &[], self.inner.del_matching(pattern))
            .await
    }
}
