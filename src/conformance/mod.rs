//! The contracts of caches and of session stores as executable clauses, for any backend.
//!
//! [`testkit::conformance_tests!`](crate::testkit::conformance_tests) checks a backend against the
//! contract of backends. The two suites here test a [`Cache`](crate::Cache) and a
//! [`SessionStore`](crate::SessionStore) on the backend. They check the clauses of
//! `docs/contract/cache.md` and `docs/contract/session.md` that depend on the backend. They take
//! the same [`Harness`] and follow the same rules: a clause that does not apply must be listed with
//! a reason. A listed clause that does apply is a failure, and so is a run without clauses.
//!
//! [`cache_conformance_tests!`](crate::cache_conformance_tests) and
//! [`session_conformance_tests!`](crate::session_conformance_tests) create a test for each clause.
//! [`run_cache`] and [`run_session`] return a [`Report`] at run time:
//!
//! ```
//! # #[cfg(feature = "memory")]
//! # mod example {
//! use codex_kv::{
//!     conformance::{run_cache, run_session},
//!     memory::{ManualClock, MemoryBackend},
//!     testkit::{Harness, Time, VirtualTime},
//! };
//!
//! struct MyHarness(ManualClock);
//!
//! impl Harness for MyHarness {
//!     type Backend = MemoryBackend;
//!
//!     async fn fresh(&self) -> MemoryBackend {
//!         MemoryBackend::with_clock(self.0.clone())
//!     }
//!
//!     fn time(&self) -> Time {
//!         let clock = self.0.clone();
//!         Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() {
//! let harness = MyHarness(ManualClock::new());
//! for report in [run_cache(&harness).await, run_session(&harness).await] {
//!     println!("{report}");
//!     assert!(!report.failed());
//! }
//! # }
//! # }
//! # #[cfg(feature = "memory")]
//! # example::main();
//! ```
//!
//! A clause uses one store at a time. If a clause needs it, a wrapper records or disturbs the calls
//! to the backend (many keys take one round trip; another client's change comes in between). The
//! library's own tests cover the clauses that do not depend on the backend: the forms of the coder,
//! the signature of a payload, the syntax of a session key.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a part of a clause fails by panicking; the runner catches it and reports it"
)]

mod cache;
#[path = "cache/list.rs"]
mod cache_list;
mod context;
mod face;
mod macros;
mod session;
#[path = "session/list.rs"]
mod session_list;
mod watched;

use codex_testkit::{
    ClauseId, Event, Harness, Report, TimedReport,
    suite::{Contract as _, run_contract},
};

#[cfg(feature = "blocking")]
use cache::BlockingCacheContract;
#[doc(hidden)]
pub use cache::CacheContract;
#[cfg(feature = "blocking")]
use session::BlockingSessionContract;
#[doc(hidden)]
pub use session::SessionContract;

/// Returns every clause of the contract of caches that depends on the backend, in the contract's
/// order.
pub fn cache_clauses() -> impl ExactSizeIterator<Item = ClauseId> {
    CacheContract::clauses()
}

/// Returns every clause of the contract of session stores that depends on the backend, in the
/// contract's order.
pub fn session_clauses() -> impl ExactSizeIterator<Item = ClauseId> {
    SessionContract::clauses()
}

/// Runs every clause of caches on the backends of `harness`, sequentially.
///
/// Works on any executor, like [`testkit::run`](crate::testkit::run). The report contains the
/// failures of the clauses. Their panics also reach the panic hook.
pub async fn run_cache<H: Harness>(harness: &H) -> Report {
    run_cache_only(harness, cache_clauses()).await
}

/// Runs some of the clauses of [`cache_clauses`]. A run without clauses is a failure, and so is a
/// clause of another contract.
pub async fn run_cache_only<H: Harness>(harness: &H, clauses: impl IntoIterator<Item = ClauseId>) -> Report {
    run_cache_with(harness, clauses, |_| ()).await.into_report()
}

/// Runs the clauses like [`run_cache_only`], measures the duration of each, and reports each to
/// `observer`, like [`testkit::run_with`](crate::testkit::run_with).
pub async fn run_cache_with<H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    run_contract::<CacheContract, H>(harness, clauses, &[], observer).await
}

/// Runs every clause of session stores on the backends of `harness`, sequentially, like
/// [`run_cache`].
pub async fn run_session<H: Harness>(harness: &H) -> Report {
    run_session_only(harness, session_clauses()).await
}

/// Runs some of the clauses of [`session_clauses`]. A run without clauses is a failure, and so is a
/// clause of another contract.
pub async fn run_session_only<H: Harness>(harness: &H, clauses: impl IntoIterator<Item = ClauseId>) -> Report {
    run_session_with(harness, clauses, |_| ()).await.into_report()
}

/// Runs the clauses like [`run_session_only`], measures the duration of each, and reports each to
/// `observer`, like [`testkit::run_with`](crate::testkit::run_with).
pub async fn run_session_with<H: Harness>(
    harness: &H,
    clauses: impl IntoIterator<Item = ClauseId>,
    observer: impl FnMut(Event<'_>) + Send,
) -> TimedReport {
    run_contract::<SessionContract, H>(harness, clauses, &[], observer).await
}

/// Runs every clause of caches through [`blocking::Cache`](crate::blocking::Cache), as
/// [`run_cache`] does through [`Cache`](crate::Cache). Calls without a blocking counterpart go
/// through the async cache.
#[cfg(feature = "blocking")]
pub async fn run_cache_blocking<H: Harness>(harness: &H) -> Report {
    let clauses = BlockingCacheContract::clauses();
    run_contract::<BlockingCacheContract, H>(harness, clauses, &[], |_| ())
        .await
        .into_report()
}

/// Runs every clause of session stores through
/// [`blocking::SessionStore`](crate::blocking::SessionStore), as [`run_session`] does through
/// [`SessionStore`](crate::SessionStore).
#[cfg(feature = "blocking")]
pub async fn run_session_blocking<H: Harness>(harness: &H) -> Report {
    let clauses = BlockingSessionContract::clauses();
    run_contract::<BlockingSessionContract, H>(harness, clauses, &[], |_| ())
        .await
        .into_report()
}
