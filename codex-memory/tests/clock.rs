//! The caller's clock, and deadlines that are so distant that they are stored in another form.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, SystemTime},
};

use codex_memory::{Clock, ManualClock, MemoryBackend};
use codex_traits::{ErrorKind, Expiry, KvBackend, SetOptions, Ttl};
use futures_util::FutureExt as _;

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

/// A clock that stops in the thread named "slow" at each reading, until it is told to go on or for
/// a moment. The reading is the time before the stop.
#[derive(Debug, Clone)]
struct Slow {
    time: ManualClock,
    stopped: Sender<()>,
    go_on: Arc<Mutex<Receiver<()>>>,
}

impl Clock for Slow {
    fn now(&self) -> Duration {
        let now = Clock::now(&self.time);
        if thread::current().name() == Some("slow") {
            let _ = self.stopped.send(());
            let _ = self.go_on.lock().unwrap().recv_timeout(Duration::from_millis(100));
        }
        now
    }

    fn system_time(&self) -> SystemTime {
        self.time.system_time()
    }
}

// A call never waits, so it is done when it was polled once.
fn get(store: &MemoryBackend) -> bool {
    store.get("k").now_or_never().unwrap().unwrap().is_some()
}

#[test]
fn an_entry_that_was_found_expired_is_not_revived_by_a_call_that_read_the_clock_before() {
    // A write reads the clock when it sweeps, and again for its own key.
    for reading in [1, 2] {
        let ((stopped, was_stopped), (tell, go_on)) = (channel(), channel());
        let time = ManualClock::new();
        let clock = Slow {
            time: time.clone(),
            stopped,
            go_on: Arc::new(Mutex::new(go_on)),
        };
        let store = MemoryBackend::with_clock(clock);
        let options = SetOptions::expires_after(HOUR);
        assert!(store.set("k", "v".into(), options).now_or_never().unwrap().is_ok());
        let slow = store.clone();
        let persist = move || slow.expire("k", Expiry::Never).now_or_never().unwrap().unwrap();
        let slow = thread::Builder::new().name("slow".to_owned()).spawn(persist).unwrap();
        for at in 1..=reading {
            was_stopped.recv().unwrap();
            if at < reading {
                tell.send(()).unwrap();
            }
        }
        time.advance(HOUR);
        let was_found = get(&store);
        let _ = tell.send(());
        let was_persisted = slow.join().unwrap();
        assert_eq!(
            (was_found, get(&store)),
            (was_persisted, was_persisted),
            "reading {reading}"
        );
    }
}
