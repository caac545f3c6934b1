//! The harness for clients of a Redis Cluster.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use codex_traits::{KvBackend, Result};
use futures_util::future::BoxFuture;

use super::{
    ClusterLease, Leased, REAL_TIME, RedisCluster,
    planting::{is_planted, memory_of, plant},
};
use crate::{Breaker, Foreign, Harness, Outage, OutageKind, Time, require::Unavailable};

/// A harness for the backend that `connect` makes from the URL of a cluster.
///
/// A cluster has no numbered databases, so each store is a cluster of its own. A few clusters are
/// emptied and reused. An outage kills a node of the cluster.
///
/// ```no_run
/// use codex_testkit::redis::ClusterHarness;
/// # use codex_traits::{AnyBackend, Error, ErrorKind, Result};
/// # async fn connect(_: &str) -> Result<AnyBackend> {
/// #     Err(Error::new(ErrorKind::Config, "connect", "a sketch"))
/// # }
///
/// # async fn sketch() {
/// let harness = ClusterHarness::new(|url| async move { connect(&url).await }).unwrap();
/// let report = codex_testkit::run(&harness).await;
/// # }
/// ```
pub struct ClusterHarness<C> {
    connect: C,
    deadline: Duration,
    /// The cluster of the last store, which an outage affects.
    last: Last,
}

type Last = Arc<Mutex<Option<Arc<ClusterLease>>>>;

impl<C, F, B> ClusterHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    /// Creates a harness that starts clusters on this machine.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there is no `redis-server` that supports clusters.
    pub fn new(connect: C) -> std::result::Result<Self, Unavailable> {
        RedisCluster::lease()?;
        Ok(Self {
            connect,
            deadline: Duration::from_secs(5),
            last: Arc::default(),
        })
    }

    /// Sets the [`deadline`](Harness::deadline) of the backends that `connect` makes. The default
    /// is 5 s.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl<C> fmt::Debug for ClusterHarness<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterHarness")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl<C, F, B> Harness for ClusterHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    type Backend = Leased<B, Arc<ClusterLease>>;

    async fn fresh(&self) -> Self::Backend {
        let cluster = RedisCluster::lease().unwrap_or_else(|reason| panic!("no store for the clause: {reason}"));
        let cluster = Arc::new(cluster);
        *lock(&self.last) = Some(cluster.clone());
        let backend = (self.connect)(cluster.url()).await;
        let backend = backend.unwrap_or_else(|error| panic!("no connection for the clause: {error}"));
        Leased::new(backend, cluster)
    }

    fn time(&self) -> Time {
        REAL_TIME
    }

    /// Returns five minutes, because the servers of a cluster share the processors of this machine.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }

    async fn outage(&self) -> Option<Outage> {
        Some(Outage::new(OneNode(self.last.clone())))
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let cluster = backend.place();
        plant(foreign, |key, command| cluster.master_of(key).command(command))
    }

    async fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> bool {
        let cluster = backend.place();
        is_planted(foreign, |key, command| cluster.master_of(key).command(command))
    }

    /// Returns the memory that the masters use for their connections, all of which belong to this
    /// store.
    async fn memory_in_use(&self, backend: &Self::Backend) -> Option<u64> {
        let masters = backend.place().masters();
        let of_each = masters.iter().map(|master| {
            let clients = master.command(&["CLIENT", "LIST"]).ok()?;
            memory_of(&clients, |_| true)
        });
        of_each.sum()
    }
}

struct OneNode(Last);

impl Breaker for OneNode {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![OutageKind::NodeDown]
    }

    fn begin(&self, _: OutageKind) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if let Some(cluster) = &*lock(&self.0) {
                cluster.kill_one();
            }
        })
    }

    /// Does nothing: the node's data is lost, and the next store is on another cluster.
    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn lock(last: &Last) -> MutexGuard<'_, Option<Arc<ClusterLease>>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
