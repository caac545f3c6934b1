//! The caller's clock, and deadlines that are so distant that they are stored in another form.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::time::{Duration, SystemTime};

use codex_memory::{ManualClock, MemoryBackend};
use codex_traits::{ErrorKind, KvBackend, SetOptions, Ttl};

const HOUR: Duration = Duration::from_secs(3600);
/// From this many nanoseconds on, a deadline is stored in whole milliseconds.
const WHERE_NANOSECONDS_END: u64 = 1 << 63;
const NANOS_PER_MILLI: u64 = 1_000_000;
const LONGEST_MILLIS: u64 = i64::MAX.unsigned_abs();

async fn ttl_of(store: &MemoryBackend, span: Duration) -> Ttl {
    let outcome = store.set("k", "v".into(), SetOptions::expires_after(span)).await;
    assert!(outcome.unwrap().is_written());
    store.ttl("k").await.unwrap()
}

#[test]
fn advance_moves_both_times_and_set_system_time_one() {
    let start = SystemTime::UNIX_EPOCH + HOUR;
    let clock = ManualClock::starting_at(start);
    clock.advance(HOUR);
    assert_eq!(clock.system_time(), start + HOUR);
    clock.set_system_time(start - HOUR);
    assert_eq!(clock.system_time(), start - HOUR);
    assert_eq!(codex_memory::Clock::now(&clock), HOUR);
}

#[tokio::test]
async fn the_longest_span_is_kept_to_the_millisecond() {
    let clock = ManualClock::new();
    // Shorter than the longest span by more than the time since 1970.
    let longest = Duration::from_millis(LONGEST_MILLIS - (1 << 42));
    assert_eq!(
        ttl_of(&MemoryBackend::with_clock(clock), longest).await,
        Ttl::Remaining(longest)
    );
}

#[tokio::test]
async fn a_span_whose_deadline_does_not_fit_is_refused() {
    let clock = ManualClock::new();
    let since_1970 = clock.system_time().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let longest = Duration::from_millis(LONGEST_MILLIS).checked_sub(since_1970).unwrap();
    let store = MemoryBackend::with_clock(clock);
    assert_eq!(ttl_of(&store, longest).await, Ttl::Remaining(longest));
    let options = SetOptions::expires_after(longest + Duration::from_millis(1));
    let error = store.set("k", "v".into(), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(store.ttl("k").await.unwrap(), Ttl::Remaining(longest));
}

// Before 1970, the longest span is longer by the time until 1970, as on a Redis server whose clock
// is wrong.
#[tokio::test]
async fn a_wall_clock_before_1970_refuses_no_span() {
    let clock = ManualClock::starting_at(SystemTime::UNIX_EPOCH - HOUR);
    let longest = Duration::from_millis(LONGEST_MILLIS);
    let ttl = ttl_of(&MemoryBackend::with_clock(clock), longest).await;
    assert!(matches!(ttl, Ttl::Remaining(_)), "{ttl:?}");
}

#[tokio::test]
async fn a_deadline_just_where_nanoseconds_end_is_kept() {
    // Spans are whole milliseconds, so the clock supplies the rest.
    let millis = WHERE_NANOSECONDS_END / NANOS_PER_MILLI;
    let rest = WHERE_NANOSECONDS_END % NANOS_PER_MILLI;
    let (span, nearly_all) = (Duration::from_millis(millis), Duration::from_millis(millis - 1_000));
    for nanos in [rest - 1, rest, rest + 1] {
        let clock = ManualClock::new();
        let store = MemoryBackend::with_clock(clock.clone());
        clock.advance(Duration::from_nanos(nanos));
        let Ttl::Remaining(left) = ttl_of(&store, span).await else {
            panic!("at {nanos} ns there is no end");
        };
        assert!(
            left.abs_diff(span) <= Duration::from_millis(1),
            "at {nanos} ns: {left:?}"
        );
        clock.advance(nearly_all);
        assert!(store.get("k").await.unwrap().is_some());
        clock.advance(Duration::from_secs(2));
        assert_eq!(store.get("k").await.unwrap(), None);
    }
}
