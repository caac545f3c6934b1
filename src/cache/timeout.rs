//! Timeouts.

use std::time::Duration;

use codex_traits::Expiry;

/// The time that a value is kept. A [`Duration`] converts to [`After`](Self::After), and an
/// `Option<Duration>` to [`After`](Self::After) or [`Never`](Self::Never), as Python's
/// `timeout=None`.
///
/// Whole milliseconds are kept, rounded up. The only upper limit is what the backend can hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// The cache's [`default_timeout`](crate::CacheBuilder::default_timeout).
    #[default]
    Default,
    /// For ever; clears a time to live that was there.
    Never,
    /// This long. Zero stores nothing and removes what is there.
    After(Duration),
}

impl From<Duration> for Timeout {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

impl From<Option<Duration>> for Timeout {
    fn from(after: Option<Duration>) -> Self {
        after.map_or(Self::Never, Self::After)
    }
}

impl Timeout {
    /// Returns the expiry that this stands for; `After` zero, which no write takes, is left to the
    /// caller.
    pub(super) fn resolve(self, default: Option<Duration>) -> Expiry {
        match self {
            Self::Default => default.map_or(Expiry::Never, Expiry::After),
            Self::Never => Expiry::Never,
            Self::After(duration) => Expiry::After(duration),
        }
    }
}

/// Returns whether a value with this expiry is gone at once.
pub(super) fn is_over(expiry: Expiry) -> bool {
    expiry == Expiry::After(Duration::ZERO)
}
