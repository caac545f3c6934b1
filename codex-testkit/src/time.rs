//! The time of the store under test.

use std::{fmt, sync::Arc, time::Duration};

/// The source of time of the store under test.
#[derive(Debug, Clone)]
pub enum Time {
    /// The store uses a clock that the harness controls. The clauses advance that clock and never
    /// wait.
    Virtual(VirtualTime),
    /// The store's clock runs on its own, and the clauses wait.
    ///
    /// If a clause that depends on time fails while timers of this process are more than 10 ms
    /// late, it is repeated. It counts as failed if three runs fail. A line on standard error
    /// reports each repetition.
    Real {
        /// The longest delay of an expiry, and the largest error of answers about time.
        granularity: Duration,
    },
}

/// A clock that stands still until it is advanced.
///
/// If a store uses the time of day, the harness must control both of its clocks: the clock of
/// elapsed time, and the wall clock. [`advance`](Self::advance) moves both by the same duration, as
/// the passage of time does. [`shift_wall_clock`](Self::shift_wall_clock) moves the wall clock
/// alone, as an administrator or a time server does.
///
/// Clause exp-12 requires that such a shift changes no time to live. A store that compares
/// deadlines with the time of day violates it. A store must compare deadlines with a monotonic
/// clock ([`Instant`](std::time::Instant) on most systems). If it writes deadlines to a file as
/// times of day, it must convert them once, when it opens the file, and then use the monotonic
/// clock.
pub trait VirtualClock: Send + Sync {
    /// Advances the clock that expiry uses, and the wall clock with it.
    fn advance(&self, by: Duration);

    /// Shifts the wall clock while no time passes. Returns whether the store uses a wall clock. The
    /// default returns `false`: exp-12 does not apply.
    fn shift_wall_clock(&self, shift: WallShift) -> bool {
        let _ = shift;
        false
    }
}

/// A correction of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WallShift {
    /// To a later time of day.
    Forward(Duration),
    /// To an earlier time of day.
    Back(Duration),
}

/// A handle to a [`VirtualClock`]. Clones share the clock.
#[derive(Clone)]
pub struct VirtualTime(Arc<dyn VirtualClock>);

impl VirtualTime {
    /// Creates a handle that moves `clock`.
    pub fn new(clock: impl VirtualClock + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// Creates a handle that calls `advance`, for a store that never uses the time of day. It has
    /// no wall clock, so exp-12 does not apply.
    ///
    /// ```
    /// use std::{sync::{Arc, atomic::{AtomicU64, Ordering::SeqCst}}, time::Duration};
    /// use codex_testkit::VirtualTime;
    ///
    /// let nanos = Arc::new(AtomicU64::new(0));
    /// let time = VirtualTime::from_fn({
    ///     let nanos = nanos.clone();
    ///     move |by| { nanos.fetch_add(by.as_nanos() as u64, SeqCst); }
    /// });
    /// time.advance(Duration::from_secs(1));
    /// assert_eq!(nanos.load(SeqCst), 1_000_000_000);
    /// ```
    pub fn from_fn(advance: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self::new(Closures {
            advance,
            shift: |_| false,
        })
    }

    /// Creates a handle that calls `advance`, and `shift` to move the wall clock alone, for a store
    /// that uses the time of day.
    ///
    /// ```
    /// use std::{sync::{Arc, Mutex}, time::{Duration, SystemTime}};
    /// use codex_testkit::{VirtualTime, WallShift};
    ///
    /// /// The times that the store under test asks for.
    /// struct Times { passed: Duration, of_day: SystemTime }
    ///
    /// let start = Times { passed: Duration::ZERO, of_day: SystemTime::UNIX_EPOCH };
    /// let times = Arc::new(Mutex::new(start));
    /// let (moved, shifted) = (times.clone(), times.clone());
    /// let time = VirtualTime::from_fns(
    ///     move |by| {
    ///         let mut times = moved.lock().unwrap();
    ///         times.passed += by;
    ///         times.of_day += by;
    ///     },
    ///     move |shift| {
    ///         let mut times = shifted.lock().unwrap();
    ///         match shift {
    ///             WallShift::Forward(by) => times.of_day += by,
    ///             WallShift::Back(by) => times.of_day -= by,
    ///         }
    ///     },
    /// );
    /// time.advance(Duration::from_secs(2));
    /// time.shift_wall_clock(WallShift::Back(Duration::from_secs(1)));
    /// assert_eq!(times.lock().unwrap().passed, Duration::from_secs(2));
    /// ```
    pub fn from_fns(
        advance: impl Fn(Duration) + Send + Sync + 'static,
        shift: impl Fn(WallShift) + Send + Sync + 'static,
    ) -> Self {
        Self::new(Closures {
            advance,
            shift: move |by| {
                shift(by);
                true
            },
        })
    }

    /// Calls [`VirtualClock::advance`].
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    /// Calls [`VirtualClock::shift_wall_clock`] and returns its result.
    pub fn shift_wall_clock(&self, shift: WallShift) -> bool {
        self.0.shift_wall_clock(shift)
    }
}

impl fmt::Debug for VirtualTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtualTime")
    }
}

struct Closures<A, S> {
    advance: A,
    shift: S,
}

impl<A, S> VirtualClock for Closures<A, S>
where
    A: Fn(Duration) + Send + Sync,
    S: Fn(WallShift) -> bool + Send + Sync,
{
    fn advance(&self, by: Duration) {
        (self.advance)(by);
    }

    fn shift_wall_clock(&self, shift: WallShift) -> bool {
        (self.shift)(shift)
    }
}
