//! The list of the clauses, and the macro that turns them into tests.

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{NearHarness, clauses};
use crate::failure::{Checked, Failure};

/// Calls `$callback!` with the names of the clauses and with its own arguments.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_near_clauses {
    ([$($callback:tt)+] $($given:tt)*) => {
        $($callback)+! { $($given)*
            near_02_own_writes_are_read
            near_02_a_clone_reads_the_writes_of_another
            near_02_nothing_is_kept_while_a_write_is_unresolved
            near_02_no_read_beside_a_dropped_write_is_kept
            near_03_histories_are_explained
            near_03_no_verb_shows_a_newer_state_than_a_later_read
            near_04_writes_of_others_are_seen
            near_04_a_kept_key_costs_no_request
            near_04_a_flush_of_everything_is_seen
            near_04_a_write_in_another_database_ends_tracking
            near_04_a_write_below_the_near_cache_is_seen
            near_04_every_kept_key_is_tracked
            near_04_a_miss_that_no_stream_read_is_not_kept
            near_05_a_black_hole_bounds_staleness
            near_05_a_stream_that_hangs_bounds_staleness
            near_05_a_demoted_node_bounds_staleness
            near_05_an_idle_near_cache_asks_again
            near_05_the_lease_begins_when_the_proof_is_asked_for
            near_06_a_read_under_way_is_not_kept
            near_07_a_value_ends_at_its_time
            near_07_a_miss_ends_although_its_slot_moved
            near_08_a_condition_asks_the_store
            near_08_a_written_value_is_not_kept
            near_08_a_removal_by_pattern_is_read
            near_08_a_key_that_a_verb_touched_is_dropped
            near_09_a_reconnect_drops_everything
            near_09_a_fail_over_is_followed
            near_10_memory_is_bounded
            near_10_a_long_value_is_not_kept
            near_11_get_many_answers_in_order
        }
    };
}

macro_rules! table {
    ($($name:ident)*) => {
        /// The names of the clauses of a near cache.
        pub const NEAR_CLAUSES: &[&str] = &[$(stringify!($name),)*];

        fn begin<'a, H: NearHarness>(name: &str, harness: &'a H) -> Option<BoxFuture<'a, Checked>> {
            // Boxing each clause by itself keeps its future off the stack.
            match name {
                $(stringify!($name) => Some(clauses::$name(harness).boxed()),)*
                _ => None,
            }
        }
    };
}

__codex_testkit_near_clauses!([table]);

/// The result of a clause that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NearFailure {
    /// The near cache breaks the clause.
    Broken(String),
    /// The harness cannot test the clause.
    NotApplicable(String),
}

/// Checks a clause of [`NEAR_CLAUSES`].
///
/// # Errors
///
/// If the near cache breaks the clause, or if the harness cannot test the clause.
pub async fn check_near_clause<H: NearHarness>(name: &str, harness: &H) -> Result<(), NearFailure> {
    let Some(clause) = begin(name, harness) else {
        return Err(NearFailure::NotApplicable(format!("there is no clause {name}")));
    };
    clause.await.map_err(|failure| match failure {
        Failure::Broken(message) => NearFailure::Broken(message),
        Failure::NotApplicable(reason) | Failure::Avoided(reason) => NearFailure::NotApplicable(reason.to_owned()),
    })
}

/// Checks a clause as a test. Reports the test as skipped if the harness cannot test the clause.
///
/// # Panics
///
/// If the near cache breaks the clause.
#[doc(hidden)]
pub async fn test_near_clause<H: NearHarness>(name: &str, test: &str, harness: &H) {
    match check_near_clause(name, harness).await {
        Ok(()) => {}
        Err(NearFailure::Broken(message)) => panic!("{name}: {message}"),
        Err(NearFailure::NotApplicable(reason)) => crate::require::skip(test, &reason),
    }
}

/// Generates a test for each clause of a near cache, with the given attribute. The expression makes
/// the harness of each test.
///
/// A clause that the harness cannot test is reported as skipped, in the format of
/// [`require!`](crate::require!).
///
/// ```ignore
/// codex_testkit::near_conformance_tests!(
///     #[tokio::test(start_paused = true)]
///     MyHarness::new().await
/// );
/// ```
#[macro_export]
macro_rules! near_conformance_tests {
    (#[$($attribute:tt)*] $harness:expr) => {
        $crate::__codex_testkit_near_clauses!([$crate::__codex_testkit_near_tests] [$($attribute)*] [$harness]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_near_tests {
    ($attribute:tt $harness:tt $($name:ident)*) => {
        $($crate::__codex_testkit_near_test!($attribute $harness $name);)*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_near_test {
    ([$($attribute:tt)*] [$harness:expr] $name:ident) => {
        #[$($attribute)*]
        async fn $name() {
            fn here() {}
            let harness = $harness;
            $crate::near::test_near_clause(stringify!($name), ::std::any::type_name_of_val(&here), &harness).await;
        }
    };
}
