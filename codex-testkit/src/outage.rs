//! Outages of the store under test.

use std::fmt;

use futures_util::future::BoxFuture;

/// A way in which a store can be out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutageKind {
    /// Connections are refused, and existing connections are cut.
    Refused,
    /// Connections are accepted, and no request is answered.
    Stalled,
    /// The store demands credentials that the backend does not have (Redis: NOAUTH).
    NoAuth,
    /// The store refuses writes (Redis: READONLY).
    ReadOnly,
    /// The store has no memory left for writes (Redis: OOM).
    OutOfMemory,
    /// A request is executed, and its connection is cut before the answer. The store then returns
    /// to service by itself.
    ReplyLost,
    /// One node of several is down.
    NodeDown,
    /// Every connection that is used goes dead: the store neither reads from it nor answers on it.
    /// It stays dead after the outage. Connections made after the outage work.
    HalfOpen,
    /// Requests stay unanswered, and unrelated frames (Redis: pushes) arrive without end. Each
    /// outage can use another kind of frame.
    UnrelatedFrames,
    /// A request is answered with an endless reply. Each outage can use another kind of reply.
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
    /// Returns the supported outages.
    fn kinds(&self) -> Vec<OutageKind>;

    /// Starts the outage. It is in force when the future completes. Only kinds from
    /// [`kinds`](Self::kinds) are requested, and only one at a time.
    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()>;

    /// Puts the store back in service with its data.
    fn end(&self) -> BoxFuture<'_, ()>;

    /// Returns the number of bytes that the outages have sent to the backends in place of answers,
    /// since the store was made. A clause compares two readings around an
    /// [`OutageKind::EndlessReply`]. The default is `None`: the breaker does not count them.
    fn flooded_bytes(&self) -> Option<u64> {
        None
    }
}

/// A switch that takes the store of a harness out of service and puts it back.
///
/// It affects every backend that the harness makes after the switch, and may affect earlier
/// backends.
pub struct Outage(Box<dyn Breaker>);

impl Outage {
    /// Creates a switch that works through `breaker`.
    pub fn new(breaker: impl Breaker + 'static) -> Self {
        Self(Box::new(breaker))
    }

    /// Returns the supported outages.
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
