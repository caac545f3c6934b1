//! Breaking the store under test, and healing it.

use std::fmt;

use futures_util::future::BoxFuture;

/// A way in which a store can be out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutageKind {
    /// Connections are refused, and those that stand are cut.
    Refused,
    /// Connections are taken, and nothing is ever answered.
    Stalled,
    /// The store demands credentials that the backend has not (Redis: NOAUTH).
    NoAuth,
    /// The store takes no writes (Redis: READONLY).
    ReadOnly,
    /// The store has no memory left for writes (Redis: OOM).
    OutOfMemory,
    /// One request is done, and its connection is cut before the answer; then the store is in
    /// service again by itself.
    ReplyLost,
    /// One node of several is gone.
    NodeDown,
    /// Every connection that is used goes dead: nothing is read from it and nothing is answered on
    /// it, and that stays so when the outage is over. Connections that are made afterwards work.
    HalfOpen,
    /// Nothing is answered, and frames that answer nothing (Redis: pushes) come without end. Each
    /// outage can use another kind of frame.
    UnrelatedFrames,
    /// A request is answered by a reply without end. Each outage can use another kind of reply.
    EndlessReply,
}

impl OutageKind {
    /// Returns whether the store as a whole is out of service until the outage ends.
    pub(crate) fn is_of_the_store(self) -> bool {
        matches!(
            self,
            Self::Refused | Self::Stalled | Self::NoAuth | Self::ReadOnly | Self::OutOfMemory
        )
    }
}

impl fmt::Display for OutageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Stalled => "stalled",
            Self::NoAuth => "no credentials",
            Self::ReadOnly => "read-only",
            Self::OutOfMemory => "out of memory",
            Self::ReplyLost => "one answer lost",
            Self::NodeDown => "one node down",
            Self::HalfOpen => "half-open connections",
            Self::UnrelatedFrames => "frames that answer nothing",
            Self::EndlessReply => "an endless reply",
        })
    }
}

/// The part of a harness that lets the clauses break its store.
pub trait Breaker: Send + Sync {
    /// Returns the outages that it can bring about.
    fn kinds(&self) -> Vec<OutageKind>;

    /// Brings the outage about; it is in force when the future is done. Only kinds of
    /// [`kinds`](Self::kinds) are asked for, and one at a time.
    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()>;

    /// Puts the store back in service, with the data that it had.
    fn end(&self) -> BoxFuture<'_, ()>;

    /// Returns how many bytes the backends have been sent by [`OutageKind::EndlessReply`] since the
    /// store was made, or `None`, the default, if nobody counts them.
    fn flooded_bytes(&self) -> Option<u64> {
        None
    }
}

/// The switch by which the clauses take the store of a harness out of service and put it back.
///
/// It acts on every backend that the harness makes after it has handed out the switch, and may act
/// on others.
pub struct Outage(Box<dyn Breaker>);

impl Outage {
    /// Creates a switch that works through `breaker`.
    pub fn new(breaker: impl Breaker + 'static) -> Self {
        Self(Box::new(breaker))
    }

    /// Returns the outages that can be brought about.
    pub fn kinds(&self) -> Vec<OutageKind> {
        self.0.kinds()
    }

    /// Takes the store out of service.
    pub async fn begin(&self, kind: OutageKind) {
        self.0.begin(kind).await;
    }

    /// Puts the store back in service.
    pub async fn end(&self) {
        self.0.end().await;
    }

    /// Returns the same as [`Breaker::flooded_bytes`].
    pub fn flooded_bytes(&self) -> Option<u64> {
        self.0.flooded_bytes()
    }
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outage").field(&self.kinds()).finish()
    }
}
