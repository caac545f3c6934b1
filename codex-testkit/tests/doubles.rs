//! The doubles for application code: each keeps the contract as long as it is told nothing, and
//! does what it is told.
#![cfg(feature = "mock")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod doubles {
    mod conformance;
    mod faulty;
    mod mocked;
    mod recording;
}
