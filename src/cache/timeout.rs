//! Timeouts.

use std::time::Duration;

use codex_traits::Expiry;

/// The lifetime of a value. A [`Duration`] converts to [`After`](Self::After). An
/// `Option<Duration>` converts to [`After`](Self::After) or [`Never`](Self::Never), like Python's
/// `timeout=None`.
///
/// Timeouts are rounded up to whole milliseconds. The backend sets the only upper limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Timeout {
    /// The cache's [`default_timeout`](crate::CacheBuilder::default_timeout).
    #[default]
    Default,
    /// Forever. Clears an existing time to live.
    Never,
    /// This duration. With zero, nothing is stored, and the verbs that replace or renew a value
    /// remove it.
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
    /// Returns the expiry of this timeout. The caller must handle `After` zero, which no write
    /// accepts.
    pub(super) fn resolve(self, default: Option<Duration>) -> Expiry {
        match self {
            Self::Default => default.map_or(Expiry::Never, Expiry::After),
            Self::Never => Expiry::Never,
            Self::After(duration) => Expiry::After(duration),
        }
    }
}

/// Returns whether a value with this expiry expires immediately.
pub(super) fn is_over(expiry: Expiry) -> bool {
    expiry == Expiry::After(Duration::ZERO)
}
