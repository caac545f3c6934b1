//! Backends for the tests of code that uses a backend.
//!
//! Most tests need none of these: `MemoryBackend` of `codex-memory` answers as a store does, under
//! a clock that the test moves. These are for what a sound store never shows:
//!
//! * [`FaultyBackend`] fails, stalls, and loses answers, by a schedule that a seed repeats.
//! * [`RecordingBackend`] keeps a log of what was asked and answered, without the values.
//! * [`TrackingStore`] reports changes to readers that keep what they read, over a network that a
//!   test disturbs.
//! * `MockBackend` (feature `mock`) answers as it is told, and fails the test where it is asked for
//!   anything else.
//!
//! Each wraps a backend and passes the conformance suite with it as long as it is told nothing. The
//! first two are an [`Intercepted`] backend, and so can doubles of your own be.

mod call;
mod fault;
mod faulty;
mod intercept;
#[cfg(feature = "mock")]
mod mock;
mod recording;
mod tracking;
mod verb;

pub use call::{Answer, Call, ConditionKind};
pub use fault::{Effect, Fault, Injected, Loss};
pub use faulty::{FaultSchedule, FaultyBackend};
pub use intercept::{Intercepted, Interceptor, Reply, Request};
#[cfg(feature = "mock")]
pub use mock::MockBackend;
pub use recording::{Recorder, RecordingBackend, Redaction};
pub use tracking::{TrackingDefect, TrackingStore, TrackingStoreFeed};
pub use verb::Verb;
