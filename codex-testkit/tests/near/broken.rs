//! Broken near caches. The clause that each violates must detect it.

use codex_testkit::{
    doubles::{TrackingDefect, TrackingStore},
    near::{NearFailure, check_near_clause},
};

use crate::{cache::Flaw, harness::SimulatedHarness};

async fn breaks(harness: SimulatedHarness, clause: &str) {
    match check_near_clause(clause, &harness).await {
        Err(NearFailure::Broken(_)) => {}
        other => panic!("{clause} does not detect the defect: {other:?}"),
    }
}

async fn flaw_breaks(flaw: Flaw, clause: &str) {
    breaks(SimulatedHarness::new(TrackingStore::new(1), Some(flaw)), clause).await;
}

async fn defect_breaks(defect: TrackingDefect, clause: &str) {
    breaks(
        SimulatedHarness::new(TrackingStore::new(1).with_defect(defect), None),
        clause,
    )
    .await;
}

macro_rules! broken {
    ($($test:ident: $breaks:ident $part:path => $clause:ident;)*) => {
        $(#[tokio::test(start_paused = true)]
        async fn $test() {
            $breaks($part, stringify!($clause)).await;
        })*
    };
}

broken! {
    a_read_that_crossed_a_write_is_kept:
        flaw_breaks Flaw::NoCheckOfGenerations => near_06_a_read_under_way_is_not_kept;
    a_write_drops_only_before_it_is_sent:
        flaw_breaks Flaw::DropsOnlyBeforeSending => near_02_own_writes_are_read;
    a_write_drops_only_after_its_answer:
        flaw_breaks Flaw::DropsOnlyAfterTheAnswer => near_02_nothing_is_kept_while_a_write_is_unresolved;
    a_read_beside_a_dropped_write_is_kept:
        flaw_breaks Flaw::KeepsBesideAWrite => near_02_no_read_beside_a_dropped_write_is_kept;
    the_time_to_live_is_not_read:
        flaw_breaks Flaw::IgnoresTheTimeToLive => near_07_a_value_ends_at_its_time;
    a_written_value_is_kept:
        flaw_breaks Flaw::KeepsWhatItWrote => near_08_a_written_value_is_not_kept;
    a_miss_is_kept_without_tracking:
        flaw_breaks Flaw::KeepsAMissThatIsNotTracked => near_04_a_miss_that_no_stream_read_is_not_kept;
    entries_are_kept_over_a_reconnect:
        flaw_breaks Flaw::KeepsEntriesOverAReconnect => near_09_a_reconnect_drops_everything;
    a_flush_is_ignored:
        flaw_breaks Flaw::IgnoresFlushes => near_04_a_flush_of_everything_is_seen;
    there_is_no_heartbeat:
        flaw_breaks Flaw::NoHeartbeat => near_05_a_black_hole_bounds_staleness;
    the_lease_is_counted_from_the_answer:
        flaw_breaks Flaw::LeaseFromTheAnswer => near_05_the_lease_begins_when_the_proof_is_asked_for;
    a_conditional_write_is_answered_from_memory:
        flaw_breaks Flaw::AnswersConditionsFromMemory => near_08_a_condition_asks_the_store;
    a_clone_has_its_own_memory:
        flaw_breaks Flaw::ClonesHaveTheirOwnMemory => near_02_a_clone_reads_the_writes_of_another;
    a_bypass_does_not_drop:
        flaw_breaks Flaw::BypassDoesNotDrop => near_03_no_verb_shows_a_newer_state_than_a_later_read;
    reports_are_lost:
        defect_breaks TrackingDefect::LosesReports => near_04_writes_of_others_are_seen;
    answers_overtake_reports:
        defect_breaks TrackingDefect::ReordersReports => near_04_writes_of_others_are_seen;
    reports_of_other_databases_are_ignored:
        defect_breaks TrackingDefect::IgnoresOtherDatabases => near_04_a_write_in_another_database_ends_tracking;
    a_null_report_is_ignored:
        defect_breaks TrackingDefect::IgnoresFlushes => near_04_a_flush_of_everything_is_seen;
    one_of_two_connections_is_tracked:
        defect_breaks TrackingDefect::ReadsOnUntrackedConnection => near_04_every_kept_key_is_tracked;
    the_heartbeat_is_on_another_connection:
        defect_breaks TrackingDefect::ProvesOnAnotherConnection => near_05_a_stream_that_hangs_bounds_staleness;
    the_role_is_ignored:
        defect_breaks TrackingDefect::IgnoresRole => near_05_a_demoted_node_bounds_staleness;
    own_changes_are_not_reported:
        defect_breaks TrackingDefect::NoLoop => near_04_a_write_below_the_near_cache_is_seen;
    a_reconnect_is_hidden:
        defect_breaks TrackingDefect::HidesReconnects => near_09_a_reconnect_drops_everything;
}

#[tokio::test(start_paused = true)]
async fn a_miss_is_kept_after_its_slot_moved() {
    let store = TrackingStore::cluster(3, 1).with_defect(TrackingDefect::IgnoresEpoch);
    let harness = SimulatedHarness::new(store, Some(Flaw::KeepsAMissForEver));
    breaks(harness, "near_07_a_miss_ends_although_its_slot_moved").await;
}

#[tokio::test(start_paused = true)]
async fn histories_tell_a_near_cache_without_a_check_of_generations() {
    let harness = SimulatedHarness::new(TrackingStore::new(1), Some(Flaw::NoCheckOfGenerations));
    breaks(harness, "near_03_histories_are_explained").await;
}
