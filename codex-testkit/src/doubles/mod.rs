//! Backends for the tests of code that uses a backend.
//!
//! Most tests need none of these: `MemoryBackend` of `codex-memory` answers as a store does, under a clock that the test moves. These are for what a
//! sound store never shows:
//!
//! * [`FaultyBackend`] fails, stalls, and loses answers, by a schedule that a seed repeats.
//! * [`RecordingBackend`] keeps a log of what was asked and answered, without the values.
//! * `MockBackend` (feature `mock`) answers as it is told, and fails the test where it is asked for anything else.
//!
//! Each wraps a backend and passes the conformance suite with it as long as it is told nothing.

mod call;
mod fault;
mod faulty;
#[cfg(feature = "mock")]
mod mock;
mod recording;
mod verb;

pub use call::{Answer, Call, ConditionKind};
pub use fault::{Effect, Fault, Injected, Loss};
pub use faulty::FaultyBackend;
#[cfg(feature = "mock")]
pub use mock::MockBackend;
pub use recording::{RecordingBackend, Redaction};
pub use verb::Verb;
