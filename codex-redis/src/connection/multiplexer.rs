//! One connection, shared by any number of calls.
//!
//! A call appends its request to a buffer that all share, and wakes the [driver](crate::driver) where that sleeps. The driver lets
//! whoever else is ready do the same first, and then writes all of it at once. Replies come in the order of the requests. One that
//! nobody waits for any more is thrown away.
//!
//! This takes the place of redis-rs's multiplexed connection, because it is measured to pay: `benches/redis` has the figures.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::Waker,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    task::AbortHandle,
    time::Instant,
};

use super::{
    driver::Driver,
    failure::{Lost, NotSent},
};
use crate::wire::request::{Request, Sink};

/// A request of more bytes is packed before it gets its place in the queue, so that others do not wait for it to be copied; and a
/// connection with so much to write is one that small requests avoid.
pub(crate) const LARGE: usize = 64 << 10;

/// The callers' end. The connection ends with it.
#[derive(Debug)]
pub(crate) struct Mux {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

/// What the callers and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Never locked across an await, nor while something large is copied.
    queue: Mutex<Queue>,
    moved: AtomicU64,
    closed: AtomicBool,
    /// Something large is on its way, and what comes later waits for it.
    pub(crate) clogged: AtomicBool,
    /// Requests in a row that were not answered in time.
    timeouts: AtomicU32,
    /// Why the server ended a TLS session, which it tells in place of its first answer.
    #[cfg(feature = "tls")]
    refusal: std::sync::OnceLock<&'static str>,
}

/// Requests that the driver has not fetched yet.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) chunks: Vec<Vec<u8>>,
    pub(crate) waiting: Vec<Waiting>,
    /// How many more the driver holds, as it last said.
    pub(crate) unanswered: usize,
    /// Where in the stream the next request begins.
    end: u64,
    most: usize,
    closed: bool,
    /// Set while the driver sleeps and nobody has woken it.
    pub(crate) driver: Option<Waker>,
}

/// A request on its way.
pub(crate) struct Waiting {
    pub(crate) sink: Sink,
    pub(crate) deadline: Instant,
    /// Bytes that the deadline has been moved on for.
    pub(crate) accounted: u64,
    /// What had moved when it was sent.
    pub(crate) before: u64,
    /// So many bytes of the stream must be written before it can have been carried out.
    pub(crate) reach: u64,
}

impl Mux {
    /// Drives the stream by a task of the current runtime. At most `most` requests wait for their replies at a time.
    pub(crate) fn new<S>(stream: S, most: usize) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                most,
                ..Queue::default()
            }),
            moved: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            clogged: AtomicBool::new(false),
            timeouts: AtomicU32::new(0),
            #[cfg(feature = "tls")]
            refusal: std::sync::OnceLock::new(),
        });
        let driver = tokio::spawn(Driver::new(stream, Arc::clone(&shared))).abort_handle();
        Self { shared, driver }
    }

    /// Gives a request its place behind those that were sent before. The answer comes within the deadline, which moves on for what is
    /// [large](crate#deadline); or else the receiver is told so.
    pub(crate) fn send<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Result<R::Answer, Lost>>, NotSent> {
        let (sink, receiver) = request.channel();
        let packed = (request.size() > LARGE).then(|| {
            let mut packed = Vec::new();
            request.write(&mut packed);
            packed
        });
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(NotSent::Closed);
        }
        if queue.waiting.len() + queue.unanswered >= queue.most {
            return Err(NotSent::Full);
        }
        let size = if let Some(packed) = packed {
            let size = packed.len();
            queue.chunks.push(packed);
            // What comes next does not belong behind it in its allocation.
            queue.chunks.push(Vec::new());
            self.shared.clogged.store(true, Ordering::Relaxed);
            size
        } else {
            if queue.chunks.is_empty() {
                queue.chunks.push(Vec::new());
            }
            let last = queue.chunks.len() - 1;
            let chunk = &mut queue.chunks[last];
            let before = chunk.len();
            request.write(chunk);
            chunk.len() - before
        };
        let start = queue.end;
        queue.end += size as u64;
        let reach = if R::IN_PARTS { start + 1 } else { queue.end };
        queue.waiting.push(Waiting {
            sink,
            deadline,
            accounted: size as u64,
            before: self.shared.moved(),
            reach,
        });
        let driver = queue.driver.take();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(receiver)
    }

    /// Whether the driver has ended: the server closed the connection, it broke, or the runtime that drove it is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.shared.queue();
        queue.waiting.is_empty() && queue.unanswered == 0
    }

    /// Whether a small request had better take another connection.
    pub(crate) fn is_clogged(&self) -> bool {
        self.shared.clogged.load(Ordering::Relaxed)
    }

    /// How many requests in a row were not answered in time.
    pub(crate) fn timeouts(&self) -> u32 {
        self.shared.timeouts.load(Ordering::Relaxed)
    }

    #[cfg(feature = "tls")]
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        self.shared.refusal.get().copied()
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        // By itself the driver would wait for replies; of a frozen server there are none.
        self.driver.abort();
    }
}

impl Shared {
    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes read and written so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    pub(crate) fn add_moved(&self, bytes: usize) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn timed_out(&self, requests: u32) {
        self.timeouts.fetch_add(requests, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self) {
        if self.timeouts.load(Ordering::Relaxed) != 0 {
            self.timeouts.store(0, Ordering::Relaxed);
        }
    }

    /// Takes no more requests. Those that the driver has not fetched were not sent.
    pub(crate) fn close(&self, source: Option<io::ErrorKind>) {
        self.closed.store(true, Ordering::Release);
        let mut queue = self.queue();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        queue.chunks = Vec::new();
        drop(queue);
        for mut waiting in waiting {
            waiting.sink.fail(Lost::Broken { sent: false, source });
        }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn note(&self, error: &io::Error) {
        if let Some(refusal) = crate::connection::tls::misconfigured(error) {
            // The first one is the reason for all that follow.
            let _ = self.refusal.set(refusal);
        }
    }
}

// Requests and replies are nobody else's business.
impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
