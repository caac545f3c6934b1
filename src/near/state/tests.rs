//! Tests of the state, on a clock that is set by hand if they depend on time.

use std::time::Duration;

use bytes::Bytes;
use codex_memory::ManualClock;
use codex_traits::{NodeId, TrackedRead, TrackingListener as _, Ttl};

use super::{NotKept, Settled, State, Time};

const KEY: &str = "key";
const STALENESS: Duration = Duration::from_secs(10);

impl State {
    /// Renews the lease of the only node.
    fn proven_now(&self) {
        let asked = self.nodes.ask(NodeId::ONLY, self.time.now()).unwrap();
        self.nodes.proven(NodeId::ONLY, asked);
    }
}

/// Returns a state whose clock is set by hand.
fn timed_state(keys_move: bool) -> (ManualClock, State) {
    let clock = ManualClock::new();
    let time = Time::Given(Box::new(clock.clone()));
    (clock, opened(time, STALENESS, keys_move))
}

/// Returns a state whose leases last for the whole test.
pub(in crate::near) fn state(keys_move: bool) -> State {
    opened(Time::system(), Duration::from_secs(3600), keys_move)
}

fn opened(time: Time, max_staleness: Duration, keys_move: bool) -> State {
    let state = State::new(time, 1 << 20, 100, max_staleness, keys_move).unwrap();
    state.opening(NodeId::ONLY);
    state.opened(NodeId::ONLY);
    state
}

/// Settles an answer to a read of `key` that is sent now.
pub(in crate::near) fn settle(state: &State, key: &str) -> Settled {
    let noted = state.note(key);
    state.settle(key, &noted, &read("1"))
}

fn read(value: &'static str) -> TrackedRead {
    TrackedRead::on(NodeId::ONLY, Some(Bytes::from(value)), Ttl::Persistent)
}

fn kept(state: &State) -> Option<Bytes> {
    state.find(KEY).ok().and_then(|hit| hit.value)
}

#[test]
fn a_refused_answer_does_not_refuse_a_later_answer_of_its_stream() {
    let state = state(false);
    let before = state.note(KEY);
    state.changed(NodeId::ONLY, KEY.as_bytes());
    let after = state.note(KEY);
    assert_eq!(state.settle(KEY, &before, &read("1")), Settled::Refused);
    assert_eq!(state.settle(KEY, &after, &read("2")), Settled::Kept);
    assert_eq!(kept(&state), Some(Bytes::from("2")));
    // An answer to the earlier read that arrives last leaves the kept answer too.
    assert_eq!(state.settle(KEY, &before, &read("1")), Settled::Refused);
    assert_eq!(kept(&state), Some(Bytes::from("2")));
}

#[test]
fn an_answer_beside_an_unresolved_write_is_refused_and_counted() {
    let (clock, state) = timed_state(false);
    assert_eq!(settle(&state, KEY), Settled::Kept);

    // Two writes at once: the end of one does not resolve the other.
    state.begin_write(KEY);
    state.begin_write(KEY);
    assert_eq!(kept(&state), None);
    assert_eq!(settle(&state, KEY), Settled::Refused);
    state.end_write(KEY, false);
    assert_eq!(settle(&state, KEY), Settled::Refused);
    let during = state.note(KEY);
    state.end_write(KEY, false);
    assert_eq!(state.settle(KEY, &during, &read("1")), Settled::Refused);
    assert_eq!(settle(&state, KEY), Settled::Kept);

    // The outcome of a write is unknown. A later write does not resolve it.
    state.begin_write(KEY);
    state.end_write(KEY, true);
    state.begin_write(KEY);
    state.end_write(KEY, false);
    assert_eq!(settle(&state, KEY), Settled::Refused);
    clock.advance(STALENESS.saturating_sub(Duration::from_millis(1)));
    assert_eq!(settle(&state, KEY), Settled::Refused);
    clock.advance(Duration::from_millis(1));
    state.proven_now();
    assert_eq!(settle(&state, KEY), Settled::Kept);
    assert_eq!(state.stats().refused_fills, 5);
}

#[test]
fn an_answer_beside_an_unresolved_sweep_is_refused() {
    let (clock, state) = timed_state(false);
    assert_eq!(settle(&state, KEY), Settled::Kept);
    state.begin_sweep();
    assert_eq!(kept(&state), None, "a sweep drops everything");
    assert_eq!(settle(&state, KEY), Settled::Refused);
    let during = state.note(KEY);
    state.end_sweep(false);
    assert_eq!(state.settle(KEY, &during, &read("1")), Settled::Refused);
    assert_eq!(settle(&state, KEY), Settled::Kept);

    state.begin_sweep();
    state.end_sweep(true);
    assert_eq!(settle(&state, KEY), Settled::Refused);
    clock.advance(STALENESS);
    state.proven_now();
    assert_eq!(settle(&state, KEY), Settled::Kept);
}

#[test]
fn an_answer_ends_with_the_lease_until_the_stream_is_proven_again() {
    let (clock, state) = timed_state(false);
    assert_eq!(settle(&state, KEY), Settled::Kept);
    clock.advance(STALENESS.saturating_sub(Duration::from_millis(1)));
    assert!(kept(&state).is_some());
    clock.advance(Duration::from_millis(1));
    assert_eq!(kept(&state), None);
    state.proven_now();
    assert!(kept(&state).is_some());
    state.flushed(NodeId::ONLY);
    assert_eq!(kept(&state), None);
}

#[test]
fn an_answer_ends_with_its_stream() {
    let state = state(false);
    assert_eq!(settle(&state, KEY), Settled::Kept);
    state.closed(NodeId::ONLY);
    state.opening(NodeId::ONLY);
    state.opened(NodeId::ONLY);
    assert_eq!(kept(&state), None);
    assert_eq!(settle(&state, KEY), Settled::Kept);
}

#[test]
fn a_time_to_live_counts_from_the_sending_of_its_read() {
    let (clock, state) = timed_state(false);
    let millis = Duration::from_millis;
    let noted = state.note(KEY);
    clock.advance(millis(3));
    let expiring = TrackedRead::on(NodeId::ONLY, Some(Bytes::from("1")), Ttl::Remaining(millis(5)));
    assert_eq!(state.settle(KEY, &noted, &expiring), Settled::Kept);
    clock.advance(millis(1));
    assert!(kept(&state).is_some());
    clock.advance(millis(1));
    assert_eq!(kept(&state), None);
}

#[test]
fn a_value_and_a_time_to_live_of_different_moments_are_not_kept() {
    let state = state(false);
    for (value, ttl) in [
        (Some("1"), Ttl::Missing),
        (None, Ttl::Persistent),
        (None, Ttl::Remaining(Duration::from_secs(60))),
    ] {
        let noted = state.note(KEY);
        assert_eq!(state.settle(KEY, &noted, &read("0")), Settled::Kept);
        let noted = state.note(KEY);
        let mixed = TrackedRead::on(NodeId::ONLY, value.map(Bytes::from), ttl);
        assert_eq!(state.settle(KEY, &noted, &mixed), Settled::Refused, "{value:?} {ttl:?}");
        assert_eq!(kept(&state), None, "an older answer is dropped");
    }
}

#[test]
fn where_keys_move_a_missing_key_is_kept_for_the_staleness_only() {
    for keys_move in [false, true] {
        let (clock, state) = timed_state(keys_move);
        let noted = state.note(KEY);
        let missing = TrackedRead::on(NodeId::ONLY, None, Ttl::Missing);
        assert_eq!(state.settle(KEY, &noted, &missing), Settled::Kept);
        clock.advance(STALENESS.saturating_sub(Duration::from_millis(1)));
        state.proven_now();
        assert!(state.find(KEY).is_ok());
        clock.advance(Duration::from_millis(1));
        assert_eq!(state.find(KEY).is_ok(), !keys_move);
    }
}

#[test]
fn a_time_to_live_that_does_not_fit_is_not_kept_as_none_at_all() {
    let state = state(false);
    let settle = |millis| {
        let noted = state.note(KEY);
        let left = Ttl::Remaining(Duration::from_millis(millis));
        state.settle(KEY, &noted, &TrackedRead::on(NodeId::ONLY, Some("1".into()), left))
    };
    for (millis, settled) in [
        (18_000_000_000_000, Settled::Kept),
        (18_446_744_073_710, Settled::Refused),
        (i64::MAX.unsigned_abs(), Settled::Refused),
    ] {
        assert_eq!(settle(millis), settled, "{millis} ms");
        assert_eq!(kept(&state).is_some(), settled == Settled::Kept);
    }
}

#[test]
fn where_keys_move_a_refused_answer_may_be_newer_than_any_other() {
    let state = state(true);
    let before = state.note(KEY);
    state.changed(NodeId::ONLY, KEY.as_bytes());
    let after = state.note(KEY);
    assert_eq!(state.settle(KEY, &after, &read("2")), Settled::Kept);
    let during = state.note(KEY);
    assert_eq!(state.settle(KEY, &before, &read("3")), Settled::Refused);
    assert_eq!(kept(&state), None);
    assert_eq!(state.settle(KEY, &during, &read("2")), Settled::Refused);
}

#[test]
fn an_answer_that_nothing_orders_may_be_newer_than_any_other() {
    let state = state(false);
    let noted = state.note(KEY);
    let other = state.note(KEY);
    assert_eq!(state.settle(KEY, &noted, &read("1")), Settled::Kept);
    let untracked = TrackedRead::untracked(Some(Bytes::from("2")));
    assert_eq!(state.settle(KEY, &other, &untracked), Settled::Refused);
    assert_eq!(kept(&state), None);
    assert_eq!(state.settle(KEY, &other, &read("1")), Settled::Refused);
}

#[test]
fn after_an_untracked_read_of_a_large_value_only_the_mark_of_its_size_is_kept() {
    let state = state(false);
    let noted = state.note(KEY);
    let large = TrackedRead::on(NodeId::ONLY, Some(Bytes::from(vec![0; 101])), Ttl::Persistent);
    assert_eq!(state.settle(KEY, &noted, &large), Settled::Kept);
    let before = state.note(KEY);
    state.drop_kept(KEY, 101);
    assert_eq!(state.settle(KEY, &before, &read("1")), Settled::Refused);
    assert_eq!(state.find(KEY).err(), Some(NotKept::Large));
    // The mark is no answer, so the end of the stream does not matter.
    state.closed(NodeId::ONLY);
    assert_eq!(state.find(KEY).err(), Some(NotKept::Large));
    state.drop_kept(KEY, 100);
    assert_eq!(state.find(KEY).err(), Some(NotKept::Nothing));
    state.opening(NodeId::ONLY);
    state.opened(NodeId::ONLY);
    // The value became small, and was kept while the large value was being read.
    let noted = state.note(KEY);
    assert_eq!(state.settle(KEY, &noted, &read("1")), Settled::Kept);
    state.drop_kept(KEY, 101);
    assert_eq!(state.find(KEY).err(), Some(NotKept::Nothing));
}
