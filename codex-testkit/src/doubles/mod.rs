//! Test doubles for code that uses a backend.
//!
//! Most tests need none of them: the `MemoryBackend` of `codex-memory` answers as a real store
//! does, on a clock that the test advances. These doubles show behaviour that a healthy store never
//! shows:
//!
//! * [`FaultyBackend`] fails, stalls and loses answers on a schedule that a seed reproduces.
//! * [`RecordingBackend`] keeps a log of calls and answers, without the values.
//! * [`TrackingStore`] reports changes to readers that cache answers, over a network that a test
//!   disturbs.
//! * `MockBackend` (feature `mock`) gives scripted answers, and fails the test on any other call.
//!
//! The first two are [`Intercepted`] backends. They wrap a backend, and behave as it does until
//! they are told to misbehave. Use [`Intercepted`] for your own doubles too.

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
