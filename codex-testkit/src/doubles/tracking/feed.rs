//! The feed of a single reader.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use codex_traits::{
    Error, ErrorKind, KvBackend, NodeId, Result, TrackedRead, Tracking, TrackingFeed, TrackingListener,
};
use tokio::{
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use super::{
    TrackingDefect, TrackingStore,
    server::Routes,
    stream::{Request, Stream, Values},
};

/// The feed of a [`TrackingStore`].
pub struct TrackingStoreFeed {
    store: TrackingStore,
    streams: Vec<Handle>,
    routes: Arc<Mutex<Routes>>,
    reads: AtomicU64,
}

struct Handle {
    requests: UnboundedSender<Request>,
    is_open: Arc<AtomicBool>,
}

impl Tracking for TrackingStore {
    type Feed = TrackingStoreFeed;

    async fn track(&self, listener: Arc<dyn TrackingListener>) -> Result<TrackingStoreFeed> {
        let (shards, routes) = {
            let server = self.server();
            (server.shards(), server.routes())
        };
        let routes = Arc::new(Mutex::new(routes));
        let mut streams = Vec::new();
        for shard in 0..shards {
            let (requests, receiver) = unbounded_channel();
            let is_open = Arc::new(AtomicBool::new(false));
            let stream = Stream {
                shared: self.shared.clone(),
                program: self.program,
                shard: usize::from(shard),
                place: NodeId::new(shard),
                listener: listener.clone(),
                is_open: is_open.clone(),
                routes: routes.clone(),
                is_closed: AtomicBool::new(false),
            };
            tokio::spawn(stream.run(receiver));
            streams.push(Handle { requests, is_open });
        }
        let feed = TrackingStoreFeed {
            store: self.clone(),
            streams,
            routes,
            reads: AtomicU64::new(0),
        };
        // Every stream must be proven before the reader caches anything.
        for shard in 0..shards {
            feed.prove(NodeId::new(shard))
                .await
                .map_err(|error| error.with_operation("track"))?;
        }
        Ok(feed)
    }
}

impl TrackingStoreFeed {
    fn shard_of(&self, key: &str) -> usize {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let home = || self.store.server().home_of(key);
        routes.moved.get(key).copied().unwrap_or_else(home)
    }

    /// Reads on the stream of a shard. Returns `None` if the read cannot be tracked now.
    async fn read(&self, shard: usize, keys: Vec<String>, operation: &'static str) -> Result<Option<Values>> {
        let Some(stream) = self
            .streams
            .get(shard)
            .filter(|stream| stream.is_open.load(Ordering::SeqCst))
        else {
            return Ok(None);
        };
        self.store.shared.requests.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        if stream.requests.send(Request::Read { keys, tell }).is_err() {
            return Err(closed(operation));
        }
        match timeout(self.store.shared.deadline, told).await {
            Ok(Ok(values)) => Ok(values),
            Ok(Err(_)) => Err(closed(operation)),
            Err(_) => Err(late(operation)),
        }
    }

    fn is_untracked(&self) -> bool {
        self.store.shared.defect == Some(TrackingDefect::ReadsOnUntrackedConnection)
            && self.reads.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }
}

fn place(shard: usize) -> NodeId {
    NodeId::new(u16::try_from(shard).unwrap_or(u16::MAX))
}

pub(super) fn closed(operation: &'static str) -> Error {
    Error::new(ErrorKind::Connection, operation, "the connection was closed")
}

pub(super) fn late(operation: &'static str) -> Error {
    Error::new(ErrorKind::Timeout, operation, "no answer arrived within the deadline")
}

impl TrackingFeed for TrackingStoreFeed {
    async fn get(&self, key: &str) -> Result<TrackedRead> {
        let shard = self.shard_of(key);
        if self.is_untracked() {
            let (value, ttl) = self.store.read_elsewhere(key).await?;
            return Ok(TrackedRead::on(place(shard), value, ttl));
        }
        match self.read(shard, vec![key.to_owned()], "get").await? {
            Some(mut values) => {
                let (value, ttl) = values.pop().unwrap_or((None, codex_traits::Ttl::Missing));
                Ok(TrackedRead::on(place(shard), value, ttl))
            }
            None => Ok(TrackedRead::untracked(self.store.get(key).await?)),
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<TrackedRead>> {
        let mut answers: Vec<TrackedRead> = vec![TrackedRead::untracked(None::<Bytes>); keys.len()];
        for shard in 0..self.streams.len() {
            let at: Vec<usize> = (0..keys.len()).filter(|&at| self.shard_of(keys[at]) == shard).collect();
            if at.is_empty() {
                continue;
            }
            let names = at.iter().map(|&at| keys[at].to_owned()).collect();
            if let Some(values) = self.read(shard, names, "get_many").await? {
                for (at, (value, ttl)) in at.into_iter().zip(values) {
                    answers[at] = TrackedRead::on(place(shard), value, ttl);
                }
            } else {
                let names: Vec<&str> = at.iter().map(|&at| keys[at]).collect();
                for (at, value) in at.iter().zip(self.store.get_many(&names).await?) {
                    answers[*at] = TrackedRead::untracked(value);
                }
            }
        }
        Ok(answers)
    }

    async fn prove(&self, node: NodeId) -> Result<()> {
        let shard = usize::from(node.number());
        if self.store.shared.defect == Some(TrackingDefect::ProvesOnAnotherConnection) {
            return self.store.health().await;
        }
        let stream = self.streams.get(shard).ok_or_else(|| closed("prove"))?;
        let (tell, told) = oneshot::channel();
        stream
            .requests
            .send(Request::Prove { tell })
            .map_err(|_| closed("prove"))?;
        match timeout(self.store.shared.deadline, told).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Error::new(
                ErrorKind::Connection,
                "prove",
                "the node is no longer the primary, or keys have moved",
            )),
            Ok(Err(_)) => Err(closed("prove")),
            Err(_) => Err(late("prove")),
        }
    }
}

impl fmt::Debug for TrackingStoreFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingStoreFeed").finish_non_exhaustive()
    }
}
