//! Sources of time.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{time::deadline::Deadline, time::system_clock::SystemClock};

/// A source of time, for tests that control it. The store may call it under a shard's lock, so it
/// must not use the store.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the time since some fixed moment. Must never run backwards.
    fn now(&self) -> Duration;

    /// Returns the wall time, which may be set back or forward at any time. It is used to refuse an
    /// expiry too far in the future, and in snapshots.
    fn system_time(&self) -> SystemTime;
}

/// A clock that stands still until it is advanced. Clones share the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Debug)]
struct Times {
    elapsed: Duration,
    wall: SystemTime,
}

impl ManualClock {
    /// Creates a clock whose wall time is 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self::starting_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }

    /// Creates a clock with this wall time.
    pub fn starting_at(wall: SystemTime) -> Self {
        let elapsed = Duration::ZERO;
        Self(Arc::new(Mutex::new(Times { elapsed, wall })))
    }

    /// Advances the monotonic time and the wall time.
    ///
    /// # Panics
    ///
    /// If one of the times overflows.
    pub fn advance(&self, by: Duration) {
        self.change(|times| {
            times.elapsed += by;
            times.wall += by;
        });
    }

    /// Sets only the wall time, as an administrator or a time server does. No time passes.
    pub fn set_system_time(&self, wall: SystemTime) {
        self.change(|times| times.wall = wall);
    }

    /// Returns the wall time.
    pub fn system_time(&self) -> SystemTime {
        self.change(|times| times.wall)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Times) -> T) -> T {
        // Only an overflow in `advance` can poison the lock. Both times are still valid then.
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
    /// Returns a reading. A write takes it under its lock: with an earlier reading, it could revive
    /// an entry that another call has already found expired. It takes it before any change, because
    /// the caller's clock may panic. The system's clock is read only when needed: entries without a
    /// deadline never need it.
    #[inline]
    pub(crate) fn reading(&self) -> Reading<'_> {
        match self {
            Self::System(clock) => Reading::Lazy(clock),
            Self::Given(clock) => Reading::Taken(clock.now()),
        }
    }

    /// Returns the wall time in milliseconds since 1970, negative before 1970.
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

/// A reading of a clock.
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

    /// Returns the deadline of an entry that lives for `millis` from now on.
    #[inline]
    pub(crate) fn deadline_after(self, millis: u64) -> Deadline {
        match self {
            Self::Lazy(clock) => clock.deadline_after(millis),
            Self::Taken(now) => Deadline::after(now, Duration::from_millis(millis)),
        }
    }

    /// Returns the time until a deadline, or `None` if it has passed. The deadline must not be
    /// [`NEVER`](Deadline::NEVER).
    #[inline]
    pub(crate) fn left(self, end: Deadline) -> Option<Duration> {
        match self {
            Self::Lazy(clock) => end.left_nanos(clock.nanos()),
            Self::Taken(now) => end.left(now),
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
