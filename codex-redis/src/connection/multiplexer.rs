//! One connection, shared by any number of calls.
//!
//! A call appends its request to a shared buffer, and wakes the writer if it sleeps. The
//! [writer](super::driver::Writer) first lets other calls that are ready do the same, and then
//! writes everything at once. Replies arrive in the order of the requests. The
//! [reader](super::driver::Reader) hands them out in parts, so that client and server work
//! concurrently. A reply whose caller is gone is discarded.
//!
//! # Bounds
//!
//! At most [`Limits::unanswered`] requests wait for their replies. Requests of more than 64 KiB
//! share 64 MiB of room until they are written; a request beyond that size takes all of it. Replies
//! may use [`Limits::reply_bytes`] of memory until their calls take them, in addition to a read
//! buffer of 128 KiB. A connection that stalls ends by itself.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use redis::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    task::AbortHandle,
    time::Instant,
};
use zeroize::Zeroizing;

pub(crate) use super::queue::Answer;
use super::{
    driver::{Reader, Writer},
    failure::{End, Lost, NotSent},
    queue::{Chunk, Place, Queue, Waiting, transfer_time},
};
use crate::wire::Request;

/// Small requests avoid a connection that transfers a request or a reply of more than this many
/// bytes.
pub(crate) const LARGE: usize = 64 << 10;

/// A larger request is encoded into its own buffer before it enters the queue, so that other calls
/// do not wait for the copy.
const COPIED: usize = 4 << 10;

/// The maximum total size of large requests that are not written yet, in bytes.
const ROOM: usize = 64 << 20;

/// The unit in which the room is shared, in bytes.
const SHARE: usize = 64 << 10;

/// The limits of a connection, and the way in which its stream writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Requests without an answer.
    pub(crate) unanswered: usize,
    /// Memory of replies.
    pub(crate) reply_bytes: usize,
    /// Deadlines in a row that pass without a reply before the connection counts as stalled.
    pub(crate) timeouts: u32,
    /// The time that the oldest request may be overdue before the connection counts as stalled.
    pub(crate) patience: Duration,
    /// Whether a write that fails may have sent some of its bytes, as TLS does record by record.
    pub(crate) writes_records: bool,
}

/// An observer of a connection, notified in the order of the stream.
pub(crate) trait Watch: Send + Sync {
    /// Handles a RESP3 push. Every reply before it has been handed to its call, and no reply after
    /// it.
    fn push(&self, items: Vec<Value>);

    /// Handles the end of the connection, with this many requests unanswered. Their calls have not
    /// been notified yet.
    fn ended(&self, end: End, unanswered: usize);
}

/// The deadline of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    /// The deadline for a small request and a small reply. A call's own data extends it by a second
    /// for every 8 MiB.
    pub(crate) at: Instant,
    /// The latest time to which the deadline is extended.
    pub(crate) latest: Instant,
    /// The verb of the call, for logs and metrics.
    pub(crate) verb: &'static str,
}

impl Deadline {
    /// Returns the deadline of a request of this many bytes.
    fn of(self, bytes: usize) -> Instant {
        if bytes < COPIED {
            return self.at;
        }
        (self.at + transfer_time(bytes as u64)).min(self.latest)
    }
}

/// A pending answer.
pub(crate) type Answering = oneshot::Receiver<Result<Answer, Lost>>;

/// The callers' end of a connection. When it is dropped, the connection takes no more requests, and
/// ends with the last call that waits for an answer.
pub(crate) struct Multiplexer {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
}

/// State that the calls and the two tasks share.
pub(super) struct Shared {
    /// Never locked across an await or while large data is copied.
    queue: Mutex<Queue>,
    /// Locked during a write, so that the number of written bytes is exact when the connection
    /// ends.
    written: Mutex<Written>,
    /// The number of bytes that have arrived of the reply to the oldest request. Reset with the
    /// queue locked when that request leaves the queue.
    pub(super) received: AtomicU64,
    /// Memory of answers that their calls have not taken yet.
    pub(super) unclaimed: Arc<AtomicUsize>,
    is_closed: AtomicBool,
    end: OnceLock<End>,
    /// A long reply is arriving, or a long request is being written: later small requests would
    /// wait for it.
    pub(super) clogged_in: AtomicBool,
    pub(super) clogged_out: AtomicBool,
    pub(super) limits: Limits,
    pub(super) watch: Box<dyn Watch>,
    tasks: OnceLock<[AbortHandle; 2]>,
}

/// Progress in writing the stream of requests.
#[derive(Default)]
pub(super) struct Written {
    pub(super) bytes: u64,
    /// Whether the connection has ended, so that no more bytes may be written.
    pub(super) is_closed: bool,
}

impl Multiplexer {
    /// Spawns tasks on the current runtime that drive the two halves of a stream.
    pub(crate) fn new<R, W>(reader: R, writer: W, limits: Limits, watch: Box<dyn Watch>) -> Self
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            written: Mutex::default(),
            received: AtomicU64::new(0),
            unclaimed: Arc::default(),
            is_closed: AtomicBool::new(false),
            end: OnceLock::new(),
            clogged_in: AtomicBool::new(false),
            clogged_out: AtomicBool::new(false),
            limits,
            watch,
            tasks: OnceLock::new(),
        });
        let writing = tokio::spawn(Writer::new(writer, Arc::clone(&shared))).abort_handle();
        let reading = tokio::spawn(Reader::new(reader, Arc::clone(&shared))).abort_handle();
        // This cannot fail: it is set only here.
        let _ = shared.tasks.set([writing, reading]);
        if shared.is_left() {
            // The connection ended before one task could stop the other.
            shared.close(End::Stopped);
        }
        let room = Arc::new(Semaphore::new(ROOM / SHARE));
        Self { shared, room }
    }

    /// Waits for room for a large request of this many bytes, until its deadline. Returns `None` if
    /// no room became free in time.
    pub(crate) async fn room(&self, size: usize, deadline: Deadline) -> Option<OwnedSemaphorePermit> {
        let shares = u32::try_from(size.div_ceil(SHARE).min(ROOM / SHARE)).unwrap_or(u32::MAX);
        let acquired = Arc::clone(&self.room).acquire_many_owned(shares);
        tokio::time::timeout_at(deadline.of(size), acquired).await.ok()?.ok()
    }

    /// Queues a request behind the earlier requests. The receiver gets the answer by the deadline,
    /// or the reason why it is missing.
    pub(crate) fn send(
        &self,
        request: &Request<'_, '_>,
        room: Option<OwnedSemaphorePermit>,
        deadline: Deadline,
    ) -> Result<Answering, NotSent> {
        let (sender, receiver) = oneshot::channel();
        let about = request.size();
        let chunk = if request.is_secret() {
            let mut bytes = Zeroizing::new(Vec::new());
            request.write(&mut bytes);
            Some(Chunk::Secret(bytes))
        } else if about > COPIED {
            let mut bytes = Vec::new();
            request.write(&mut bytes);
            Some(Chunk::Own { bytes, _room: room })
        } else {
            None
        };
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(NotSent::Closed);
        }
        if queue.waiting.len() >= self.shared.limits.unanswered {
            return Err(NotSent::Full);
        }
        let size = if let Some(chunk) = chunk {
            let size = chunk.as_slice().len();
            queue.push_chunk(chunk);
            size
        } else {
            let before = queue.small.len();
            request.write(&mut queue.small);
            queue.small.len() - before
        };
        if size > LARGE {
            self.shared.clogged_out.store(true, Ordering::Relaxed);
        }
        let start = queue.end;
        queue.end += size as u64;
        let place = Place {
            start,
            reach: if request.runs_in_parts() { start + 1 } else { queue.end },
            deadline: deadline.of(size),
            latest: deadline.latest,
        };
        if queue.earliest.is_none_or(|earliest| place.deadline < earliest) {
            queue.earliest = Some(place.deadline);
        }
        let place_deadline = place.deadline;
        queue.push(Waiting::new(request.replies(), place, sender));
        let writer = queue.writer_to_wake(place_deadline);
        drop(queue);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(receiver)
    }

    /// Returns whether the connection has ended: the server closed it, it broke or stalled, or the
    /// runtime that drove it is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.shared.is_left()
    }

    /// Returns why the connection has ended, or `None` while it is open.
    pub(crate) fn end(&self) -> Option<End> {
        self.shared.end.get().copied()
    }

    /// Ends the connection, even if others hold it.
    pub(crate) fn stop(&self) {
        self.shared.close(End::Stopped);
    }

    /// Returns whether no request waits for its reply.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.queue().waiting.is_empty()
    }

    /// Returns whether a small request should prefer another connection.
    pub(crate) fn is_clogged(&self) -> bool {
        self.shared.clogged_in.load(Ordering::Relaxed) || self.shared.clogged_out.load(Ordering::Relaxed)
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        let mut queue = self.shared.queue();
        self.shared.leave(&mut queue, End::Stopped);
        // The tasks continue until the last call has its answer or its deadline has passed.
        let is_awaited = queue.is_awaited();
        drop(queue);
        if !is_awaited {
            self.shared.close(End::Stopped);
        }
    }
}

impl fmt::Debug for Multiplexer {
    // Logs must not contain requests or replies.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Multiplexer")
            .field("end", &self.end())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic under the lock leaves no harmful partial change, because requests and bytes are
        // added last.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_left(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops accepting requests, so that the next call dials. Calls in flight keep the connection
    /// until their deadlines.
    pub(super) fn leave(&self, queue: &mut Queue, end: End) {
        if queue.closed {
            return;
        }
        queue.closed = true;
        // This cannot fail: it is set only here, and `closed` was false.
        let _ = self.end.set(end);
        // Notify the watch before any call can see the end, so that no data learned through this
        // connection is used after it.
        self.watch.ended(end, queue.waiting.len());
        self.is_closed.store(true, Ordering::Release);
    }

    /// Ends the connection: stops accepting requests, fails all calls, and stops both tasks.
    pub(super) fn close(&self, end: End) {
        self.leave(&mut self.queue(), end);
        let mut written = self.written();
        written.is_closed = true;
        let bytes = written.bytes;
        drop(written);
        self.queue().fail_all(bytes, self.received.load(Ordering::Relaxed), end);
        for task in self.tasks.get().into_iter().flatten() {
            task.abort();
        }
    }
}
