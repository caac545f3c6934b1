//! The part of a connection that reads replies and hands them out.

use std::{
    io,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use redis::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::Instant,
};

use super::{
    super::{
        failure::End,
        multiplexer::{LARGE, Shared},
        queue::Waiting,
    },
    yield_to_timers,
};
use crate::wire::decoder::{DecodeError, Decoder, Frame};

/// Bytes of room to reserve for a read. Short replies fit completely.
const BUFFER: usize = 64 << 10;

/// The number of reads before other tasks and the runtime's timers have their turn: a peer that
/// sends without end must not occupy a thread.
const READS: usize = 4;

/// The bytes to decode without completing a reply before other tasks and the runtime's timers have
/// their turn. Decoding small frames takes far longer than reading them.
const UNANSWERED: usize = BUFFER / 2;

/// The most requests whose replies are handed out before their calls, and the requests they make, go
/// first. A request with more replies is answered at once.
const PART: usize = 256;

/// The most replies of each request that make a part longer, so that requests with many replies do
/// not delay the others.
const MOST_EACH: usize = 4;

/// Reads replies and hands them to the calls.
pub(super) struct Reader<R> {
    stream: R,
    shared: Arc<Shared>,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that have been decoded.
    at: usize,
    decoder: Decoder,
    /// Replies that have not been handed out, with their memory and the place in the stream at
    /// which they end.
    ready: Vec<(Value, usize, u64)>,
    ready_memory: usize,
    /// Memory of what the queue holds, as of the last part.
    held: usize,
    /// The number of replies in a part.
    part: usize,
    /// Replies that the oldest request lacks: less than that completes no call.
    missing: usize,
    /// The offset in the stream of replies at which the reply to the oldest request begins.
    front: u64,
    /// Bytes that were decoded since a reply was handed out, or since the runtime had its turn.
    unanswered_bytes: usize,
}

enum Part {
    /// Everything that has arrived is handed out.
    Done,
    /// There may be more.
    More,
    /// Much was decoded that completes no reply.
    Unanswered,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            decoder: Decoder::new(shared.limits.reply_bytes),
            shared,
            incoming: Vec::new(),
            at: 0,
            ready: Vec::new(),
            ready_memory: 0,
            held: 0,
            part: PART,
            missing: 0,
            front: 0,
            unanswered_bytes: 0,
        }
    }

    /// Decodes and hands out a part of what has arrived.
    fn hand_out(&mut self) -> Result<Part, End> {
        let most = self.part.max(self.missing);
        let incoming = std::mem::take(&mut self.incoming);
        let mut bytes = &incoming[self.at..];
        let part = loop {
            if self.ready.len() >= most {
                break Ok(if bytes.is_empty() { Part::Done } else { Part::More });
            }
            let taken = self.ready_memory + self.held + self.shared.unclaimed.load(Ordering::Relaxed);
            let limit = self.shared.limits.reply_bytes.saturating_sub(taken);
            match self.decoder.next(&mut bytes, limit) {
                Ok(Some(Frame::Reply(value, memory))) => {
                    self.ready_memory += memory;
                    self.ready.push((value, memory, self.decoder.reply_bytes()));
                }
                Ok(Some(Frame::Push(items))) => {
                    if let Err(end) = self.release() {
                        break Err(end);
                    }
                    self.shared.watch.push(items);
                }
                Ok(None) => break Ok(Part::Done),
                Err(DecodeError::Malformed) => break Err(End::Malformed),
                Err(DecodeError::TooLarge) => break Err(End::TooLarge),
            }
        };
        let left = bytes.len();
        self.unanswered_bytes += incoming.len() - left - self.at;
        self.at = incoming.len() - left;
        self.incoming = incoming;
        let released = self.release();
        let part = part?;
        released?;
        let received = self.decoder.reply_bytes() - self.front;
        let partial = if matches!(part, Part::Done) { left as u64 } else { 0 };
        self.shared.received.store(received + partial, Ordering::Relaxed);
        self.tell_whether_clogged();
        if self.unanswered_bytes >= UNANSWERED {
            self.unanswered_bytes = 0;
            return Ok(Part::Unanswered);
        }
        Ok(part)
    }

    /// Hands out what is ready, with the queue locked: calls that run on another thread by then
    /// would otherwise contend for the lock with each reply.
    fn release(&mut self) -> Result<(), End> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let mut queue = self.shared.queue();
        for (value, memory, end) in self.ready.drain(..) {
            match queue.answer(value, memory, now, &self.shared.unclaimed) {
                None => return Err(End::Surplus),
                Some(true) => self.front = end,
                Some(false) => {}
            }
        }
        queue.timeouts = 0;
        self.unanswered_bytes = 0;
        self.ready_memory = 0;
        self.held = queue.held;
        let each = queue.missing.checked_div(queue.waiting.len()).unwrap_or(1);
        self.part = PART * each.clamp(1, MOST_EACH);
        self.missing = queue.waiting.front().map_or(0, Waiting::missing);
        if queue.closed && queue.waiting.is_empty() {
            // Left, and the last call has its answer.
            return Err(End::Stopped);
        }
        Ok(())
    }

    fn tell_whether_clogged(&self) {
        let is_long = self.decoder.missing() > LARGE;
        if self.shared.clogged_in.load(Ordering::Relaxed) != is_long {
            self.shared.clogged_in.store(is_long, Ordering::Relaxed);
        }
    }

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some((long, missing)) = self.decoder.long() {
            let mut rest = bytes::BufMut::limit(long, missing);
            let read = ready!(pin!(self.stream.read_buf(&mut rest)).poll(cx));
            if let Ok(bytes) = &read {
                self.decoder.added(*bytes);
            }
            return Poll::Ready(read);
        }
        if self.at > 0 {
            self.incoming.drain(..self.at);
            self.at = 0;
        }
        if self.incoming.capacity() - self.incoming.len() < BUFFER / 4 {
            self.incoming.reserve(BUFFER);
        }
        pin!(self.stream.read_buf(&mut self.incoming)).poll(cx)
    }

    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..READS {
            match self.hand_out() {
                Ok(Part::Done) => {}
                // The calls of this part go first, and the writer with their next requests.
                Ok(Part::More) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Part::Unanswered) => return yield_to_timers(cx),
                Err(end) => return Poll::Ready(end),
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) => return Poll::Ready(End::of(&io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(End::of(&error)),
            }
        }
        yield_to_timers(cx)
    }
}
