//! A stream of a feed. It is reopened whenever it ends.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{NodeId, TrackingListener, Ttl};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{Instant, sleep, sleep_until},
};

use super::{Shared, TrackingDefect, server::Routes};

/// The pause before a stream is reopened.
const BACKOFF: Duration = Duration::from_millis(5);

/// The values and times to live of the keys of a read.
pub(super) type Values = Vec<(Option<Bytes>, Ttl)>;

pub(super) enum Request {
    Read {
        keys: Vec<String>,
        tell: oneshot::Sender<Option<Values>>,
    },
    Prove {
        tell: oneshot::Sender<bool>,
    },
}

pub(super) enum Frame {
    Changed {
        key: String,
        is_own: bool,
        is_other_database: bool,
    },
    Flushed,
    /// The values, or `None` if a key has moved.
    Values(Option<Values>, oneshot::Sender<Option<Values>>),
    /// Whether the node proved itself.
    Proof(bool, oneshot::Sender<bool>),
    End,
}

pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) program: u64,
    pub(super) shard: usize,
    pub(super) place: NodeId,
    pub(super) listener: Arc<dyn TrackingListener>,
    pub(super) is_open: Arc<AtomicBool>,
    pub(super) routes: Arc<Mutex<Routes>>,
    /// Whether the listener knows that the current connection has ended.
    pub(super) is_closed: AtomicBool,
}

/// The reason why a stream ended.
enum Ended {
    Closed,
    FeedIsGone,
}

impl Stream {
    /// Serves requests until the feed is gone.
    pub(super) async fn run(self, mut requests: UnboundedReceiver<Request>) {
        let mut is_first = true;
        loop {
            let hides = !is_first && self.has(TrackingDefect::HidesReconnects);
            let ended = self.run_once(&mut requests, hides).await;
            is_first = false;
            // Dropping these requests fails their callers, which must not happen before the
            // listener knows.
            while requests.try_recv().is_ok() {}
            if matches!(ended, Ended::FeedIsGone) {
                return;
            }
            sleep(BACKOFF).await;
        }
    }

    fn has(&self, defect: TrackingDefect) -> bool {
        self.shared.defect == Some(defect)
    }

    async fn run_once(&self, requests: &mut UnboundedReceiver<Request>, hides: bool) -> Ended {
        let link = &self.shared.link;
        link.wait(|state| !state.holds_streams && !state.is_frozen).await;
        let generation = link.state().generation;
        let (send, mut frames) = unbounded_channel();
        let (node, reader) = {
            let mut server = self.shared.lock();
            *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = server.routes();
            let node = server.primary(self.shard);
            (node, server.add_reader(node, self.program, send.clone()))
        };
        self.is_closed.store(false, Ordering::SeqCst);
        if !hides {
            self.listener.opening(self.place);
        }
        let mut changes = link.subscribe();
        let mut arriving: VecDeque<(Instant, Frame)> = VecDeque::new();
        let mut requested: VecDeque<(Instant, Request)> = VecDeque::new();
        let (tell, mut proved) = oneshot::channel();
        requested.push_back((link.arrival(), Request::Prove { tell }));
        let mut is_proved = false;
        let ended = loop {
            let state = *changes.borrow_and_update();
            if state.generation > generation {
                break Ended::Closed;
            }
            let next_frame = arriving.front().map(|(at, _)| *at).filter(|_| !state.holds_streams);
            let executes = !state.is_frozen && !state.holds_calls;
            let next_request = requested.front().map(|(at, _)| *at).filter(|_| executes);
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                frame = frames.recv() => {
                    let Some(frame) = frame else { break Ended::Closed };
                    // A connection preserves the order of its messages.
                    let last = arriving.back().map_or_else(Instant::now, |(at, _)| *at);
                    arriving.push_back((link.arrival().max(last), frame));
                }
                () = until(next_frame) => {
                    let Some((_, frame)) = arriving.pop_front() else { continue };
                    if !self.deliver(frame) {
                        break Ended::Closed;
                    }
                    if !is_proved && proved.try_recv() == Ok(true) {
                        is_proved = true;
                        if !hides {
                            self.listener.opened(self.place);
                        }
                        self.is_open.store(true, Ordering::SeqCst);
                    }
                }
                () = until(next_request) => {
                    let Some((_, request)) = requested.pop_front() else { continue };
                    if !self.execute(node, reader, request, &send) {
                        break Ended::Closed;
                    }
                }
                request = requests.recv() => {
                    let Some(request) = request else { break Ended::FeedIsGone };
                    let last = requested.back().map_or_else(Instant::now, |(at, _)| *at);
                    requested.push_back((link.arrival().max(last), request));
                }
            }
        };
        self.shared.lock().remove_reader(reader);
        self.is_open.store(false, Ordering::SeqCst);
        if !self.has(TrackingDefect::HidesReconnects) {
            // The listener must learn of the end before the dropped requests fail.
            self.tell_closed();
        }
        ended
    }

    /// Tells the listener that the connection has ended, unless it knows.
    fn tell_closed(&self) {
        if !self.is_closed.swap(true, Ordering::SeqCst) {
            self.listener.closed(self.place);
        }
    }

    /// Executes a request on the node, and sends the answer. Returns `false` if the connection is
    /// closed.
    fn execute(&self, node: usize, reader: u64, request: Request, send: &UnboundedSender<Frame>) -> bool {
        let mut server = self.shared.lock();
        if !server.has_reader(reader) {
            return false;
        }
        let frame = match request {
            Request::Read { keys, tell } => {
                let has_moved = keys.iter().any(|key| server.shard_of(key) != self.shard);
                let read = |key: &String| server.read(node, Some(reader), key);
                Frame::Values((!has_moved).then(|| keys.iter().map(read).collect()), tell)
            }
            Request::Prove { tell } => Frame::Proof(self.is_proof(node, &server), tell),
        };
        // Under the lock, because a node sends an answer before the report of a later change.
        let _ = send.send(frame);
        true
    }

    fn is_proof(&self, node: usize, server: &super::Server) -> bool {
        let epoch = self.routes.lock().unwrap_or_else(PoisonError::into_inner).epoch;
        let is_primary = server.primary(self.shard) == node;
        let is_same = server.routes().epoch == epoch;
        match self.shared.defect {
            Some(TrackingDefect::IgnoresRole) => true,
            Some(TrackingDefect::IgnoresEpoch) => is_primary,
            _ => is_primary && is_same,
        }
    }

    /// Delivers a frame to the listener or to its caller. Returns `false` if the stream must end.
    fn deliver(&self, frame: Frame) -> bool {
        match frame {
            Frame::Changed {
                key,
                is_own,
                is_other_database,
            } => {
                let is_ignored = self.has(TrackingDefect::LosesReports)
                    || (is_own && self.has(TrackingDefect::NoLoop))
                    || (is_other_database && self.has(TrackingDefect::IgnoresOtherDatabases));
                if self.has(TrackingDefect::ReordersReports) {
                    let (listener, place) = (self.listener.clone(), self.place);
                    tokio::spawn(async move {
                        sleep(Duration::from_millis(20)).await;
                        listener.changed(place, key.as_bytes());
                    });
                } else if !is_ignored {
                    self.listener.changed(self.place, key.as_bytes());
                }
                true
            }
            Frame::Flushed => {
                if !self.has(TrackingDefect::IgnoresFlushes) {
                    self.listener.flushed(self.place);
                }
                true
            }
            Frame::Values(values, tell) => {
                let has_moved = values.is_none();
                if has_moved {
                    *self.routes.lock().unwrap_or_else(PoisonError::into_inner) = self.shared.lock().routes();
                    if !self.has(TrackingDefect::IgnoresEpoch) {
                        self.tell_closed();
                    }
                }
                // The caller may have given up.
                let _ = tell.send(values);
                !has_moved || self.has(TrackingDefect::IgnoresEpoch)
            }
            Frame::Proof(holds, tell) => {
                if !holds {
                    self.tell_closed();
                }
                let _ = tell.send(holds);
                holds
            }
            Frame::End => false,
        }
    }
}

/// Waits until `time`, or forever without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
