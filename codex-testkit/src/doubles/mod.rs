//! Backends for the tests of code that uses a backend.
//!
//! Most tests need none of them: `MemoryBackend` of `codex-memory` answers as a store does, on a
//! clock that the test moves. These doubles show behaviour that a sound store never shows:
//!
//! * [`FaultyBackend`] fails, stalls and loses answers on a schedule that a seed repeats.
//! * [`RecordingBackend`] keeps a log of calls and answers, without the values.
//! * [`TrackingStore`] reports changes to readers that keep answers, over a network that a test
//!   disturbs.
//! * `MockBackend` (feature `mock`) gives scripted answers, and fails the test on any other call.
//!
//! Each double wraps a backend, and passes the conformance suite with it until it is told to
//! misbehave. The first two are [`Intercepted`] backends. Use [`Intercepted`] for your own doubles
//! too.

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
