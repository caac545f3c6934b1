//! Stores that tell their readers what changed.

use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;

use crate::{KvBackend, Result, Ttl};

/// A store that can tell a reader when a key that it has read changes, so that the reader may keep
/// what it read. `NearBackend` of the `codex-kv` package is built on it.
///
/// # Streams
///
/// A store consists of one or more nodes. For each node a [`Feed`](Self::Feed) has at most one
/// stream at a time, on which it reads and on which the node reports changes. Everything that the
/// reader must know happens in the order of that stream:
///
/// * The change of a key is reported on the stream on which the key was read, before the answer to
///   any later read that shows the change. One report per read suffices: a key is reported again
///   only after it was read again.
/// * [`TrackingListener`] is called in that order, and an answer is released to its caller only
///   after every report before it was delivered.
/// * If a report may have been lost, the stream ends, and
///   [`closed`](TrackingListener::closed) is called before any call on that stream fails.
///
/// There is no order between streams, and none between a stream and the calls of [`KvBackend`].
pub trait Tracking: KvBackend {
    /// The reads and reports of one reader.
    type Feed: TrackingFeed;

    /// Starts tracking for one reader.
    ///
    /// Opens a stream to every node that is known, and proves on each that changes are reported: a
    /// store that cannot track must fail here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the store, a proxy or the user's rights
    /// do not allow tracking, with a message that says what is missing. If the store cannot be
    /// reached, its error.
    fn track(&self, listener: Arc<dyn TrackingListener>) -> impl Future<Output = Result<Self::Feed>> + Send;
}

/// The reads of one reader, answered by a store that reports their changes to a
/// [`TrackingListener`].
///
/// Dropping the feed ends its streams. Its methods may be called on any runtime. If another runtime
/// drives a stream and is not being driven itself, a call must not wait for it beyond the deadline
/// of one call.
pub trait TrackingFeed: fmt::Debug + Send + Sync + 'static {
    /// Reads a value and its remaining time to live.
    ///
    /// If the read cannot be tracked now (a stream is being opened, the key's node moved, the value
    /// travels by another connection), the value is read as [`KvBackend::get`] does, and the answer
    /// names no node.
    ///
    /// # Errors
    ///
    /// As for [`KvBackend::get`].
    fn get(&self, key: &str) -> impl Future<Output = Result<TrackedRead>> + Send;

    /// Reads several values in one round trip, in the order of `keys`. A key that holds another
    /// type is missing and names no node.
    ///
    /// # Errors
    ///
    /// As for [`KvBackend::get_many`].
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = Result<Vec<TrackedRead>>> + Send;

    /// Proves on the node's stream that the stream is alive, that tracking is on, and that the node
    /// is still the one to ask.
    ///
    /// The proof holds for the moment at which it was asked for. Every change that the node made
    /// before it was asked has been reported by the time this returns `Ok`.
    ///
    /// # Errors
    ///
    /// If there is no such proof. A proof that says otherwise (a demoted node, tracking that is
    /// off, an unknown stream) also ends the stream.
    fn prove(&self, node: NodeId) -> impl Future<Output = Result<()>> + Send;
}

/// Told what changes, in the order of each node's stream.
///
/// The methods are called by whatever drives the stream. They must return quickly, must not block,
/// and must not call the feed.
pub trait TrackingListener: fmt::Debug + Send + Sync + 'static {
    /// Handles a new stream to the node that is about to be checked. Nothing that an earlier stream
    /// carried may be kept.
    fn opening(&self, node: NodeId);

    /// Handles the stream that was announced by the last [`opening`](Self::opening), once it has
    /// passed every check that [`TrackingFeed::prove`] makes.
    fn opened(&self, node: NodeId);

    /// Handles the change of a key. Keys that are not UTF-8 can be reported too.
    fn changed(&self, node: NodeId, key: &[u8]);

    /// Handles a flush: every key of the node may have changed. The stream goes on.
    fn flushed(&self, node: NodeId);

    /// Handles the end of the stream to the node. Calls on it have not been told yet.
    fn closed(&self, node: NodeId);
}

/// A node of a store, as a small number: the nodes of one feed are numbered from zero, and a number
/// is given to another node only after [`TrackingListener::closed`] was called for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u16);

impl NodeId {
    /// The node of a store that has only one.
    pub const ONLY: Self = Self(0);

    /// Returns the node with this number.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// Returns the node's number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The answer to a tracked read.
#[derive(Clone)]
pub struct TrackedRead {
    /// The value, or `None` if the key is absent.
    pub value: Option<Bytes>,
    /// The remaining time to live, at a moment after the read was sent. If it is
    /// [`Ttl::Missing`] beside a value, or not beside an absent one, the key changed in between.
    pub ttl: Ttl,
    /// The node on whose stream the key was read. `None` if nothing reports a change of this key,
    /// so that the answer must not be kept.
    pub node: Option<NodeId>,
}

impl TrackedRead {
    /// Returns the answer to a read on the stream of `node`.
    pub fn on(node: NodeId, value: Option<Bytes>, ttl: Ttl) -> Self {
        Self {
            value,
            ttl,
            node: Some(node),
        }
    }

    /// Returns the answer to a read of which no change is reported.
    pub fn untracked(value: Option<Bytes>) -> Self {
        let ttl = if value.is_some() { Ttl::Persistent } else { Ttl::Missing };
        Self { value, ttl, node: None }
    }
}

// A value can be anything.
impl fmt::Debug for TrackedRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackedRead")
            .field("is_present", &self.value.is_some())
            .field("ttl", &self.ttl)
            .field("node", &self.node)
            .finish()
    }
}

impl<B: Tracking + ?Sized> Tracking for Arc<B> {
    type Feed = B::Feed;

    async fn track(&self, listener: Arc<dyn TrackingListener>) -> Result<Self::Feed> {
        (**self).track(listener).await
    }
}
