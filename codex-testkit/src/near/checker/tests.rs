use super::*;

const SECOND: Duration = Duration::from_secs(1);
const NEAR: Client = Client::Near(0);
const OTHER: Client = Client::Near(1);
const BARE: Client = Client::Bare(0);

fn moment(millis: u64) -> Moment {
    Moment {
        tick: millis + 1,
        at: Duration::from_millis(millis),
    }
}

fn call(client: Client, what: What, begun: u64, ended: impl Into<Option<u64>>) -> Call {
    Call {
        client,
        begun: moment(begun),
        ended: ended.into().map(moment),
        what,
    }
}

fn write(client: Client, version: u64, begun: u64, ended: impl Into<Option<u64>>) -> Call {
    call(client, What::Write { version, ttl: None }, begun, ended)
}

fn write_for(client: Client, version: u64, ttl: u64, begun: u64, ended: u64) -> Call {
    let ttl = Some(Duration::from_millis(ttl));
    call(client, What::Write { version, ttl }, begun, ended)
}

fn delete(client: Client, begun: u64, ended: impl Into<Option<u64>>) -> Call {
    call(client, What::Delete, begun, ended)
}

fn read(client: Client, version: u64, begun: u64, ended: u64) -> Call {
    call(client, What::Read(Shown::Version(version)), begun, ended)
}

fn miss(client: Client, begun: u64, ended: u64) -> Call {
    call(client, What::Read(Shown::Missing), begun, ended)
}

fn fail_over(begun: u64, ended: u64) -> Call {
    call(BARE, What::FailOver, begun, ended)
}

/// Returns the rule that `calls` break under a `max_staleness` of one second.
fn broken(calls: &[Call]) -> Option<Rule> {
    check(calls, &Bounds::new(SECOND))
        .err()
        .map(|violation| violation.rule())
}

#[test]
fn a_stale_answer_within_the_bound_is_legal() {
    let calls = [
        write(BARE, 1, 0, 10),
        read(NEAR, 1, 20, 30),
        write(OTHER, 2, 40, 50),
        read(NEAR, 1, 1050, 1060),
        read(NEAR, 2, 1070, 1080),
    ];
    assert_eq!(broken(&calls), None);
}

#[test]
fn a_concurrent_write_may_be_seen_or_not() {
    let calls = [
        write(NEAR, 1, 0, 10),
        write(NEAR, 2, 20, 60),
        read(NEAR, 1, 30, 40),
        read(NEAR, 2, 45, 50),
    ];
    assert_eq!(broken(&calls), None);
}

#[test]
fn a_stale_answer_after_an_own_write_breaks_near_02() {
    let calls = [
        write(BARE, 1, 0, 10),
        read(NEAR, 1, 15, 16),
        write(NEAR, 2, 20, 30),
        read(NEAR, 1, 40, 50),
    ];
    assert_eq!(broken(&calls), Some(Rule::ReadYourWrites));
}

#[test]
fn a_value_after_an_own_removal_breaks_near_02() {
    let calls = [write(BARE, 1, 0, 10), delete(NEAR, 20, 30), read(NEAR, 1, 40, 50)];
    assert_eq!(broken(&calls), Some(Rule::ReadYourWrites));
}

#[test]
fn a_miss_after_an_own_write_breaks_near_02() {
    let calls = [write(NEAR, 1, 20, 30), miss(NEAR, 40, 50)];
    assert_eq!(broken(&calls), Some(Rule::ReadYourWrites));
}

#[test]
fn a_miss_after_an_own_write_is_legal_if_somebody_may_have_removed_it() {
    let calls = [write(NEAR, 1, 20, 30), delete(BARE, 25, None), miss(NEAR, 40, 50)];
    assert_eq!(broken(&calls), None);
}

#[test]
fn the_write_of_another_near_cache_may_be_missed_for_a_while() {
    let calls = [write(OTHER, 1, 20, 30), miss(NEAR, 40, 50), miss(NEAR, 1020, 1029)];
    assert_eq!(broken(&calls), None);
}

#[test]
fn going_back_in_time_breaks_near_03() {
    let calls = [
        write(BARE, 1, 0, 10),
        write(BARE, 2, 20, 30),
        read(NEAR, 2, 40, 50),
        read(NEAR, 1, 60, 70),
    ];
    assert_eq!(broken(&calls), Some(Rule::MonotonicReads));
}

#[test]
fn two_near_caches_may_see_a_write_at_different_times() {
    let calls = [
        write(BARE, 1, 0, 10),
        write(BARE, 2, 20, 30),
        read(NEAR, 2, 40, 50),
        read(OTHER, 1, 60, 70),
    ];
    assert_eq!(broken(&calls), None);
}

#[test]
fn going_back_and_forth_between_concurrent_writes_breaks_near_03() {
    let calls = [
        write(BARE, 1, 0, 30),
        write(OTHER, 2, 0, 30),
        read(NEAR, 1, 40, 41),
        read(NEAR, 2, 42, 43),
        read(NEAR, 1, 44, 45),
    ];
    assert_eq!(broken(&calls), Some(Rule::MonotonicReads));
}

#[test]
fn two_near_caches_that_see_two_orders_break_near_03() {
    let calls = [
        write(BARE, 1, 0, 30),
        write(Client::Bare(1), 2, 0, 30),
        read(NEAR, 1, 40, 41),
        read(NEAR, 2, 42, 43),
        read(OTHER, 2, 44, 45),
        read(OTHER, 1, 46, 47),
    ];
    assert_eq!(broken(&calls), Some(Rule::MonotonicReads));
}

#[test]
fn a_value_after_a_miss_that_showed_its_removal_breaks_near_03() {
    let calls = [
        write(BARE, 1, 0, 10),
        read(NEAR, 1, 11, 12),
        delete(BARE, 20, 30),
        miss(NEAR, 40, 50),
        read(NEAR, 1, 60, 70),
    ];
    assert_eq!(broken(&calls), Some(Rule::MonotonicReads));
}

#[test]
fn an_answer_older_than_the_bound_breaks_near_05() {
    let calls = [write(BARE, 1, 0, 10), write(BARE, 2, 20, 30), read(NEAR, 1, 1031, 1032)];
    assert_eq!(broken(&calls), Some(Rule::BoundedStaleness));
    assert!(check(&calls, &Bounds::new(SECOND).with_slack(Duration::from_millis(1))).is_ok());
}

#[test]
fn a_miss_older_than_the_bound_breaks_near_05() {
    let calls = [miss(NEAR, 0, 1), write(BARE, 1, 2, 3), miss(NEAR, 1004, 1005)];
    assert_eq!(broken(&calls), Some(Rule::BoundedStaleness));
}

#[test]
fn a_write_without_an_answer_may_happen_late_or_never() {
    let calls = [
        write(BARE, 1, 0, 10),
        write(BARE, 2, 20, None),
        read(NEAR, 1, 5000, 5001),
    ];
    assert_eq!(broken(&calls), None);
    let calls = [
        write(BARE, 1, 0, None),
        write(BARE, 2, 20, 30),
        read(NEAR, 2, 40, 41),
        read(NEAR, 1, 5000, 5001),
    ];
    assert_eq!(broken(&calls), None);
}

#[test]
fn a_write_without_an_answer_has_happened_once_it_was_read() {
    let calls = [
        write(BARE, 1, 0, 10),
        write(NEAR, 2, 20, None),
        read(BARE, 2, 30, 40),
        read(NEAR, 1, 1041, 1042),
    ];
    assert_eq!(broken(&calls), Some(Rule::BoundedStaleness));
}

#[test]
fn an_answer_older_than_a_push_breaks_near_04() {
    let calls = [write(BARE, 1, 0, 10), write(BARE, 2, 20, 30), read(NEAR, 1, 36, 37)];
    let calm = Bounds::new(SECOND).with_push_time(Duration::from_millis(5));
    assert_eq!(check(&calls, &calm).unwrap_err().rule(), Rule::PushTime);
}

#[test]
fn a_value_that_nobody_wrote_is_refused() {
    assert_eq!(broken(&[read(NEAR, 1, 0, 1)]), Some(Rule::NeverWritten));
    let foreign = call(NEAR, What::Read(Shown::Foreign), 0, 1);
    assert_eq!(broken(&[write(BARE, 1, 0, None), foreign]), Some(Rule::NeverWritten));
}

#[test]
fn a_value_that_is_written_only_later_is_refused() {
    assert_eq!(
        broken(&[read(NEAR, 1, 0, 1), write(BARE, 1, 2, 3)]),
        Some(Rule::NeverWritten)
    );
}

#[test]
fn a_value_kept_beyond_its_time_to_live_breaks_near_07() {
    let calls = [write_for(BARE, 1, 100, 0, 10), read(NEAR, 1, 110, 111)];
    assert_eq!(broken(&calls), None);
    let calls = [write_for(BARE, 1, 100, 0, 10), read(NEAR, 1, 111, 112)];
    assert_eq!(broken(&calls), Some(Rule::TimeToLive));
}

#[test]
fn a_key_is_missing_after_its_time_to_live_and_not_before() {
    let calls = [write_for(NEAR, 1, 100, 0, 10), miss(NEAR, 99, 100)];
    assert_eq!(broken(&calls), None);
    let calls = [write_for(NEAR, 1, 100, 0, 10), miss(NEAR, 50, 99)];
    assert_eq!(broken(&calls), Some(Rule::ReadYourWrites));
}

#[test]
fn a_fail_over_may_lose_writes_that_were_answered() {
    let calls = [
        write(NEAR, 1, 0, 10),
        write(NEAR, 2, 20, 30),
        read(NEAR, 2, 35, 36),
        fail_over(32, 60),
        read(NEAR, 1, 70, 71),
    ];
    assert_eq!(broken(&calls), None);
}

#[test]
fn a_write_after_a_fail_over_is_not_lost() {
    let calls = [
        write(NEAR, 1, 0, 10),
        fail_over(32, 60),
        write(NEAR, 2, 70, 80),
        read(NEAR, 1, 90, 91),
    ];
    assert_eq!(broken(&calls), Some(Rule::ReadYourWrites));
}

#[test]
fn a_store_that_is_not_linearizable_is_told_from_a_broken_near_cache() {
    let calls = [write(BARE, 1, 0, 10), write(BARE, 2, 20, 30), read(BARE, 1, 40, 50)];
    assert_eq!(broken(&calls), Some(Rule::Store));
}

#[test]
fn the_message_names_the_clause_and_shows_the_history() {
    let calls = [write(BARE, 1, 0, 10), write(BARE, 2, 20, 30), read(NEAR, 1, 1031, 1032)];
    let text = check(&calls, &Bounds::new(SECOND)).unwrap_err().to_string();
    assert!(
        text.starts_with("near-05: Near(0) was told Version(1) at 1.031s, but version 2"),
        "{text}"
    );
    assert!(text.contains("Write { version: 2, ttl: None }"), "{text}");
}

#[test]
fn the_longest_durations_are_no_bounds() {
    let bounds = Bounds::new(Duration::MAX)
        .with_push_time(Duration::MAX)
        .with_slack(Duration::MAX);
    let what = What::Write {
        version: 1,
        ttl: Some(Duration::MAX),
    };
    let calls = [
        call(BARE, what, 10, 20),
        write(BARE, 2, 30, 40),
        read(NEAR, 1, 5_000, 5_010),
        miss(OTHER, 5_000, 5_010),
    ];
    assert!(check(&calls, &bounds).is_ok());
}
