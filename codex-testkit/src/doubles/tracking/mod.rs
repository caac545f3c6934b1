//! A store in this process that reports changes as Redis does, over a faulty network.

mod backend;
mod defect;
mod disturb;
mod feed;
mod link;
mod server;
mod stream;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

pub use defect::TrackingDefect;
pub use feed::TrackingStoreFeed;
use link::Link;
use server::Server;

/// A store with [`Tracking`](codex_traits::Tracking), to test a reader that keeps answers.
///
/// It follows client tracking of Redis. A key is reported once for each read, on the stream on
/// which it was read and before any later answer there. A client's own write is answered before it
/// is reported, and the answer and the report use different connections. A write to another
/// database is reported too. An expiry is not reported, nor is a slot that moves with a missing
/// key.
///
/// Each answer takes a few milliseconds, drawn from a seed, so that answers and reports cross in
/// every way that the order of a connection allows. The methods disturb the store as networks and
/// operators do. [`outside`](Self::outside) is another program, which cuts and black holes do not
/// affect.
///
/// It needs a tokio runtime and uses the runtime's time. Under a paused clock
/// (`tokio::time::pause`) every wait ends immediately, and keys expire on that clock.
///
/// ```
/// use codex_testkit::doubles::TrackingStore;
/// use codex_traits::{KvBackend, NodeId, SetOptions, Tracking, TrackingFeed, TrackingListener};
///
/// #[derive(Debug, Default)]
/// struct Changes(std::sync::atomic::AtomicUsize);
///
/// impl TrackingListener for Changes {
///     fn opening(&self, _: NodeId) {}
///     fn opened(&self, _: NodeId) {}
///     fn changed(&self, _: NodeId, key: &[u8]) {
///         assert_eq!(key, b"k");
///         self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
///     }
///     fn flushed(&self, _: NodeId) {}
///     fn closed(&self, _: NodeId) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> codex_traits::Result<()> {
/// let store = TrackingStore::new(1);
/// let changes = std::sync::Arc::new(Changes::default());
/// let feed = store.track(changes.clone()).await?;
/// let read = feed.get("k").await?;
/// assert!(read.value.is_none());
///
/// // Another program writes, and the next answer on the stream comes after the report.
/// let _ = store.outside().set("k", "v".into(), SetOptions::new()).await?;
/// feed.prove(read.node.unwrap()).await?;
/// assert_eq!(changes.0.load(std::sync::atomic::Ordering::SeqCst), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TrackingStore {
    shared: Arc<Shared>,
    /// The number of the program that holds this handle.
    program: u64,
    is_outside: bool,
}

struct Shared {
    server: Mutex<Server>,
    link: Link,
    programs: AtomicU64,
    requests: AtomicU64,
    deadline: Duration,
    defect: Option<TrackingDefect>,
}

impl TrackingStore {
    /// Creates an empty store of a single node. The seed determines the time of each answer.
    pub fn new(seed: u64) -> Self {
        Self::build(1, seed, None)
    }

    /// Creates an empty store of several nodes, each with a part of the keys, like a Redis Cluster.
    ///
    /// # Panics
    ///
    /// If `nodes` is zero.
    pub fn cluster(nodes: u16, seed: u64) -> Self {
        assert!(nodes > 0, "a cluster has at least one node");
        Self::build(nodes, seed, None)
    }

    /// Returns this store, emptied, with a defect in its tracking.
    #[must_use]
    pub fn with_defect(self, defect: TrackingDefect) -> Self {
        let server = self.server();
        let (nodes, seed) = (server.shards(), server.seed());
        drop(server);
        Self::build(nodes, seed, Some(defect))
    }

    fn build(nodes: u16, seed: u64, defect: Option<TrackingDefect>) -> Self {
        let shared = Shared {
            server: Mutex::new(Server::new(nodes, seed)),
            link: Link::new(seed),
            programs: AtomicU64::new(1),
            requests: AtomicU64::new(0),
            deadline: Duration::from_millis(500),
            defect,
        };
        Self {
            shared: Arc::new(shared),
            program: 0,
            is_outside: false,
        }
    }

    /// Returns a handle of another program with connections of its own. Only
    /// [`freeze`](Self::freeze) affects these connections.
    #[must_use]
    pub fn outside(&self) -> Self {
        let program = self.shared.programs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self {
            shared: self.shared.clone(),
            program,
            is_outside: true,
        }
    }

    /// Returns the number of nodes that accept writes.
    pub fn nodes(&self) -> u16 {
        self.server().shards()
    }

    /// Returns a handle of another program behind the same network.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            is_outside: self.is_outside,
            ..self.outside()
        }
    }

    /// Returns the number of requests to the store, through any handle or feed. Proofs do not
    /// count.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sets the range of times that every answer and report takes from now on. The default is 1 ms
    /// to 4 ms.
    pub fn set_latency(&self, shortest: Duration, longest: Duration) {
        self.shared.link.set_latency(shortest, longest);
    }

    /// Holds back the answers and reports on the streams of feeds until [`heal`](Self::heal). Other
    /// calls continue.
    pub fn hold_streams(&self) {
        self.shared.link.set(|state| state.holds_streams = true);
    }

    /// Swallows all traffic in both directions until [`heal`](Self::heal). No connection is closed.
    pub fn black_hole(&self) {
        self.shared.link.set(|state| {
            state.holds_streams = true;
            state.holds_calls = true;
        });
    }

    /// Stops the store from executing requests, until [`heal`](Self::heal).
    pub fn freeze(&self) {
        self.shared.link.set(|state| state.is_frozen = true);
    }

    /// Ends [`hold_streams`](Self::hold_streams), [`black_hole`](Self::black_hole) and
    /// [`freeze`](Self::freeze).
    pub fn heal(&self) {
        self.shared.link.set(|state| {
            state.holds_streams = false;
            state.holds_calls = false;
            state.is_frozen = false;
        });
    }

    /// Closes every connection. Feeds reconnect on their own.
    pub fn cut(&self) {
        self.shared.link.set(|state| state.generation += 1);
    }

    /// Removes every key, as FLUSHALL does, and reports on each stream that any key may have
    /// changed.
    pub fn flush_all(&self) {
        self.server().flush(true);
    }

    /// Reports on each stream that any key may have changed, as a full table of tracked keys does.
    /// No key changes.
    pub fn report_flush(&self) {
        self.server().flush(false);
    }

    /// Writes `key` in another database. The store reports only the name, and no longer tracks it.
    pub fn write_in_another_database(&self, key: &str) {
        self.server().report(key, None);
    }

    /// Makes a copy of the node that holds `key` its primary, as a fail-over does. The old primary
    /// stays up and answers reads. It closes no connection and reports no more changes.
    pub fn fail_over(&self, key: &str) {
        self.server().fail_over(key);
    }

    /// Moves `key` to the next node. An existing key is reported as it leaves. A missing key is not
    /// reported.
    pub fn move_key(&self, key: &str) {
        self.server().move_key(key);
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.shared.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TrackingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingStore")
            .field("program", &self.program)
            .field("defect", &self.shared.defect)
            .finish_non_exhaustive()
    }
}
