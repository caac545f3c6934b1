//! The queue of requests between the calls of a connection and its two tasks.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use redis::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};
use zeroize::Zeroizing;

use super::{
    failure::{End, Lost},
    multiplexer::LARGE,
};
use crate::wire::reply::Replies;

/// Transfers slower than this count as stalled, in bytes per second: two thirds of a 100 Mbit/s
/// network.
const SLOWEST_TRANSFER: u64 = 8 << 20;

/// The memory of answers up to this size, in bytes, is not counted while they wait to be taken by
/// their call.
const UNCOUNTED: usize = 16 << 10;

/// Requests in the order in which they were made.
#[derive(Default)]
pub(super) struct Queue {
    /// Small requests that the writer has not fetched. They come after `chunks`.
    pub(super) small: Vec<u8>,
    /// Chunks that the writer has not fetched.
    pub(super) chunks: VecDeque<Chunk>,
    /// Requests without an answer, including those whose caller is gone.
    pub(super) waiting: VecDeque<Waiting>,
    /// The number of replies that `waiting` still needs.
    pub(super) missing: usize,
    /// The offset in the stream at which the next request begins.
    pub(super) end: u64,
    /// The offset in the stream at which the bytes that the writer has not fetched begin.
    pub(super) fetched: u64,
    /// The earliest deadline of the requests that the writer has not fetched.
    pub(super) earliest: Option<Instant>,
    /// The number of deadlines that have passed since the last reply.
    pub(super) timeouts: u32,
    /// The number of deadlines that have passed since a call was last answered in time, and the
    /// time of the first.
    missed: Option<(u32, Instant)>,
    /// The memory of the replies to partly answered requests.
    pub(super) held: usize,
    pub(super) closed: bool,
    /// Set while the writer sleeps and no call has woken it.
    pub(super) writer: Option<Waker>,
    /// Set while the stream accepts no more bytes, with the time at which the writer next checks
    /// the deadlines.
    pub(super) blocked: Option<(Waker, Option<Instant>)>,
}

/// Bytes to write.
pub(super) enum Chunk {
    /// Small requests, one after another.
    Small(Vec<u8>),
    /// One request that is not small, with its share of the room for large requests.
    Own {
        bytes: Vec<u8>,
        /// Released with the chunk, once it is written.
        _room: Option<OwnedSemaphorePermit>,
    },
    /// One request with a password, wiped after use.
    Secret(Zeroizing<Vec<u8>>),
}

impl Chunk {
    /// Returns whether this is a single large request.
    pub(super) fn is_large(&self) -> bool {
        matches!(self, Self::Own { bytes, .. } if bytes.len() > LARGE)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Small(bytes) | Self::Own { bytes, .. } => bytes,
            Self::Secret(bytes) => bytes,
        }
    }
}

/// The state of the connection after a check of the deadlines.
pub(super) struct Expired {
    /// Whether the connection has stalled.
    pub(super) is_stalled: bool,
    /// Whether any call still waits for its answer.
    pub(super) is_awaited: bool,
    /// The time of the next check.
    pub(super) next: Option<Instant>,
}

impl Queue {
    /// Returns whether the writer has fetched everything.
    pub(super) fn is_fetched(&self) -> bool {
        self.small.is_empty() && self.chunks.is_empty()
    }

    /// Returns whether any call still waits for its answer.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.iter().any(Waiting::is_awaited)
    }

    /// Returns the number of bytes that the writer has not fetched.
    pub(super) fn unfetched(&self) -> u64 {
        self.end - self.fetched
    }

    /// Takes the waker of the writer, if a request with this deadline must wake it.
    pub(super) fn writer_to_wake(&mut self, deadline: Instant) -> Option<Waker> {
        if let Some(writer) = self.writer.take() {
            return Some(writer);
        }
        // The blocked writer does not know of an earlier deadline.
        let (writer, _) = self
            .blocked
            .take_if(|(_, armed)| armed.is_none_or(|armed| deadline < armed))?;
        Some(writer)
    }

    /// Appends a chunk behind everything that is queued.
    pub(super) fn push_chunk(&mut self, chunk: Chunk) {
        if !self.small.is_empty() {
            let small = std::mem::take(&mut self.small);
            self.chunks.push_back(Chunk::Small(small));
        }
        self.chunks.push_back(chunk);
    }

    /// Appends a request to the unanswered requests.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.missing += waiting.missing;
        self.waiting.push_back(waiting);
    }

    /// Gives the reply to the oldest request. Returns whether it was the last reply to that
    /// request, or `None` if no request can have this reply.
    pub(super) fn answer(
        &mut self,
        reply: Value,
        memory: usize,
        at: Instant,
        unclaimed: &Arc<AtomicUsize>,
    ) -> Option<bool> {
        let front = self.waiting.front_mut()?;
        if front.start >= self.fetched {
            return None;
        }
        let is_late = front.is_late();
        let (held, is_last) = front.take(reply, memory, at, unclaimed);
        self.missing -= 1;
        self.held = self.held.saturating_add_signed(held);
        if is_last {
            self.waiting.pop_front();
            if !is_late {
                self.missed = None;
            }
        }
        Some(is_last)
    }

    /// Fails the calls whose deadline has passed. `received` is the number of bytes that have
    /// arrived of the reply to the oldest request. The connection counts as stalled after `most`
    /// passed deadlines without a reply in between, when the oldest request is overdue by
    /// `patience`, or after `most` passed deadlines if no call was answered in time for twice
    /// `patience`. None of these depends on whether a caller still waits.
    pub(super) fn expire(&mut self, now: Instant, received: u64, most: u32, patience: Duration) -> Expired {
        let mut next = None::<Instant>;
        let (mut is_stalled, mut is_awaited) = (false, false);
        for (place, waiting) in self.waiting.iter_mut().enumerate() {
            let due = waiting.due(if place == 0 { received } else { 0 });
            let event = if due > now && !waiting.is_late() {
                is_awaited |= waiting.is_awaited();
                due
            } else {
                if !waiting.is_late() {
                    self.held -= waiting.fail(Lost::Late);
                    self.timeouts = self.timeouts.saturating_add(1);
                    let (missed, since) = self.missed.unwrap_or((0, now));
                    let missed = missed.saturating_add(1);
                    self.missed = Some((missed, since));
                    // The late replies may even belong to other requests.
                    is_stalled |= missed >= most && now - since >= patience.saturating_mul(2);
                }
                if place > 0 {
                    continue;
                }
                is_stalled |= due + patience <= now;
                due + patience
            };
            next = Some(next.map_or(event, |next| next.min(event)));
        }
        is_stalled |= self.timeouts >= most;
        Expired {
            is_stalled,
            is_awaited,
            next,
        }
    }

    /// Fails all requests, after `written` bytes of the stream have been written.
    pub(super) fn fail_all(&mut self, written: u64, received: u64, end: End) {
        self.closed = true;
        self.small = Vec::new();
        self.chunks.clear();
        for (place, waiting) in self.waiting.iter_mut().enumerate() {
            let is_begun = waiting.is_begun() || (place == 0 && received > 0);
            let is_sent = written >= waiting.reach;
            waiting.fail(Lost::Broken { is_sent, is_begun, end });
        }
        self.waiting.clear();
        self.missing = 0;
        self.held = 0;
    }
}

/// A request without an answer. Kept small, because each is written by its call and read by the
/// reader, on different threads.
pub(super) struct Waiting {
    /// `None` once the call has failed. The replies still arrive.
    sender: Option<oneshot::Sender<Result<Answer, Lost>>>,
    /// The replies so far, for a request with several replies.
    part: Option<Box<Part>>,
    missing: usize,
    deadline: Instant,
    /// The latest time to which the deadline is extended.
    latest: Instant,
    /// The offset in the stream at which the request begins.
    start: u64,
    /// The number of bytes of the stream that must be written before the request can have been
    /// executed.
    reach: u64,
}

/// The replies to a partly answered request.
#[derive(Default)]
struct Part {
    replies: Vec<Value>,
    memory: usize,
}

/// The position of a request in the stream, and its deadline.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) reach: u64,
    pub(super) deadline: Instant,
    pub(super) latest: Instant,
}

impl Waiting {
    /// Returns a request that needs this many replies, at least 1.
    pub(super) fn new(replies: usize, place: Place, sender: oneshot::Sender<Result<Answer, Lost>>) -> Self {
        Self {
            sender: Some(sender),
            // Not allocated in advance: the caller chooses the number of replies, and memory is
            // counted only as they arrive.
            part: None,
            missing: replies.max(1),
            deadline: place.deadline,
            latest: place.latest,
            start: place.start,
            reach: place.reach,
        }
    }

    /// Returns the deadline, extended for the bytes of the reply that have arrived.
    fn due(&self, received: u64) -> Instant {
        if received == 0 {
            return self.deadline;
        }
        (self.deadline + transfer_time(received)).min(self.latest)
    }

    /// Returns the number of replies that are still missing.
    pub(super) fn missing(&self) -> usize {
        self.missing
    }

    /// Returns whether the call has failed.
    fn is_late(&self) -> bool {
        self.sender.is_none()
    }

    fn is_awaited(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }

    fn is_begun(&self) -> bool {
        self.part.is_some()
    }

    /// Takes the next reply. Returns the change of the held memory, and whether this was the last
    /// reply.
    fn take(&mut self, reply: Value, memory: usize, at: Instant, unclaimed: &Arc<AtomicUsize>) -> (isize, bool) {
        self.missing -= 1;
        let is_last = self.missing == 0;
        if self.is_late() {
            return (0, is_last);
        }
        if !is_last {
            let part = self.part.get_or_insert_default();
            part.replies.push(reply);
            part.memory += memory;
            return (signed(memory), false);
        }
        let (replies, held) = match self.part.take() {
            None => (Replies::One(reply), 0),
            Some(part) => {
                let Part { mut replies, memory } = *part;
                replies.push(reply);
                (Replies::Several(replies), memory)
            }
        };
        if let Some(sender) = self.sender.take() {
            // If the caller is gone, the answer is dropped.
            let _ = sender.send(Ok(Answer {
                replies,
                at,
                _memory: Charge::of(held + memory, unclaimed),
            }));
        }
        (-signed(held), true)
    }

    /// Fails the call. Its replies may still arrive. Returns the memory that they held so far.
    fn fail(&mut self, why: Lost) -> usize {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(Err(why));
        }
        self.part.take().map_or(0, |part| part.memory)
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

/// Returns the time that a transfer of this many bytes may take.
pub(super) fn transfer_time(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST_TRANSFER)
}

/// The replies to a request. Their memory is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Answer {
    replies: Replies,
    at: Instant,
    _memory: Option<Charge>,
}

impl Answer {
    /// Returns the time at which the answer arrived.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// Takes the replies, whose memory is no longer counted.
    pub(crate) fn into_replies(self) -> Replies {
        self.replies
    }
}

#[derive(Debug)]
struct Charge {
    bytes: usize,
    unclaimed: Arc<AtomicUsize>,
}

impl Charge {
    fn of(bytes: usize, unclaimed: &Arc<AtomicUsize>) -> Option<Self> {
        (bytes > UNCOUNTED).then(|| {
            unclaimed.fetch_add(bytes, Ordering::Relaxed);
            Self {
                bytes,
                unclaimed: Arc::clone(unclaimed),
            }
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.unclaimed.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answered_request_lacks_no_reply() {
        let now = Instant::now();
        let mut queue = Queue {
            fetched: 1,
            ..Queue::default()
        };
        let place = Place {
            start: 0,
            reach: 1,
            deadline: now,
            latest: now,
        };
        let (sender, _receiver) = oneshot::channel();
        queue.push(Waiting::new(2, place, sender));
        assert_eq!(queue.missing, 2);
        assert_eq!(queue.answer(Value::Okay, 0, now, &Arc::default()), Some(false));
        assert_eq!(queue.missing, 1);
        assert_eq!(queue.answer(Value::Okay, 0, now, &Arc::default()), Some(true));
        assert_eq!(queue.missing, 0);
    }
}
