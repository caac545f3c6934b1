//! The macro that generates a test for each clause.

/// Generates a test for every clause of the contract, in one module per group:
/// `get::get_01_missing_key_is_none`.
///
/// The first argument is an expression that creates a [`Harness`](crate::Harness). It is evaluated
/// in every test. A clause that does not apply to the backend must be listed with the reason under
/// `skip`. Its test is then ignored, so that cargo's summary counts it. A clause that does not
/// apply and is not listed fails. The test `the_skip_list_is_right` fails if a listed clause does
/// not exist or does apply.
///
/// A clause that applies and is known to fail is listed with the reason under `fails`. Its test is
/// also ignored, and `the_skip_list_is_right` fails as soon as the clause holds:
/// `skip: { … }, fails: { cond_07: "compares and writes in two steps, to be mended" }`.
///
/// The caller needs no runtime. To test several backends, call the macro in a separate module for
/// each.
///
/// ```
/// # use std::time::Duration;
/// # use codex_memory::MemoryBackend;
/// # use codex_testkit::{Harness, Time};
/// # pub struct MyHarness;
/// # impl MyHarness { fn new() -> Self { Self } }
/// # impl Harness for MyHarness {
/// #     type Backend = MemoryBackend;
/// #     async fn fresh(&self) -> MemoryBackend { MemoryBackend::new() }
/// #     fn time(&self) -> Time { Time::Real { granularity: Duration::from_millis(1) } }
/// # }
/// mod conformance {
///     codex_testkit::conformance_tests!(super::MyHarness::new(), skip: {
///         get_06: "the store holds nothing but plain values",
///         scan_10: "one node",
///     });
/// }
/// # fn main() {}
/// ```
///
/// If the store may be unavailable, the expression is a `Result<_, Unavailable>` and `requires`
/// names the requirement. Each test then reports that it is skipped, or fails if `CODEX_REQUIRE`
/// lists the requirement, as [`require!`](crate::require!) does.
///
/// ```
/// # use std::time::Duration;
/// # use codex_memory::MemoryBackend;
/// # use codex_testkit::{Harness, Time, require::Unavailable};
/// # struct RemoteHarness;
/// # impl RemoteHarness {
/// #     fn lease() -> Result<Self, Unavailable> { Err(Unavailable::new("no server")) }
/// # }
/// # impl Harness for RemoteHarness {
/// #     type Backend = MemoryBackend;
/// #     async fn fresh(&self) -> MemoryBackend { MemoryBackend::new() }
/// #     fn time(&self) -> Time { Time::Real { granularity: Duration::from_millis(1) } }
/// # }
/// codex_testkit::conformance_tests!(RemoteHarness::lease(), requires: "redis", skip: {
///     scan_10: "one node",
/// });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr, requires: $requirement:literal $(, skip: { $($id:ident: $reason:literal),* $(,)? })?
        $(, fails: { $($failing:ident: $why:literal),* $(,)? })? $(,)?) => {
        $crate::__codex_testkit_tests! {
            ($) [$crate::__codex_testkit_clauses] ($crate::suite::BackendContract) $requirement [$harness] { $($($id $reason)*)? } { $($($failing $why)*)? }
        }
    };
    ($harness:expr $(, skip: { $($id:ident: $reason:literal),* $(,)? })?
        $(, fails: { $($failing:ident: $why:literal),* $(,)? })? $(,)?) => {
        $crate::__codex_testkit_tests! {
            ($) [$crate::__codex_testkit_clauses] ($crate::suite::BackendContract) "" [Ok($harness)] { $($($id $reason)*)? } { $($($failing $why)*)? }
        }
    };
}

/// `$list` is the macro that holds the clauses, `$contract` the type that checks them, and `$d` a
/// dollar sign for the variables of the macros that this macro defines.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_tests {
    (($d:tt) [$($list:tt)*] ($contract:ty) $requirement:literal [$harness:expr]
        { $($skipped:ident $reason:literal)* } { $($failing:ident $why:literal)* }) => {
        fn __codex_testkit_harness() -> ::core::result::Result<impl $crate::Harness, $crate::require::Unavailable> {
            $harness
        }

        // A macro can compare identifiers only by naming them in its arms. The lists therefore
        // become arms, and the last arm takes the rest.
        macro_rules! __codex_testkit_test {
            $(($skipped $d name:ident) => {
                #[test]
                #[ignore = $reason]
                fn $d name() {
                    let test = concat!(module_path!(), "::", stringify!($d name));
                    $crate::suite::test::<$contract, _, _>(
                        super::__codex_testkit_harness, $requirement, test, stringify!($skipped),
                    );
                }
            };)*
            $(($failing $d name:ident) => {
                #[test]
                #[ignore = $why]
                fn $d name() {
                    let test = concat!(module_path!(), "::", stringify!($d name));
                    $crate::suite::test::<$contract, _, _>(
                        super::__codex_testkit_harness, $requirement, test, stringify!($failing),
                    );
                }
            };)*
            ($d id:ident $d name:ident) => {
                #[test]
                fn $d name() {
                    let test = concat!(module_path!(), "::", stringify!($d name));
                    $crate::suite::test::<$contract, _, _>(
                        super::__codex_testkit_harness, $requirement, test, stringify!($d id),
                    );
                }
            };
        }

        macro_rules! __codex_testkit_groups {
            ($d ($d group:ident { $d ($d id:ident $d name:ident [$d ($d capability:ident)?] $d text:literal;)* })*) => {
                $d (mod $d group {
                    $d (__codex_testkit_test! { $d id $d name })*
                })*
            };
        }
        $($list)*! { __codex_testkit_groups }

        #[test]
        fn the_skip_list_is_right() {
            let test = concat!(module_path!(), "::the_skip_list_is_right");
            let (skips, fails) = ([$(stringify!($skipped)),*], [$(stringify!($failing)),*]);
            $crate::suite::test_lists::<$contract, _, _>(__codex_testkit_harness, $requirement, test, &skips, &fails);
        }
    };
}
