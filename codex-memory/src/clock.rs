//! Where the time comes from.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{deadline::Deadline, system::SystemClock};

/// A source of time that a test can hold in its hand.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time since some fixed moment. Never runs backwards.
    fn now(&self) -> Duration;

    /// The wall clock, which may be set back or forward at any time. Used only to refuse an expiry
    /// too far in the future.
    fn system_time(&self) -> SystemTime;
}

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    elapsed: Duration,
    wall: SystemTime,
}

impl ManualClock {
    /// A clock whose wall time is 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }

    /// A clock with this wall time.
    pub fn starting_at(wall: SystemTime) -> Self {
        let elapsed = Duration::ZERO;
        Self(Arc::new(Mutex::new(Times { elapsed, wall })))
    }

    /// Lets this much time pass.
    pub fn advance(&self, by: Duration) {
        self.change(|times| {
            times.elapsed += by;
            times.wall += by;
        });
    }

    /// Sets the wall clock alone, as an administrator or a time server does. No time passes.
    pub fn set_system_time(&self, wall: SystemTime) {
        self.change(|times| times.wall = wall);
    }

    /// The wall time that this clock shows.
    pub fn system_time(&self) -> SystemTime {
        self.change(|times| times.wall)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Times) -> T) -> T {
        // A panic in another test's thread cannot leave a time half-written.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        self.change(|times| times.elapsed)
    }

    fn system_time(&self) -> SystemTime {
        Self::system_time(self)
    }
}

/// The clock of one store.
#[derive(Debug)]
pub(crate) enum TimeSource {
    System(SystemClock),
    Given(Box<dyn Clock>),
}

impl TimeSource {
    /// A reading to be taken before a lock is: the caller's clock is not to run under it. The
    /// system's own is read only when it is looked at, because most entries that live for ever
    /// never need it.
    #[inline]
    pub(crate) fn reading(&self) -> Reading<'_> {
        match self {
            Self::System(clock) => Reading::Lazy(clock),
            Self::Given(clock) => Reading::Taken(clock.now()),
        }
    }

    /// Milliseconds since 1970, negative before.
    pub(crate) fn unix_millis(&self) -> i64 {
        let wall = match self {
            Self::System(_) => SystemTime::now(),
            Self::Given(clock) => clock.system_time(),
        };
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match wall.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        }
    }
}

/// One reading of a clock.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reading<'a> {
    Lazy(&'a SystemClock),
    Taken(Duration),
}

impl Reading<'_> {
    pub(crate) fn now(self) -> Duration {
        match self {
            Self::Lazy(clock) => clock.now(),
            Self::Taken(now) => now,
        }
    }

    /// The end of what lives for `millis` from now on.
    #[inline]
    pub(crate) fn end_after(self, millis: u64) -> Deadline {
        match self {
            Self::Lazy(clock) => clock.end_after(millis),
            Self::Taken(now) => Deadline::after(now, Duration::from_millis(millis)),
        }
    }

    #[inline]
    pub(crate) fn is_past(self, end: Deadline) -> bool {
        !end.is_never()
            && match self {
                Self::Lazy(clock) => clock.is_past(end),
                Self::Taken(now) => end.is_past(now),
            }
    }
}
