//! What a write is told and what it answers.

use std::{fmt, time::Duration};

use bytes::Bytes;

use crate::{Error, ErrorKind, Result};

/// Under which condition a [`set`](crate::KvBackend::set) writes.
///
/// The comparison and the write are one atomic step.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Condition {
    /// Whatever is there.
    #[default]
    Always,
    /// Only where the key is missing or has expired (Redis: `NX`).
    IfAbsent,
    /// Only where the key is present (Redis: `XX`).
    IfPresent,
    /// Only where the key is present and holds exactly these bytes: compare-and-set.
    IfEquals(Bytes),
}

// By hand, because a compared value may be anything, a session's payload included.
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

/// When a key ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Never; clears a time to live that was there.
    #[default]
    Never,
    /// This long after the call; replaces a time to live that was there.
    ///
    /// Backends keep whole milliseconds and round up, so that nothing ends early.
    After(Duration),
    /// When it would have ended without the call: an existing time to live stays, and a new key gets none (Redis: `KEEPTTL`).
    Keep,
}

impl Expiry {
    /// The milliseconds of [`Expiry::After`], rounded up, and `None` for the others.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] where the duration is zero or does not fit a signed 64-bit count of milliseconds,
    /// which is what Redis keeps. A backend whose deadlines are counted from 1970 refuses a little earlier still.
    #[inline]
    pub fn to_millis(self, operation: &'static str) -> Result<Option<i64>> {
        let Self::After(duration) = self else {
            return Ok(None);
        };
        match duration_to_millis(duration) {
            Some(0) => Err(Error::new(
                ErrorKind::InvalidArgument,
                operation,
                "the expiry must be longer than zero",
            )),
            Some(millis) => Ok(Some(millis)),
            None => Err(Self::too_long(operation)),
        }
    }

    /// The error for an expiry that the store cannot hold.
    pub fn too_long(operation: &'static str) -> Error {
        Error::new(
            ErrorKind::InvalidArgument,
            operation,
            "the expiry is too long: its end in milliseconds since 1970 must fit a signed 64-bit integer",
        )
    }
}

impl From<Duration> for Expiry {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

/// Whole milliseconds, rounded up, where they fit `i64`.
#[inline]
pub(crate) fn duration_to_millis(duration: Duration) -> Option<i64> {
    // Not by way of `as_nanos`: dividing 128 bits takes as long as all the rest of a set in memory.
    let rest = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    let millis = duration.as_secs().checked_mul(1000)?.checked_add(rest)?;
    i64::try_from(millis).ok()
}

/// How a [`set`](crate::KvBackend::set) writes. The default writes always and for ever.
///
/// ```
/// # use std::time::Duration;
/// use codex_traits::{Condition, Expiry, SetOptions};
///
/// // SET NX EX, in two spellings.
/// let options = SetOptions::if_absent().with_expiry(Duration::from_secs(60));
/// assert_eq!(options, SetOptions::expires_after(Duration::from_secs(60)).with_condition(Condition::IfAbsent));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct SetOptions {
    /// When to write at all.
    pub condition: Condition,
    /// When the written value ends.
    pub expiry: Expiry,
}

impl SetOptions {
    /// Write always, for ever.
    pub fn new() -> Self {
        Self::default()
    }

    /// Write only where `condition` holds.
    pub fn with_condition(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// Write with this expiry; a [`Duration`] is an [`Expiry::After`].
    pub fn with_expiry(mut self, expiry: impl Into<Expiry>) -> Self {
        self.expiry = expiry.into();
        self
    }

    /// Write only where the key is missing: [`Condition::IfAbsent`].
    pub fn if_absent() -> Self {
        Self::new().with_condition(Condition::IfAbsent)
    }

    /// Write only where the key is present: [`Condition::IfPresent`].
    pub fn if_present() -> Self {
        Self::new().with_condition(Condition::IfPresent)
    }

    /// Write always, to end after `duration`: [`Expiry::After`].
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
    /// Whether the value was stored.
    pub fn is_written(self) -> bool {
        self == Self::Written
    }
}

/// What is known of a key's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key, or it has expired.
    Missing,
    /// The key is there for ever.
    Persistent,
    /// The key is there for this long: more than zero, and never more than was set, but for rounding up to a millisecond.
    Remaining(Duration),
}

/// What [`incr`](crate::KvBackend::incr) does where there is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// Start at zero, with this expiry. A counter that is there keeps the time to live it has.
    Create(Expiry),
    /// Answer `Ok(None)` and create nothing.
    Refuse,
}
