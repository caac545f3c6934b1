//! The clock by which a clause measures time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use codex_traits::Ttl;

use crate::{Time, VirtualTime, activity::Activity, runtime::sleep};

/// The resolution of times to live, in calls and in answers.
const MILLISECOND: Duration = Duration::from_millis(1);

/// The time of the store under test, as a clause sees it.
#[derive(Debug)]
pub struct Clock {
    time: Time,
    advanced: Mutex<Duration>,
    started: Instant,
    activity: Arc<Activity>,
}

impl Clock {
    /// Creates a clock that reads zero.
    pub fn new(time: Time) -> Self {
        Self {
            time,
            advanced: Mutex::new(Duration::ZERO),
            started: Instant::now(),
            activity: Activity::current(),
        }
    }

    /// Returns the virtual clock, or `None` in real time.
    pub fn virtual_time(&self) -> Option<&VirtualTime> {
        match &self.time {
            Time::Virtual(time) => Some(time),
            Time::Real { .. } => None,
        }
    }

    /// Returns the time since the clause began.
    pub fn now(&self) -> Duration {
        match self.time {
            Time::Virtual(_) => *self.advanced.lock().unwrap_or_else(PoisonError::into_inner),
            Time::Real { .. } => self.started.elapsed(),
        }
    }

    /// Declares that the clause compares moments of real time. If it fails on a busy machine, it
    /// runs again.
    pub fn depend_on_time(&self) {
        self.activity.pace().depend_on_time();
    }

    /// Lets `duration` pass.
    pub async fn pass(&self, duration: Duration) {
        match &self.time {
            Time::Virtual(time) => {
                *self.advanced.lock().unwrap_or_else(PoisonError::into_inner) += duration;
                time.advance(duration);
            }
            Time::Real { .. } => {
                self.depend_on_time();
                sleep(duration).await;
            }
        }
    }

    /// Waits until a key with `ttl` left has expired, plus the delay that the store is allowed.
    pub async fn outlive(&self, ttl: Duration) {
        self.pass(ttl + self.tolerance()).await;
    }

    /// Returns the tolerance for answers about time.
    pub fn tolerance(&self) -> Duration {
        match self.time {
            Time::Virtual(_) => MILLISECOND,
            Time::Real { granularity } => granularity + MILLISECOND,
        }
    }

    /// Returns a time to live that is short but leaves time for a few calls.
    pub fn short(&self) -> Duration {
        match self.time {
            // As with `noticeable`, no whole seconds.
            Time::Virtual(_) => Duration::from_millis(1_100),
            Time::Real { granularity } => {
                self.depend_on_time();
                granularity * 4 + Duration::from_millis(60)
            }
        }
    }

    /// Returns a time that is long enough to change a time to live noticeably.
    pub fn noticeable(&self) -> Duration {
        match self.time {
            // No whole seconds, so that a time to live that is rounded to seconds differs.
            Time::Virtual(_) => Duration::from_millis(7_321),
            Time::Real { .. } => self.tolerance() * 4 + Duration::from_millis(10),
        }
    }
}

/// Returns whether `got` agrees with `expected`, if it may be too long or too short by so much.
pub(crate) fn ttls_agree(got: Ttl, expected: Ttl, too_long: Duration, too_short: Duration) -> bool {
    match (got, expected) {
        (Ttl::Remaining(got), Ttl::Remaining(expected)) => {
            got <= expected.saturating_add(too_long) && expected <= got.saturating_add(too_short)
        }
        _ => got == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_may_be_too_short_by_the_duration_of_an_earlier_read() {
        let left = |millis| Ttl::Remaining(Duration::from_millis(millis));
        let agree = |got, ttl| ttls_agree(got, ttl, Duration::from_millis(2), Duration::from_millis(70));
        assert!(agree(left(930), left(1000)) && !agree(left(929), left(1000)));
        assert!(agree(left(1002), left(1000)) && !agree(left(1003), left(1000)));
        assert!(agree(Ttl::Persistent, Ttl::Persistent) && !agree(Ttl::Persistent, left(1000)));
        assert!(!agree(Ttl::Remaining(Duration::MAX), left(1000)) && !agree(left(1000), Ttl::Missing));
    }
}
