//! The context of a clause: an empty store, its clock, and a way to watch and disturb its calls.

#[cfg(feature = "blocking")]
use std::ops::Deref;
use std::{
    fmt,
    future::{self, Future},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_testkit::{
    ClauseId, Harness, Outage, OutageKind, Time,
    suite::{Checked, Clock, Failure, panic_message},
};
use futures_util::FutureExt as _;

use super::{
    face::Face,
    watched::{Watch, Watched},
};
use crate::{KvBackend, SetOptions, Ttl};

/// The time by which a time to live may be shorter than set if the clock runs: a few calls on a
/// busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// A run of a clause.
pub(super) struct Context<'h, H: Harness> {
    harness: &'h H,
    face: Face,
}

impl<'h, H: Harness> Context<'h, H> {
    pub(super) fn new(harness: &'h H) -> Self {
        Self {
            harness,
            face: Face::Async,
        }
    }

    /// Returns the outcome unchanged. A cache or a session store made the calls to the backend, so
    /// listing them would not explain a failure.
    #[expect(
        clippy::unused_self,
        reason = "the suites are made by one macro, which calls a method"
    )]
    pub(super) fn explained(&self, _: ClauseId, checked: Checked) -> future::Ready<Checked> {
        future::ready(checked)
    }

    /// Returns an empty store for a part of the clause.
    pub(super) async fn fresh(&self) -> Cx<H::Backend> {
        let time = self.harness.time();
        Cx {
            backend: Arc::new(self.harness.fresh().await),
            face: self.face,
            is_virtual: matches!(time, Time::Virtual(_)),
            clock: Arc::new(Clock::new(time)),
        }
    }

    /// Returns the switch that takes the store out of service, and the kind of outage. Call this
    /// before [`fresh`](Self::fresh).
    pub(super) async fn outage(&self) -> Result<(Outage, OutageKind), Failure> {
        /// In the order in which a client notices them, fastest first.
        const KINDS: [OutageKind; 3] = [OutageKind::Refused, OutageKind::NoAuth, OutageKind::Stalled];
        Clock::new(self.harness.time()).depend_on_time();
        let outage = self.harness.outage().await;
        let found = outage.and_then(|outage| {
            let kinds = outage.kinds();
            let kind = KINDS.into_iter().find(|kind| kinds.contains(kind))?;
            Some((outage, kind))
        });
        found.ok_or(Failure::NotApplicable(
            "the harness cannot take the store out of service",
        ))
    }
}

/// The context of a clause for the blocking caches and session stores.
#[cfg(feature = "blocking")]
pub(super) struct BlockingContext<'h, H: Harness>(Context<'h, H>);

#[cfg(feature = "blocking")]
impl<'h, H: Harness> BlockingContext<'h, H> {
    pub(super) fn new(harness: &'h H) -> Self {
        Self(Context {
            harness,
            face: Face::Blocking,
        })
    }
}

#[cfg(feature = "blocking")]
impl<'h, H: Harness> Deref for BlockingContext<'h, H> {
    type Target = Context<'h, H>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A store that was empty at first and has no other users.
pub(super) struct Cx<B> {
    pub(super) backend: Arc<B>,
    pub(super) face: Face,
    pub(super) clock: Arc<Clock>,
    pub(super) is_virtual: bool,
}

impl<B: KvBackend> Cx<B> {
    /// Returns the store in a wrapper that records its calls.
    pub(super) fn watched(&self) -> Watched<B> {
        Watched::with_interceptor(self.backend.clone(), Watch::new())
    }

    /// Returns the bytes under a stored key.
    pub(super) async fn stored(&self, key: &str) -> Option<Bytes> {
        self.backend.get(key).await.unwrap()
    }

    /// Stores a value under a stored key, without a time to live.
    pub(super) async fn put(&self, key: &str, value: impl Into<Bytes>) {
        let outcome = self.backend.set(key, value.into(), SetOptions::new()).await;
        assert!(outcome.unwrap().is_written(), "a plain set was refused");
    }

    /// Returns the current time of day.
    pub(super) fn now(&self) -> SystemTime {
        (self.time_of_day())()
    }

    /// Returns the source of the time of day: the clock of the store if the suite controls it.
    pub(super) fn time_of_day(&self) -> impl Fn() -> SystemTime + Send + Sync + use<B> + 'static {
        let clock = self.is_virtual.then(|| self.clock.clone());
        move || match &clock {
            Some(clock) => SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + clock.now(),
            None => SystemTime::now(),
        }
    }

    /// Asserts that the time to live is `expected` (`None`: no expiry). It may differ by the
    /// clock's tolerance, and on a real clock it may be shorter by [`SLACK`] as well.
    pub(super) async fn assert_ttl(&self, key: &str, expected: impl Into<Option<Duration>>) {
        let ttl = self.backend.ttl(key).await.unwrap();
        let Some(expected) = expected.into() else {
            assert_eq!(ttl, Ttl::Persistent, "the time to live of {key:?}");
            return;
        };
        let slack = if self.is_virtual { Duration::ZERO } else { SLACK };
        let (least, most) = (
            expected.saturating_sub(slack + self.clock.tolerance()),
            expected + self.clock.tolerance(),
        );
        assert!(
            matches!(ttl, Ttl::Remaining(left) if (least..=most).contains(&left)),
            "the time to live of {key:?}: expected {expected:?}, got {ttl:?}"
        );
    }
}

/// Runs a part of a clause. A panic in it becomes the failure of the clause.
pub(super) async fn part(name: &str, part: impl Future<Output = ()> + Send) -> Checked {
    let outcome = AssertUnwindSafe(part).catch_unwind().await;
    outcome.map_err(|payload| {
        let name = name.replace('_', " ");
        Failure::Broken(format!("{name}: {}", panic_message(&*payload)))
    })
}

/// Returns the failure of a verb that did not return the backend's error during an outage.
pub(super) fn not_the_outage(verb: &str, kind: OutageKind, answer: &dyn fmt::Debug) -> Failure {
    Failure::Broken(format!(
        "{verb} during an outage ({kind}): expected an error of the backend, got {answer:?}"
    ))
}

/// Builds each clause from its parts, which run sequentially, each on an empty store.
macro_rules! clauses {
    ($($clause:ident { $($part:ident)+ })*) => {
        $(pub(super) async fn $clause<H: codex_testkit::Harness>(
            cx: &super::super::context::Context<'_, H>,
        ) -> codex_testkit::suite::Checked {
            $(super::super::context::part(stringify!($part), $part(&cx.fresh().await)).await?;)+
            Ok(())
        })*
    };
}
pub(super) use clauses;
