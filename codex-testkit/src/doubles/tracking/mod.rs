//! An in-process store that reports changes as Redis does, over a faulty network.

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

/// An in-process store with [`Tracking`](codex_traits::Tracking), to test readers that cache
/// answers.
///
/// It follows Redis's client tracking. A change of a key is reported once to each stream that has
/// read the key since the last report, before any later answer on that stream. A client's own
/// writes are also reported. Their answers and reports use different connections, so they can
/// arrive in either order. A write to another database is reported too. Expiries are not reported,
/// and neither is the move of a missing key.
///
/// Each answer takes a few milliseconds, drawn from a seed, so that answers and reports interleave
/// in every way that the order within a connection allows. The methods disturb the store as
/// networks and operators do. [`outside`](Self::outside) returns a handle of another program, which
/// cuts and black holes do not affect.
///
/// It needs a tokio runtime and uses that runtime's clock. Under a paused clock
/// (`tokio::time::pause`), every wait ends immediately, and keys expire on that clock.
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
/// // Another program writes. The report arrives before the next answer on the stream.
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
    /// Creates an empty store with a single node. The seed determines the latency of each answer.
    pub fn new(seed: u64) -> Self {
        Self::build(1, seed, None)
    }

    /// Creates an empty store with several nodes, each with a part of the keys, like a Redis
    /// Cluster.
    ///
    /// # Panics
    ///
    /// If `nodes` is zero.
    pub fn cluster(nodes: u16, seed: u64) -> Self {
        assert!(nodes > 0, "a cluster has at least one node");
        Self::build(nodes, seed, None)
    }

    /// Returns a new, empty store with the same nodes and seed, and with a defect in its tracking.
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

    /// Returns a handle of another program with its own connections, which only
    /// [`freeze`](Self::freeze) disturbs.
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

    /// Returns the number of requests to the store through all handles and feeds, without proofs.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Sets the range of latencies for every request, answer and report from now on. The default is
    /// 1 ms to 4 ms.
    pub fn set_latency(&self, shortest: Duration, longest: Duration) {
        self.shared.link.set_latency(shortest, longest);
    }

    /// Holds back the answers and reports on the streams of feeds until [`heal`](Self::heal). Other
    /// calls continue.
    pub fn hold_streams(&self) {
        self.shared.link.set(|state| state.holds_streams = true);
    }

    /// Holds back all traffic in both directions until [`heal`](Self::heal). No connection is
    /// closed.
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

    /// Closes every connection. Feeds reconnect automatically.
    pub fn cut(&self) {
        self.shared.link.set(|state| state.generation += 1);
    }

    /// Removes every key, as FLUSHALL does, and reports on every stream that any key may have
    /// changed.
    pub fn flush_all(&self) {
        self.server().flush(true);
    }

    /// Reports on every stream that any key may have changed, as Redis does when its tracking table
    /// is full. No key changes.
    pub fn report_flush(&self) {
        self.server().flush(false);
    }

    /// Simulates a write to `key` in another database. The store reports the key, because tracking
    /// ignores databases, and no longer tracks it.
    pub fn write_in_another_database(&self, key: &str) {
        self.server().report(key, None);
    }

    /// Promotes a copy of the node that holds `key`, as a failover does. The old primary stays up
    /// and answers reads. It closes no connections and reports no more changes.
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
