//! The operating system's monotonic clock: exact where it must be, cheap where it may be.

use std::time::{Duration, Instant};

use crate::deadline::Deadline;

/// A reading further from the end than this is decided by the coarse clock alone. Far more than the tick of any kernel (1 to 10 ms),
/// so that a late tick, on a virtual machine that was held up for example, cannot let an entry live too long.
const NEAR: u64 = 1_000_000_000;

/// Counted from the making of the store.
#[derive(Debug)]
pub(crate) struct SystemClock {
    origin: Instant,
    coarse: coarse::Clock,
}

impl SystemClock {
    pub(crate) fn start() -> Self {
        let origin = Instant::now();
        // In this order: the coarse clock then never runs ahead of the exact one.
        let coarse = coarse::Clock::start();
        Self { origin, coarse }
    }

    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Exact: the coarse clock, which is at most behind, only tells the ends that are far off.
    #[inline]
    pub(crate) fn is_past(&self, end: Deadline) -> bool {
        match self.coarse.nanos() {
            Some(nanos) if end.is_far_from(nanos, NEAR) => false,
            _ => end.is_past(self.now()),
        }
    }
}

/// The time of the kernel's last tick, from the page that it shares with every process: a third of what an exact reading costs.
#[cfg(target_os = "linux")]
mod coarse {
    use rustix::time::{ClockId, clock_gettime};

    #[derive(Debug)]
    pub(super) struct Clock {
        origin: u64,
    }

    impl Clock {
        pub(super) fn start() -> Self {
            // The exact one, which `Instant` is made of too.
            let origin = nanos(ClockId::Monotonic);
            Self { origin }
        }

        /// Nanoseconds since the beginning, at most.
        #[inline]
        pub(super) fn nanos(&self) -> Option<u64> {
            Some(nanos(ClockId::MonotonicCoarse).saturating_sub(self.origin))
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
mod coarse {
    /// There is none.
    #[derive(Debug)]
    pub(super) struct Clock;

    impl Clock {
        pub(super) fn start() -> Self {
            Self
        }

        pub(super) fn nanos(&self) -> Option<u64> {
            None
        }
    }
}

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
            after - before >= Duration::from_millis(20),
            "early: {:?}",
            after - before
        );
    }

    #[test]
    fn the_coarse_clock_is_never_ahead() {
        let clock = SystemClock::start();
        for _ in 0..100_000 {
            if let Some(nanos) = clock.coarse.nanos() {
                assert!(u128::from(nanos) <= clock.now().as_nanos());
            }
        }
    }
}
