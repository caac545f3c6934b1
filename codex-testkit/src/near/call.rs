//! A call in a history.

use std::time::Duration;

use bytes::Bytes;

/// The caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// A near cache. All of its clones share its number.
    Near(usize),
    /// A client without a near cache, whose answers are linearizable.
    Bare(usize),
}

/// A moment in a history.
///
/// `tick` orders the moments. Several moments can share a time, especially under a paused clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The position among all moments of the history.
    pub tick: u64,
    /// The time since the history began.
    pub at: Duration,
}

/// The content of a key, as a read reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The key was absent.
    Missing,
    /// The value that the write of this version stored.
    Version(u64),
    /// A value that no write of the history carries, or a value of another key.
    Foreign,
}

impl Shown {
    /// Parses a value that [`value_of`] made for `key`.
    pub(crate) fn of(key: &str, value: Option<&Bytes>) -> Self {
        let Some(value) = value else {
            return Self::Missing;
        };
        let text = std::str::from_utf8(value).unwrap_or_default();
        match text.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) {
            Some(version) => version.parse().map_or(Self::Foreign, Self::Version),
            None => Self::Foreign,
        }
    }
}

/// Returns the value of `version` of `key`. The value names the key, so that a value of another key
/// is recognised.
pub(crate) fn value_of(key: &str, version: u64) -> Bytes {
    Bytes::from(format!("{key}={version}"))
}

/// The verb of a call, with its arguments and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// An unconditional write. Every version is written only once.
    Write {
        /// The number in the value.
        version: u64,
        /// The time to live.
        ttl: Option<Duration>,
    },
    /// A removal.
    Delete,
    /// An answered read.
    Read(Shown),
    /// A fail-over. It begins at the last moment at which the old primary accepted writes, and ends
    /// at the first moment at which every client uses the new primary. It may lose answered writes.
    FailOver,
}

/// A call on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The caller.
    pub client: Client,
    /// A moment before the request was sent.
    pub begun: Moment,
    /// A moment after the answer. `None` for a write that was dropped or failed: it takes effect at
    /// any time after it began, or never.
    pub ended: Option<Moment>,
    /// The verb.
    pub what: What,
}
