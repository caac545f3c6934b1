//! Stores that report changes to their readers.

use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;

use crate::{KvBackend, Result, Ttl};

/// A store that tells a reader when a key that it has read changes, so that the reader may keep the
/// answer. `NearBackend` of the `codex-kv` package is built on it.
///
/// # Streams
///
/// A store consists of one or more nodes. A [`Feed`](Self::Feed) has at most one stream per node at
/// a time. It reads on that stream, and the node reports changes on the same stream. The reader
/// relies only on the order of that stream:
///
/// * The node reports the change of a key on the stream on which the key was read, before the
///   answer to any later read that shows the change. One report per read suffices: a key is
///   reported again only after it was read again.
/// * The feed calls [`TrackingListener`] in the order of the stream, and releases an answer to its
///   caller only after it has delivered every earlier report.
/// * If a report may have been lost, the stream ends. The feed calls
///   [`closed`](TrackingListener::closed) before any call on that stream fails.
///
/// Streams are not ordered with each other, nor with the calls of [`KvBackend`]. A store whose keys
/// can move between its nodes declares [`Capability::Cluster`](crate::Capability::Cluster): the
/// reader then relies on no order between the answers of its nodes.
pub trait Tracking: KvBackend {
    /// The reads and reports of one reader.
    type Feed: TrackingFeed;

    /// Starts tracking for one reader.
    ///
    /// Opens a stream to every known node and proves on each stream that the node reports changes.
    /// A store that cannot track must fail here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the store, a proxy or the user's
    /// permissions do not allow tracking; the message says what is missing. The error of the
    /// connection if the store cannot be reached.
    fn track(&self, listener: Arc<dyn TrackingListener>) -> impl Future<Output = Result<Self::Feed>> + Send;
}

/// The reads of one reader, answered by a store that reports their changes to a
/// [`TrackingListener`].
///
/// Dropping the feed ends its streams. Its methods may be called on any runtime. If a stream
/// belongs to another runtime that is not being driven, a call must not wait for it beyond the
/// deadline of one call.
pub trait TrackingFeed: fmt::Debug + Send + Sync + 'static {
    /// Reads a value and its remaining time to live.
    ///
    /// If the read cannot be tracked now (a stream is being opened, the key's node moved, the value
    /// travels on another connection), the feed reads the value as [`KvBackend::get`] does, and the
    /// answer names no node.
    ///
    /// # Errors
    ///
    /// The same errors as [`KvBackend::get`].
    fn get(&self, key: &str) -> impl Future<Output = Result<TrackedRead>> + Send;

    /// Reads several values in one round trip, in the order of `keys`. A key that holds another
    /// type is returned as missing, without a node.
    ///
    /// # Errors
    ///
    /// The same errors as [`KvBackend::get_many`].
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = Result<Vec<TrackedRead>>> + Send;

    /// Proves on the node's stream that the stream is alive, that tracking is on, and that the node
    /// is still the node to read from.
    ///
    /// The proof holds for the moment of the request. Every change that the node made before that
    /// moment has been reported by the time this returns `Ok`.
    ///
    /// # Errors
    ///
    /// If the proof fails. A reply that disproves it (a demoted node, tracking that is off, an
    /// unknown stream) also ends the stream.
    fn prove(&self, node: NodeId) -> impl Future<Output = Result<()>> + Send;

    /// Proves what [`prove`](Self::prove) proves, and that the store still lets this reader read
    /// `key`. The answer to a read of this key on the node's stream is kept.
    ///
    /// A store that can withdraw the right to read a key, without a report and without the end of
    /// the stream, must override this method. The provided method only calls `prove`.
    ///
    /// # Errors
    ///
    /// As for `prove`. A reply that withdraws the right also ends the stream.
    fn prove_readable(&self, node: NodeId, key: &str) -> impl Future<Output = Result<()>> + Send {
        let _ = key;
        self.prove(node)
    }
}

/// The receiver of reports, called in the order of each node's stream.
///
/// The task that drives the stream calls these methods. They must return quickly, must not block,
/// and must not call the feed.
pub trait TrackingListener: fmt::Debug + Send + Sync + 'static {
    /// Handles a new stream to the node that is about to be checked. The listener must discard
    /// everything that an earlier stream carried.
    fn opening(&self, node: NodeId);

    /// Handles the stream that the last [`opening`](Self::opening) announced, once it has passed
    /// every check of [`TrackingFeed::prove`].
    fn opened(&self, node: NodeId);

    /// Handles the change of a key. Keys that are not UTF-8 can be reported too.
    fn changed(&self, node: NodeId, key: &[u8]);

    /// Handles a flush: every key of the node may have changed. The stream stays open.
    fn flushed(&self, node: NodeId);

    /// Handles the end of the stream to the node. Calls that wait on the stream have not failed
    /// yet.
    fn closed(&self, node: NodeId);
}

/// A node of a store, as a small number. The nodes of a feed are numbered from zero. A number is
/// reused for another node only after [`TrackingListener::closed`] was called for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u16);

impl NodeId {
    /// The node of a store that has a single node.
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
    /// The remaining time to live, at a moment after the read was sent. If a value comes with
    /// [`Ttl::Missing`], or an absent value with anything else, the key changed in between.
    pub ttl: Ttl,
    /// The node on whose stream the key was read. `None` if changes of this key are not reported,
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

    /// Returns the answer to a read whose changes are not reported.
    pub fn untracked(value: Option<Bytes>) -> Self {
        let ttl = if value.is_some() { Ttl::Persistent } else { Ttl::Missing };
        Self { value, ttl, node: None }
    }
}

// Hides the value, which may be confidential.
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
