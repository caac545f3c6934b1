//! The operating system's monotonic clock.

use std::time::Duration;

use crate::time::deadline::Deadline;

/// If a deadline is further away than this, in nanoseconds, the coarse clock suffices to decide
/// that the entry is live. This is far longer than the tick of any kernel (1 to 10 ms), so that a
/// late tick, for example on a virtual machine that was paused, cannot let an entry live too long.
const NEAR: u64 = 1_000_000_000;

/// A clock whose origin is the creation of the store.
#[derive(Debug)]
pub(crate) struct SystemClock {
    source: source::Clock,
}

impl SystemClock {
    pub(crate) fn start() -> Self {
        let source = source::Clock::start();
        Self { source }
    }

    /// Returns the nanoseconds since the origin. They overflow after 584 years.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.source.exact()
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    /// Returns the deadline of an entry that lives for `millis` from now on.
    #[inline]
    pub(crate) fn deadline_after(&self, millis: u64) -> Deadline {
        Deadline::after_nanos(self.nanos(), millis)
    }

    /// Returns whether a deadline has passed. The result is exact: the coarse clock, which is never
    /// ahead, only rules out distant deadlines.
    #[inline]
    pub(crate) fn is_past(&self, end: Deadline) -> bool {
        !end.is_far_from(self.source.coarse(), NEAR) && end.is_past(self.now())
    }
}

/// The two monotonic clocks of the kernel, read from the vDSO. The coarse clock returns the time of
/// the last tick, at a quarter of the cost of the exact clock.
#[cfg(target_os = "linux")]
mod source {
    use rustix::time::{ClockId, clock_gettime};

    #[derive(Debug)]
    pub(super) struct Clock {
        origin: u64,
    }

    impl Clock {
        pub(super) fn start() -> Self {
            let origin = nanos(ClockId::Monotonic);
            Self { origin }
        }

        #[inline]
        pub(super) fn exact(&self) -> u64 {
            nanos(ClockId::Monotonic).saturating_sub(self.origin)
        }

        /// Returns the time of the last tick, which is never ahead of the exact time.
        #[inline]
        pub(super) fn coarse(&self) -> u64 {
            nanos(ClockId::MonotonicCoarse).saturating_sub(self.origin)
        }
    }

    #[inline]
    fn nanos(clock: ClockId) -> u64 {
        let time = clock_gettime(clock);
        time.tv_sec
            .cast_unsigned()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec.cast_unsigned())
    }
}

#[cfg(not(target_os = "linux"))]
#[path = "portable_clock.rs"]
mod source;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_neither_early_nor_late() {
        let clock = SystemClock::start();
        let before = clock.now();
        let end = Deadline::after(before, Duration::from_millis(20));
        while !clock.is_past(end) {}
        let after = clock.now();
        assert!(
            after.saturating_sub(before) >= Duration::from_millis(20),
            "early: {:?}",
            after.saturating_sub(before)
        );
    }

    #[test]
    fn the_coarse_clock_is_never_ahead_and_catches_up() {
        let clock = SystemClock::start();
        for _ in 0..100_000 {
            let coarse = clock.source.coarse();
            assert!(coarse <= clock.nanos());
        }
        // It must not lag for ever either.
        let now = clock.nanos();
        while clock.source.coarse() < now {}
    }
}
