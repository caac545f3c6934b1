//! The clock of the store under test.

use std::{fmt, sync::Arc, time::Duration};

/// The way in which time passes for the store under test.
#[derive(Debug, Clone)]
pub enum Time {
    /// The store asks a clock that the harness holds: the clauses move it, and wait for nothing.
    Virtual(VirtualTime),
    /// The store's clock runs by itself, and the clauses wait.
    Real {
        /// The longest time by which a key ends late, and by which answers about time are off.
        granularity: Duration,
    },
}

/// A clock that stands still until it is moved.
///
/// A store that uses the time of day must have both of its times in the harness's hands: the time
/// that passes, and the wall clock. [`advance`](Self::advance) then moves both by the same
/// duration, as a running machine does. [`shift_wall_clock`](Self::shift_wall_clock) moves the wall
/// clock alone, as an administrator or a time server does.
///
/// Clause exp-12 asks that such a shift changes no time to live. A store that compares deadlines
/// with the time of day cannot keep it. It has to count deadlines by a clock that only goes forward
/// ([`Instant`](std::time::Instant) on most systems). A store that writes deadlines to a file as
/// times of day converts them once when it opens the file, and counts from then on by that clock.
pub trait VirtualClock: Send + Sync {
    /// Moves the time that expiry is counted in forward, and the wall clock with it.
    fn advance(&self, by: Duration);

    /// Sets the wall clock, while no time passes. Returns whether the store has a wall clock at
    /// all: if it has none, the default, exp-12 does not apply.
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

/// A handle on a [`VirtualClock`]; clones move the same clock.
#[derive(Clone)]
pub struct VirtualTime(Arc<dyn VirtualClock>);

impl VirtualTime {
    /// Moves `clock`.
    pub fn new(clock: impl VirtualClock + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// Moves a clock by calling `advance`. There is no wall clock, so exp-12 does not apply: right
    /// for a store that never asks the time of day.
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

    /// Moves a clock by calling `advance`, and the wall clock alone by calling `shift`: for a store
    /// that asks the time of day.
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

    /// Does the same as [`VirtualClock::advance`].
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    /// Returns the same as [`VirtualClock::shift_wall_clock`].
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
