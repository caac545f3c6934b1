//! An answer that breaks a clause.

use std::{error, fmt};

/// The rule that an answer breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The clients without a near cache got contradictory answers. The store itself is not
    /// linearizable, so nothing can be said about a near cache on it.
    Store,
    /// The value was never written to this key, or was written only after the read.
    NeverWritten,
    /// near-02: the answer is older than an earlier answered write of the same near cache.
    ReadYourWrites,
    /// near-03: the answer is older than an earlier answer of the same near cache.
    MonotonicReads,
    /// near-04: the answer is out of date for longer than a push takes.
    PushTime,
    /// near-05: the answer is out of date for longer than `max_staleness`.
    BoundedStaleness,
    /// near-07: the value is past its time to live.
    TimeToLive,
}

impl Rule {
    /// Returns the corresponding clause of the near-cache contract, or `None` if there is none.
    pub fn clause(self) -> Option<&'static str> {
        match self {
            Self::Store | Self::NeverWritten => None,
            Self::ReadYourWrites => Some("near-02"),
            Self::MonotonicReads => Some("near-03"),
            Self::PushTime => Some("near-04"),
            Self::BoundedStaleness => Some("near-05"),
            Self::TimeToLive => Some("near-07"),
        }
    }
}

/// An answer that no order of the writes explains, with its surrounding history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub(crate) rule: Rule,
    pub(crate) text: String,
}

impl Violation {
    /// Returns the rule that the answer breaks.
    pub fn rule(&self) -> Rule {
        self.rule
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.clause().unwrap_or("store"), self.text)
    }
}

impl error::Error for Violation {}
