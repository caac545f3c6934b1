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
        })
    }
}

/// What a harness implements to let the clauses break its store.
pub trait Breaker: Send + Sync {
    /// The outages that it can bring about.
    fn kinds(&self) -> Vec<OutageKind>;

    /// Brings the outage about; it is in force when the future is done. Only kinds of
    /// [`kinds`](Self::kinds) are asked for, and one at a time.
    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()>;

    /// Puts the store back in service, with the data that it had.
    fn end(&self) -> BoxFuture<'_, ()>;
}

/// The switch by which the clauses take the store of a harness out of service and put it back.
///
/// It acts on every backend that the harness makes after it has handed out the switch, and may act
/// on others.
pub struct Outage(Box<dyn Breaker>);

impl Outage {
    /// A switch that works through `breaker`.
    pub fn new(breaker: impl Breaker + 'static) -> Self {
        Self(Box::new(breaker))
    }

    /// The outages that can be brought about.
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
}

impl fmt::Debug for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outage").field(&self.kinds()).finish()
    }
}
