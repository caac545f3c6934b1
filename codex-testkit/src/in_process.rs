//! The harness for an in-process store.

use std::fmt;

use codex_traits::KvBackend;

use crate::{Harness, Time, VirtualTime};

/// A [`Harness`] for in-process stores, on a clock that the clauses advance. It is built from two
/// closures, for a store that never goes out of service and holds only plain values. A clone of a
/// store is a second handle to it.
///
/// ```
/// use codex_memory::{ManualClock, MemoryBackend};
/// use codex_testkit::{Harness, InProcess, VirtualTime};
///
/// fn harness() -> impl Harness<Backend = MemoryBackend> {
///     let clock = ManualClock::new();
///     let moved = clock.clone();
///     let time = VirtualTime::from_fn(move |by| moved.advance(by));
///     InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
/// }
///
/// mod conformance {
///     # use super::harness;
///     codex_testkit::conformance_tests!(super::harness(), skip: {
///         get_06: "nothing but plain values",
///         // ...
///     });
/// }
/// # fn main() {}
/// ```
pub struct InProcess<F> {
    time: VirtualTime,
    fresh: F,
}

impl<B, F> InProcess<F>
where
    B: KvBackend + Clone,
    F: Fn() -> B + Send + Sync,
{
    /// Creates a harness. `fresh` creates an empty store on the clock that `time` advances.
    pub fn new(time: VirtualTime, fresh: F) -> Self {
        Self { time, fresh }
    }
}

impl<F> fmt::Debug for InProcess<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl<B, F> Harness for InProcess<F>
where
    B: KvBackend + Clone,
    F: Fn() -> B + Send + Sync,
{
    type Backend = B;

    async fn fresh(&self) -> B {
        (self.fresh)()
    }

    fn time(&self) -> Time {
        Time::Virtual(self.time.clone())
    }

    fn reopen(&self, backend: &B) -> Option<B> {
        Some(backend.clone())
    }
}
