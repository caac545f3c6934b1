//! The doubles for application code. Each double obeys the contract until it is told to misbehave,
//! and then misbehaves as told.
#![cfg(feature = "mock")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod doubles {
    mod conformance;
    mod faulty;
    mod mocked;
    mod recording;
    mod tracking;
}
