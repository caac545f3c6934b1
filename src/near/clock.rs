//! The clock of a near cache, in nanoseconds since a fixed moment.

use codex_memory::Clock;

/// The time source: the system's clock or a given clock.
#[derive(Debug)]
pub(super) enum Time {
    System(source::Clock),
    Given(Box<dyn Clock>),
}

impl Time {
    pub(super) fn system() -> Self {
        Self::System(source::Clock::start())
    }

    /// Returns the exact time.
    pub(super) fn now(&self) -> u64 {
        match self {
            Self::System(clock) => clock.exact(),
            Self::Given(clock) => given(&**clock),
        }
    }

    /// Returns a time that is at most a few kernel ticks after the present. It is not before the
    /// present, unless a kernel tick is late by more than a whole tick. Every hit calls this, so it
    /// must be cheap.
    #[inline]
    pub(super) fn latest(&self) -> u64 {
        match self {
            Self::System(clock) => clock.latest(),
            Self::Given(clock) => given(&**clock),
        }
    }
}

fn given(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.now().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(target_os = "linux")]
mod source {
    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    /// The maximum age of a coarse reading, in ticks. The coarse clock shows the time of the
    /// kernel's last tick, and a tick can come late on a busy machine.
    const TICKS: u64 = 2;

    #[derive(Debug)]
    pub(in super::super) struct Clock {
        margin: u64,
    }

    impl Clock {
        pub(super) fn start() -> Self {
            let tick = nanos(clock_getres(ClockId::MonotonicCoarse));
            Self { margin: TICKS * tick }
        }

        #[expect(clippy::unused_self, reason = "the clock of other platforms has a start")]
        pub(super) fn exact(&self) -> u64 {
            nanos(clock_gettime(ClockId::Monotonic))
        }

        #[inline]
        pub(super) fn latest(&self) -> u64 {
            nanos(clock_gettime(ClockId::MonotonicCoarse)).saturating_add(self.margin)
        }
    }

    #[inline]
    fn nanos(time: Timespec) -> u64 {
        time.tv_sec
            .cast_unsigned()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec.cast_unsigned())
    }
}

#[cfg(not(target_os = "linux"))]
mod source {
    use std::time::Instant;

    #[derive(Debug)]
    pub(in super::super) struct Clock(Instant);

    impl Clock {
        pub(super) fn start() -> Self {
            Self(Instant::now())
        }

        pub(super) fn exact(&self) -> u64 {
            u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
        }

        pub(super) fn latest(&self) -> u64 {
            self.exact()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheap_reading_is_never_behind_and_little_ahead() {
        let time = Time::system();
        for _ in 0..10_000 {
            let before = time.now();
            assert!(time.latest() >= before);
        }
        assert!(time.latest() <= time.now() + 100_000_000);
    }
}
