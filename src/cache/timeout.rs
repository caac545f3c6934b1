//! How long a value is kept.

use std::time::Duration;

use codex_traits::Expiry;

/// How long a value is kept. A [`Duration`] is an [`After`](Self::After).
///
/// Whole milliseconds are kept, rounded up. There is no upper limit short of what the backend can hold: 30 days are nothing special.
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

impl Timeout {
    /// The expiry that this stands for; `After` zero, which no write takes, is left to the caller.
    pub(super) fn resolve(self, default: Option<Duration>) -> Expiry {
        match self {
            Self::Default => default.map_or(Expiry::Never, Expiry::After),
            Self::Never => Expiry::Never,
            Self::After(duration) => Expiry::After(duration),
        }
    }
}

/// Whether a value with this expiry is gone at once.
pub(super) fn is_over(expiry: Expiry) -> bool {
    expiry == Expiry::After(Duration::ZERO)
}
