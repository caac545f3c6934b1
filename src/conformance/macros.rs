//! Macros that create one test per clause.

/// Creates a test for every clause of caches that depends on the backend, in one module per group:
/// `cverb::cverb_01_get_and_get_or`.
///
/// Call it like [`testkit::conformance_tests!`](crate::testkit::conformance_tests), with the same
/// [`Harness`](crate::testkit::Harness). The same rules apply to skipped clauses. The tests need no
/// runtime from the caller. Put each call into its own module.
///
/// ```
/// # use codex_kv::{memory::{ManualClock, MemoryBackend}, testkit::{Harness, Time, VirtualTime}};
/// # struct MyHarness(ManualClock);
/// # impl MyHarness { fn new() -> Self { Self(ManualClock::new()) } }
/// # impl Harness for MyHarness {
/// #     type Backend = MemoryBackend;
/// #     async fn fresh(&self) -> MemoryBackend { MemoryBackend::with_clock(self.0.clone()) }
/// #     fn time(&self) -> Time {
/// #         let clock = self.0.clone();
/// #         Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
/// #     }
/// # }
/// mod cache {
///     codex_kv::cache_conformance_tests!(super::MyHarness::new(), skip: {
///         cverb_12: "in process, nothing goes out of service",
///     });
/// }
/// # fn main() {}
/// ```
///
/// If the store may be unavailable, the expression is a `Result<_, Unavailable>` and `requires`
/// names the requirement:
///
/// ```
/// # use codex_kv::memory::{ManualClock, MemoryBackend};
/// # use codex_kv::testkit::{Harness, Time, require::Unavailable};
/// # struct RemoteHarness;
/// # impl RemoteHarness {
/// #     fn lease() -> Result<Self, Unavailable> { Err(Unavailable::new("no server")) }
/// # }
/// # impl Harness for RemoteHarness {
/// #     type Backend = MemoryBackend;
/// #     async fn fresh(&self) -> MemoryBackend { MemoryBackend::new() }
/// #     fn time(&self) -> Time { Time::Real { granularity: std::time::Duration::from_millis(1) } }
/// # }
/// codex_kv::cache_conformance_tests!(RemoteHarness::lease(), requires: "redis");
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! cache_conformance_tests {
    ($harness:expr, requires: $requirement:literal $(, skip: { $($id:ident: $reason:literal),* $(,)? })?
        $(, fails: { $($failing:ident: $why:literal),* $(,)? })? $(,)?) => {
        $crate::testkit::__codex_testkit_tests! {
            ($) [$crate::__codex_kv_cache_clauses] ($crate::conformance::CacheContract) $requirement [$harness] { $($($id $reason)*)? } { $($($failing $why)*)? }
        }
    };
    ($harness:expr $(, skip: { $($id:ident: $reason:literal),* $(,)? })?
        $(, fails: { $($failing:ident: $why:literal),* $(,)? })? $(,)?) => {
        $crate::testkit::__codex_testkit_tests! {
            ($) [$crate::__codex_kv_cache_clauses] ($crate::conformance::CacheContract) "" [Ok($harness)] { $($($id $reason)*)? } { $($($failing $why)*)? }
        }
    };
}

/// Creates a test for every clause of session stores that depends on the backend, in one module per
/// group: `sverb::sverb_09_delete_and_exists`. Otherwise it works like
/// [`cache_conformance_tests!`](crate::cache_conformance_tests).
///
/// ```
/// # use codex_kv::{memory::{ManualClock, MemoryBackend}, testkit::{Harness, Time, VirtualTime}};
/// # struct MyHarness(ManualClock);
/// # impl MyHarness { fn new() -> Self { Self(ManualClock::new()) } }
/// # impl Harness for MyHarness {
/// #     type Backend = MemoryBackend;
/// #     async fn fresh(&self) -> MemoryBackend { MemoryBackend::with_clock(self.0.clone()) }
/// #     fn time(&self) -> Time {
/// #         let clock = self.0.clone();
/// #         Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
/// #     }
/// # }
/// mod sessions {
///     codex_kv::session_conformance_tests!(super::MyHarness::new(), skip: {
///         sverb_06: "in process, nothing goes out of service",
///     });
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! session_conformance_tests {
    ($harness:expr, requires: $requirement:literal $(, skip: { $($id:ident: $reason:literal),* $(,)? })?
        $(, fails: { $($failing:ident: $why:literal),* $(,)? })? $(,)?) => {
        $crate::testkit::__codex_testkit_tests! {
            ($) [$crate::__codex_kv_session_clauses] ($crate::conformance::SessionContract) $requirement [$harness] { $($($id $reason)*)? } { $($($failing $why)*)? }
        }
    };
    ($harness:expr $(, skip: { $($id:ident: $reason:literal),* $(,)? })?
        $(, fails: { $($failing:ident: $why:literal),* $(,)? })? $(,)?) => {
        $crate::testkit::__codex_testkit_tests! {
            ($) [$crate::__codex_kv_session_clauses] ($crate::conformance::SessionContract) "" [Ok($harness)] { $($($id $reason)*)? } { $($($failing $why)*)? }
        }
    };
}
