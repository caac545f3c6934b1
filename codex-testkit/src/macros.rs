//! One test per clause.

/// Makes a test of every clause of the contract, under a module per group: `get::get_01_missing_key_is_none`.
///
/// The first argument is an expression that makes a [`Harness`](crate::Harness); it is evaluated in every test. A clause that does not apply to the
/// backend must be listed with the reason under `skip`; its test is then ignored, so that cargo's summary counts it. A clause that does
/// not apply and is not listed fails, and so does the test `the_skip_list_is_right` where a clause is listed that does
/// not exist or would apply.
///
/// The tests need no runtime of the caller's. To run it on several backends, call it in a module for each.
///
/// ```ignore
/// mod conformance {
///     codex_testkit::conformance_tests!(super::MyHarness::new(), skip: {
///         get_06: "the store holds nothing but plain values",
///         scan_10: "one node",
///     });
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr $(,)?) => {
        $crate::__codex_testkit_tests! { ($) [$harness] }
    };
    ($harness:expr, skip: { $($id:ident: $reason:literal),* $(,)? } $(,)?) => {
        $crate::__codex_testkit_tests! { ($) [$harness] $($id $reason)* }
    };
}

/// `$d` is a dollar sign, for the variables of the macro that is made here.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_tests {
    (($d:tt) [$harness:expr] $($skipped:ident $reason:literal)*) => {
        fn __codex_testkit_harness() -> impl $crate::Harness {
            $harness
        }

        // A macro can compare identifiers only by naming them in its arms: so the skip list becomes arms, and the last takes the rest.
        macro_rules! __codex_testkit_test {
            $(($skipped $d name:ident) => {
                #[test]
                #[ignore = $reason]
                fn $d name() {
                    $crate::__test(super::__codex_testkit_harness, stringify!($skipped));
                }
            };)*
            ($d id:ident $d name:ident) => {
                #[test]
                fn $d name() {
                    $crate::__test(super::__codex_testkit_harness, stringify!($d id));
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
        $crate::__codex_testkit_clauses!(__codex_testkit_groups);

        #[test]
        fn the_skip_list_is_right() {
            $crate::__test_skips(__codex_testkit_harness, &[$(stringify!($skipped)),*]);
        }
    };
}
