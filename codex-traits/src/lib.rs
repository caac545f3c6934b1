//! The contract of codex-kv: the requirements on a key-value store that holds caches and sessions.
//!
//! [`KvBackend`] is the contract. A backend implements its eight required methods, and
//! `codex-testkit` tests that the backend fulfils the contract. Caches and sessions (the `codex-kv`
//! package) work on any such backend. [`AnyBackend`] is a backend that is chosen at run time.

mod any;
mod backend;
mod capabilities;
mod error;
mod ext;
mod forward;
mod glob;
mod number;
mod options;
mod pattern;
mod provided;
mod scan;
mod tracking;

pub use any::AnyBackend;
pub use backend::KvBackend;
pub use capabilities::{Capabilities, Capability};
pub use error::{Error, ErrorKind, Result};
pub use ext::KvBackendExt;
pub use number::parse_integer;
pub use options::{Condition, Expiry, OnMissing, SetOptions, SetOutcome, Ttl};
pub use pattern::Pattern;
pub use scan::{Cursor, ScanPage, ScanRequest};
pub use tracking::{NodeId, TrackedRead, Tracking, TrackingFeed, TrackingListener};

/// The doctests of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
