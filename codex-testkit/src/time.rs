//! The clock of the store under test.

use std::{fmt, sync::Arc, time::Duration};

/// How time passes for the store under test.
#[derive(Debug, Clone)]
pub enum Time {
    /// The store asks a clock that the harness holds: the clauses move it, and wait for nothing.
    Virtual(VirtualTime),
    /// The store's clock runs by itself, and the clauses wait.
    Real {
        /// How late the store may be in letting a key end, and how coarse its answers about time are.
        granularity: Duration,
    },
}

/// A clock that stands still until it is moved.
pub trait VirtualClock: Send + Sync {
    /// Moves the time that expiry is counted in forward.
    fn advance(&self, by: Duration);

    /// Sets the wall clock, the time of day, as an administrator or a time server would, while no time passes. Answers whether
    /// the store has a wall clock at all: where it has none, exp-12 does not apply.
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

    /// Moves a clock by calling `advance`; there is no wall clock.
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

    /// Moves a clock by calling `advance`, and its wall clock by calling `shift`.
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

    /// As [`VirtualClock::advance`].
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }

    /// As [`VirtualClock::shift_wall_clock`].
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
