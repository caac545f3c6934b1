//! The operating system's monotonic clock: exact where it must be, cheap where it may be.

use std::{ops::RangeInclusive, time::Duration};

use crate::deadline::Deadline;

/// A reading further from the end than this is decided by the coarse clock alone. Far more than the
/// tick of any kernel (1 to 10 ms), so that a late tick, on a virtual machine that was held up for
/// example, cannot let an entry live too long.
const NEAR: u64 = 1_000_000_000;

/// An end so many milliseconds away is counted from the coarse clock: from half an hour to a
/// hundred years.
const LONG: RangeInclusive<u64> = 30 * 60 * 1000..=100 * 365 * 86_400 * 1000;

/// Counted from the making of the store.
#[derive(Debug)]
pub(crate) struct SystemClock {
    source: source::Clock,
}

impl SystemClock {
    pub(crate) fn start() -> Self {
        let source = source::Clock::start();
        Self { source }
    }

    /// Nanoseconds; they fit for 584 years.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.source.exact()
    }

    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    /// The end of what lives for `millis` from now on: exact where that is less than half an hour.
    /// Reading the exact clock takes a third of a write's time.
    #[inline]
    pub(crate) fn end_after(&self, millis: u64) -> Deadline {
        if LONG.contains(&millis) {
            Deadline::after_about(self.source.coarse(), millis)
        } else {
            Deadline::after_nanos(self.nanos(), millis)
        }
    }

    /// Exact: the coarse clock, which is at most behind, only tells the ends that are far off.
    #[inline]
    pub(crate) fn is_past(&self, end: Deadline) -> bool {
        !end.is_far_from(self.source.coarse(), NEAR) && end.is_past(self.now())
    }
}

/// The two monotonic clocks of the kernel, read from the page that it shares with every process.
/// The coarse one is the time of the last tick, and costs a quarter of the exact one.
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

        /// Never ahead of the exact one.
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
    fn an_end_is_neither_early_nor_late() {
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
    fn a_long_life_is_counted_from_the_coarse_clock() {
        let clock = SystemClock::start();
        let minutes = |count: u64| (count * 60 * 1000, Duration::from_secs(count * 60));
        for (millis, span) in [minutes(29), minutes(30), minutes(1_000_000)] {
            let before = clock.now();
            let end = clock.end_after(millis);
            let after = clock.now();
            assert!(end.left(after).is_some_and(|left| left <= span));
            assert!(end.since_origin().is_some_and(|end| end >= before + span));
            let is_rough = end.since_origin().is_some_and(|end| end > after + span);
            assert_eq!(is_rough, millis >= 1_800_000, "{span:?}");
        }
    }

    #[test]
    fn the_coarse_clock_is_never_ahead_and_comes_after() {
        let clock = SystemClock::start();
        for _ in 0..100_000 {
            let coarse = clock.source.coarse();
            assert!(coarse <= clock.nanos());
        }
        // Nor does it stay behind.
        let now = clock.nanos();
        while clock.source.coarse() < now {}
    }
}
