//! A backend with injected faults.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use codex_traits::Result;
use futures_util::{FutureExt as _, future::BoxFuture};

use super::{
    Effect, Fault, Injected, Intercepted, Interceptor, Reply, Request, Verb,
    fault::{Scheduled, lost, refusal},
};

/// A backend that fails, stalls and loses answers on a schedule.
///
/// Without an active fault it behaves as `B` does. [`inject`](Self::inject) adds a fault, even
/// while the backend is in use, and [`heal`](Self::heal) removes all faults. Several faults on the
/// same call act in the order in which they were injected: delays add up, and the first fault that
/// fails the call ends it. If `B` is `Clone`, clones share the faults.
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
/// // The increment is applied, but the caller does not know: a retry would count twice.
/// let create = OnMissing::Create(Expiry::Never);
/// let error = backend.incr("visits", 1, create).await.unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Timeout);
/// assert!(error.may_have_executed());
/// assert_eq!(backend.incr("visits", 1, create).await?, Some(2));
/// assert_eq!(backend.injected().len(), 1);
/// # Ok(())
/// # }
/// ```
pub type FaultyBackend<B> = Intercepted<B, FaultSchedule>;

/// The faults of a [`FaultyBackend`]. Clones share one schedule.
#[derive(Clone)]
pub struct FaultSchedule {
    faults: Arc<Mutex<Faults>>,
    sleep: Arc<Sleep>,
}

type Sleep = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;

#[derive(Debug, Default)]
struct Faults {
    seed: u64,
    scheduled: Vec<Scheduled>,
    /// The number of faults injected so far, which is the random stream of the next fault.
    ever: u64,
    injected: Vec<Injected>,
}

impl<B> Intercepted<B, FaultSchedule> {
    /// Wraps `inner`, without faults.
    pub fn new(inner: B) -> Self {
        let schedule = FaultSchedule {
            faults: Arc::default(),
            sleep: Arc::new(|duration| default_sleep(duration).boxed()),
        };
        Self::with_interceptor(inner, schedule)
    }

    /// Sets the seed of all random choices. The default is 0. The seed applies to every clone and
    /// every fault.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.interceptor.faults().seed = seed;
        self
    }

    /// Adds a fault, as [`inject`](Self::inject) does.
    #[must_use]
    pub fn with_fault(self, fault: Fault) -> Self {
        self.inject(fault);
        self
    }

    /// Makes delayed calls wait by calling `sleep`.
    ///
    /// By default they wait on tokio's timer, which takes no time under a paused clock
    /// (`tokio::time::pause`). Outside a tokio runtime they wait in real time. A test with its own
    /// clock can wait on that clock, or advance it:
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
    /// let store = MemoryBackend::with_clock(clock.clone());
    /// let backend = FaultyBackend::new(store).with_sleep(move |duration| {
    ///     clock.advance(duration);
    ///     async {}
    /// });
    /// backend.set("k", "v".into(), SetOptions::expires_after(Duration::from_secs(5))).await?;
    ///
    /// // So slow that the value expires on the way.
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
        self.interceptor.sleep = Arc::new(move |duration| sleep(duration).boxed());
        self
    }

    /// Adds a fault, which takes effect immediately.
    pub fn inject(&self, fault: Fault) {
        let mut faults = self.interceptor.faults();
        let stream = faults.ever;
        faults.ever += 1;
        faults.scheduled.push(Scheduled::new(fault, stream));
    }

    /// Removes every fault. A call that has already begun still meets the faults that struck it.
    pub fn heal(&self) {
        self.interceptor.faults().scheduled.clear();
    }

    /// Returns the faults that have struck so far, in the order in which the calls began. A test
    /// that checks them cannot pass merely because no fault occurred.
    pub fn injected(&self) -> Vec<Injected> {
        self.interceptor.faults().injected.clone()
    }
}

impl FaultSchedule {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the effects on a call.
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

impl Interceptor for FaultSchedule {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let verb = request.verb();
        for effect in self.plan(verb, &request.keys()) {
            match effect {
                Effect::Delayed(duration) => (self.sleep)(duration).await,
                Effect::Refused(kind) => return Err(refusal(kind, verb)),
                Effect::RequestLost(loss) => return Err(lost(loss, verb)),
                Effect::AnswerLost(loss) => {
                    drop(call.await);
                    return Err(lost(loss, verb));
                }
            }
        }
        call.await
    }
}

async fn default_sleep(duration: Duration) {
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::sleep(duration).await;
    } else {
        crate::runtime::sleep(duration).await;
    }
}

impl fmt::Debug for FaultSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults();
        f.debug_struct("FaultSchedule")
            .field("seed", &faults.seed)
            .field("in_force", &faults.scheduled.len())
            .field("injected", &faults.injected.len())
            .finish_non_exhaustive()
    }
}
