//! Options and outcomes of writes.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{Error, Result};

/// The condition under which a [`set`](crate::KvBackend::set) writes.
///
/// The comparison and the write are one atomic step.
///
/// This enum is exhaustive on purpose, because a backend must handle every condition. A new variant
/// would change the contract, and the compiler should point out each backend that lacks it.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Writes unconditionally.
    #[default]
    Always,
    /// Writes only if the key is missing or has expired (Redis: `NX`).
    IfAbsent,
    /// Writes only if the key is present (Redis: `XX`).
    IfPresent,
    /// Writes only if the key holds exactly these bytes: compare-and-set.
    IfEquals(Bytes),
}

// Hides the expected value, which may be a session's payload.
impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("Always"),
            Self::IfAbsent => f.write_str("IfAbsent"),
            Self::IfPresent => f.write_str("IfPresent"),
            Self::IfEquals(value) => write!(f, "IfEquals(<{} bytes>)", value.len()),
        }
    }
}

/// The time at which a key expires.
///
/// This enum is exhaustive on purpose, as [`Condition`] is: a backend must handle every variant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Never. Clears an existing time to live.
    #[default]
    Never,
    /// This long after the call. Replaces an existing time to live.
    ///
    /// Backends keep whole milliseconds and round up, so that no key expires early.
    After(Duration),
    /// Unchanged: an existing time to live stays, and a new key gets none (Redis: `KEEPTTL`).
    Keep,
}

impl Expiry {
    /// The longest duration that every store must accept: `i64::MAX` − 2⁴² milliseconds, about 292
    /// million years.
    ///
    /// Redis keeps a deadline as milliseconds since 1970 in a signed 64-bit integer. This constant
    /// leaves room for any current time until the year 2109. A store may accept longer durations,
    /// up to the limit of Redis; see [`to_millis_at`](Self::to_millis_at).
    pub const MAX: Duration = Duration::from_millis(MAX_MILLIS.unsigned_abs());

    /// Returns the milliseconds of [`Expiry::After`], rounded up, and `None` for the other
    /// variants.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the duration is zero or
    /// longer than [`Expiry::MAX`].
    #[inline]
    pub fn to_millis(self, operation: &'static str) -> Result<Option<i64>> {
        self.to_millis_at(operation, || 1 << 42)
    }

    /// Returns the milliseconds as [`to_millis`](Self::to_millis) does, for a store that knows the
    /// current time and accepts exactly the durations that Redis accepts at that time.
    ///
    /// `unix_millis` returns the milliseconds since 1970. It is called only for a duration longer
    /// than [`Expiry::MAX`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if the duration is zero,
    /// or if its end does not fit a signed 64-bit count of milliseconds since 1970.
    #[inline]
    pub fn to_millis_at(self, operation: &'static str, unix_millis: impl FnOnce() -> i64) -> Result<Option<i64>> {
        let Self::After(duration) = self else {
            return Ok(None);
        };
        match duration_to_millis(duration) {
            Some(0) => Err(Error::expiry_is_zero(operation)),
            Some(millis) if millis <= MAX_MILLIS || millis.checked_add(unix_millis()).is_some() => Ok(Some(millis)),
            _ => Err(Error::expiry_too_long(operation)),
        }
    }
}

const MAX_MILLIS: i64 = i64::MAX - (1 << 42);

impl From<Duration> for Expiry {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

/// Returns the duration in whole milliseconds, rounded up, if they fit in an `i64`.
#[inline]
pub(crate) fn duration_to_millis(duration: Duration) -> Option<i64> {
    // `as_nanos` would need a 128-bit division, which takes as long as the rest of a set in memory.
    let rest = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    let millis = duration.as_secs().checked_mul(1000)?.checked_add(rest)?;
    i64::try_from(millis).ok()
}

/// The condition and the expiry of a [`set`](crate::KvBackend::set). The default writes
/// unconditionally and without an expiry.
///
/// ```
/// # use std::time::Duration;
/// use codex_traits::{Condition, Expiry, SetOptions};
///
/// // SET NX EX, in two spellings.
/// let options = SetOptions::if_absent().with_expiry(Duration::from_secs(60));
/// let expiring = SetOptions::expires_after(Duration::from_secs(60));
/// assert_eq!(options, expiring.with_condition(Condition::IfAbsent));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct SetOptions {
    /// The condition under which to write.
    pub condition: Condition,
    /// The time at which the written value expires.
    pub expiry: Expiry,
}

impl SetOptions {
    /// Returns options that write unconditionally and without an expiry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the condition.
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Replaces the expiry. A [`Duration`] is an [`Expiry::After`].
    pub fn with_expiry(mut self, expiry: impl Into<Expiry>) -> Self {
        self.expiry = expiry.into();
        self
    }

    /// Returns options that write only if the key is missing: [`Condition::IfAbsent`].
    pub fn if_absent() -> Self {
        Self::new().with_condition(Condition::IfAbsent)
    }

    /// Returns options that write only if the key is present: [`Condition::IfPresent`].
    pub fn if_present() -> Self {
        Self::new().with_condition(Condition::IfPresent)
    }

    /// Returns options that write unconditionally, with an expiry after `duration`:
    /// [`Expiry::After`].
    #[inline]
    pub fn expires_after(duration: Duration) -> Self {
        Self::new().with_expiry(duration)
    }
}

/// Whether a [`set`](crate::KvBackend::set) wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a refused write changed nothing"]
pub enum SetOutcome {
    /// The value is stored.
    Written,
    /// The condition did not hold, and nothing was changed.
    Refused,
}

impl SetOutcome {
    /// Returns whether the value was stored.
    pub fn is_written(self) -> bool {
        self == Self::Written
    }
}

/// The remaining time to live of a key.
///
/// This enum is exhaustive on purpose: a key is missing, is persistent or expires, so a caller that
/// handles these three variants has handled everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The key does not exist, or it has expired.
    Missing,
    /// The key exists and never expires.
    Persistent,
    /// The key exists and expires after this duration. The duration is more than zero and, apart
    /// from rounding up to a millisecond, never more than the duration that was set.
    Remaining(Duration),
}

/// The behaviour of [`incr`](crate::KvBackend::incr) if the key is missing.
///
/// This enum is exhaustive on purpose, as [`Condition`] is: a backend must handle every variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// Starts at zero, with this expiry. An existing counter keeps its time to live.
    Create(Expiry),
    /// Returns `Ok(None)` and creates nothing.
    Refuse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_expiry_is_the_constant_or_what_still_fits_since_1970() {
        let after = |millis: i64| Expiry::After(Duration::from_millis(millis.unsigned_abs()));
        let now = 1_800_000_000_000;
        assert_eq!(Expiry::After(Expiry::MAX).to_millis("set").unwrap(), Some(MAX_MILLIS));
        assert!(after(MAX_MILLIS + 1).to_millis("set").is_err());
        assert_eq!(
            after(i64::MAX - now).to_millis_at("set", || now).unwrap(),
            Some(i64::MAX - now)
        );
        assert!(after(i64::MAX - now + 1).to_millis_at("set", || now).is_err());
        for never in [Duration::from_millis(1 << 63), Duration::MAX, Duration::ZERO] {
            assert!(Expiry::After(never).to_millis_at("set", || 0).is_err(), "{never:?}");
        }
    }

    #[test]
    fn a_fraction_of_a_millisecond_is_rounded_up() {
        for (nanos, millis) in [
            (1, 1),
            (1_000_000, 1),
            (1_000_001, 2),
            (1_500_000, 2),
            (999_999_999, 1000),
        ] {
            assert_eq!(
                Expiry::After(Duration::from_nanos(nanos)).to_millis("set").unwrap(),
                Some(millis)
            );
        }
    }
}
