//! The clock of the store under test, as a clause sees it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Time, VirtualTime, runtime::sleep};

/// Answers and durations are told apart at a millisecond, which is what stores keep.
const MILLISECOND: Duration = Duration::from_millis(1);

/// The time of the store under test, as the clause sees it.
#[derive(Debug)]
pub struct Clock {
    time: Time,
    advanced: Mutex<Duration>,
    started: Instant,
}

impl Clock {
    /// Creates a clock that shows nothing yet.
    pub fn new(time: Time) -> Self {
        Self {
            time,
            advanced: Mutex::new(Duration::ZERO),
            started: Instant::now(),
        }
    }

    /// Returns the handle on a clock that can be moved.
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

    /// Lets `duration` pass.
    pub async fn pass(&self, duration: Duration) {
        match &self.time {
            Time::Virtual(time) => {
                *self.advanced.lock().unwrap_or_else(PoisonError::into_inner) += duration;
                time.advance(duration);
            }
            Time::Real { .. } => sleep(duration).await,
        }
    }

    /// Lets a key that has `ttl` left come to its end, with what the store may be late.
    pub async fn outlive(&self, ttl: Duration) {
        self.pass(ttl + self.tolerance()).await;
    }

    /// Returns how far an answer about time may be off.
    pub fn tolerance(&self) -> Duration {
        match self.time {
            Time::Virtual(_) => MILLISECOND,
            Time::Real { granularity } => granularity + MILLISECOND,
        }
    }

    /// Returns a time to live that is soon over, and yet long enough for a few calls.
    pub fn short(&self) -> Duration {
        match self.time {
            Time::Virtual(_) => Duration::from_secs(1),
            Time::Real { granularity } => granularity * 4 + Duration::from_millis(60),
        }
    }

    /// Returns a time that is long enough to show in a time to live.
    pub fn noticeable(&self) -> Duration {
        match self.time {
            Time::Virtual(_) => Duration::from_secs(7),
            Time::Real { .. } => self.tolerance() * 4 + Duration::from_millis(10),
        }
    }
}
