//! The two tasks of a connection: one writes requests and enforces the deadlines, the other reads
//! replies.
//!
//! With a single task, writes and reads would wait for each other, and the client and the server
//! would take turns. Each task yields to the calls where measurements showed a gain;
//! `docs/redis-bench.md` has the figures.

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use redis::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    failure::End,
    multiplexer::{LARGE, Shared},
    queue::{Chunk, Waiting},
};
use crate::wire::decoder::{DecodeError, Decoder, Frame};

/// The buffer space to reserve for a read, in bytes. Short replies fit completely.
const BUFFER: usize = 64 << 10;

/// The number of reads before the task yields to other tasks and the runtime's timers. A peer that
/// sends endlessly must not occupy a thread.
const READS: usize = 4;

/// The number of bytes to decode without completing a reply before the task yields to other tasks
/// and the runtime's timers. Decoding small frames takes far longer than reading them.
const UNANSWERED: usize = BUFFER / 2;

/// The number of requests whose replies are handed out before the task yields to other tasks.
#[derive(Clone, Copy)]
struct Parts {
    fewest: usize,
    /// A part is the number of unanswered requests divided by this, if that is larger.
    divisor: usize,
}

impl Parts {
    /// For calls that can also run on other threads than this task.
    const MULTI_THREAD: Self = Self { fewest: 16, divisor: 4 };

    /// For calls that run between the parts. The server works on one half of the requests while the
    /// calls of the other half run. With a single batch, client and server would take turns.
    /// Smaller parts would wake the server more often.
    const CURRENT_THREAD: Self = Self { fewest: 32, divisor: 2 };

    fn requests(self, unanswered: usize) -> usize {
        self.fewest.max(unanswered / self.divisor)
    }
}

/// The maximum number of replies per request by which a part grows, so that requests with many
/// replies do not delay the others.
const MOST_EACH: usize = 4;

/// With this many bytes to write, the writer does not wait for other calls.
const MUCH: u64 = 16 << 10;

/// Buffers with a larger capacity are not reused.
const KEPT: usize = 1 << 20;

/// The task that writes requests and enforces their deadlines.
pub(super) struct Writer<W> {
    stream: W,
    shared: Arc<Shared>,
    chunks: VecDeque<Chunk>,
    /// The number of bytes of the first chunk that have been written.
    at: usize,
    /// Whether any written bytes have not been flushed.
    is_unflushed: bool,
    /// An empty buffer for the calls to fill next.
    spare: Vec<u8>,
    /// One timer for all deadlines, set to the earliest.
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// Whether the task has slept, and other calls have not yet had time to add their requests to
    /// the request that woke it.
    has_slept: bool,
    /// Whether the calls run on the same thread as this task.
    is_current_thread: bool,
}

enum Fetched {
    /// There are requests to write.
    Some,
    /// There is nothing to write. The next request wakes the task.
    None,
    /// There are requests to write, and calls that are ready to run may add to them first.
    Gather,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(stream: W, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            shared,
            chunks: VecDeque::new(),
            at: 0,
            is_unflushed: false,
            spare: Vec::new(),
            timer: Box::pin(sleep_until(Instant::now())),
            armed: None,
            has_slept: true,
            is_current_thread: is_current_thread(),
        }
    }

    fn fetch(&mut self, cx: &Context<'_>) -> Fetched {
        let mut queue = self.shared.queue();
        if queue.is_fetched() {
            queue.writer = Some(cx.waker().clone());
            self.has_slept = true;
            return Fetched::None;
        }
        // A large batch is sent immediately, so that the server can start on it. On a single
        // thread, the calls that were ready have run before this task.
        if self.has_slept && !self.is_current_thread && queue.unfetched() < MUCH {
            self.has_slept = false;
            return Fetched::Gather;
        }
        self.has_slept = false;
        self.chunks.append(&mut queue.chunks);
        if !queue.small.is_empty() {
            let spare = std::mem::take(&mut self.spare);
            self.chunks
                .push_back(Chunk::Small(std::mem::replace(&mut queue.small, spare)));
        }
        queue.fetched = queue.end;
        let earliest = queue.earliest.take();
        drop(queue);
        self.arm(earliest);
        Fetched::Some
    }

    /// Sets the timer to this deadline, if it is earlier than the current setting.
    fn arm(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.armed.is_none_or(|armed| deadline < armed)
        {
            self.armed = Some(deadline);
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Handles a stream that accepts no more bytes for now. Requests that wait behind this write
    /// have deadlines too. Returns whether the connection has stalled.
    fn block(&mut self, cx: &mut Context<'_>) -> bool {
        let earliest = self.shared.queue().earliest.take();
        self.arm(earliest);
        let is_stalled = self.expire(cx);
        self.shared.queue().blocked = Some((cx.waker().clone(), self.armed));
        is_stalled
    }

    fn tell_whether_clogged(&self) {
        let is_clogged = self.chunks.iter().any(Chunk::is_large);
        if self.shared.clogged_out.load(Ordering::Relaxed) != is_clogged {
            self.shared.clogged_out.store(is_clogged, Ordering::Relaxed);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tell_whether_clogged();
        while let Some(chunk) = self.chunks.front() {
            let bytes = chunk.as_slice();
            let mut written = self.shared.written();
            if written.is_closed {
                return Poll::Pending;
            }
            let rest = &bytes[self.at..];
            let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, rest));
            written.bytes += match &outcome {
                Ok(count) => *count as u64,
                Err(_) if self.shared.limits.writes_records => rest.len() as u64,
                Err(_) => 0,
            };
            drop(written);
            let count = outcome?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unflushed = true;
            self.at += count;
            if self.at == bytes.len() {
                self.at = 0;
                match self.chunks.pop_front() {
                    Some(Chunk::Small(mut bytes))
                        if bytes.capacity() <= KEPT && bytes.capacity() > self.spare.capacity() =>
                    {
                        bytes.clear();
                        self.spare = bytes;
                    }
                    // The next look may be far away: the task sleeps after its last chunk.
                    Some(chunk) if chunk.is_large() => self.tell_whether_clogged(),
                    _ => {}
                }
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Fails the calls whose deadline has passed. Returns whether the connection is over too: it
    /// takes no more requests, because it stalled or its last holder dropped it, and no call waits
    /// for a reply.
    fn expire(&mut self, cx: &mut Context<'_>) -> bool {
        while self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            let limits = &self.shared.limits;
            let mut queue = self.shared.queue();
            // Read with the queue locked, so that it is about the request that is the oldest now.
            let received = self.shared.received.load(Ordering::Relaxed);
            let expired = queue.expire(Instant::now(), received, limits.timeouts, limits.patience);
            if expired.is_stalled {
                // Keep the queue locked: a call that has just failed must not send its next request
                // here.
                self.shared.leave(&mut queue, End::Stalled);
            }
            drop(queue);
            if !expired.is_awaited && self.shared.is_left() {
                return true;
            }
            self.armed = expired.next;
            if let Some(next) = expired.next {
                self.timer.as_mut().reset(next);
            }
        }
        false
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.expire(cx) {
                return Poll::Ready(End::Stalled);
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(End::of(&error)),
                Poll::Pending if self.block(cx) => return Poll::Ready(End::Stalled),
                Poll::Pending => return Poll::Pending,
            }
            match self.fetch(cx) {
                Fetched::Some => {}
                Fetched::None => return Poll::Pending,
                Fetched::Gather => {
                    // Run again behind the calls that are ready now. `yield_now` would wait until
                    // the worker is idle, and by then the server has run out of work.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> Future for Writer<W> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = ready!(self.poll_drive(cx));
        self.shared.close(end);
        Poll::Ready(())
    }
}

impl<W> Drop for Writer<W> {
    fn drop(&mut self) {
        // The runtime drops an unfinished task when it shuts down.
        self.shared.close(End::Stopped);
    }
}

/// The task that reads replies and hands them to the calls.
pub(super) struct Reader<R> {
    stream: R,
    shared: Arc<Shared>,
    incoming: Vec<u8>,
    /// Bytes of `incoming` that have been decoded.
    at: usize,
    decoder: Decoder,
    /// Replies that have not been handed out, each with its memory and the offset in the stream at
    /// which it ends.
    ready: Vec<(Value, usize, u64)>,
    ready_memory: usize,
    /// The memory of the replies that the queue holds, as of the last part.
    held: usize,
    parts: Parts,
    /// The number of replies in a part.
    part: usize,
    /// The number of replies that the oldest request still needs. A smaller part would complete no
    /// call.
    missing: usize,
    /// The offset in the stream of replies at which the reply to the oldest request begins.
    front: u64,
    /// The number of bytes decoded since a reply was handed out or the task last yielded to the
    /// timers.
    unanswered_bytes: usize,
}

enum Part {
    /// Everything that has arrived has been handed out.
    Done,
    /// There may be more.
    More,
    /// Many bytes were decoded without completing a reply.
    Unanswered,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(stream: R, shared: Arc<Shared>) -> Self {
        let parts = if is_current_thread() {
            Parts::CURRENT_THREAD
        } else {
            Parts::MULTI_THREAD
        };
        Self {
            stream,
            decoder: Decoder::new(shared.limits.reply_bytes),
            shared,
            incoming: Vec::new(),
            at: 0,
            ready: Vec::new(),
            ready_memory: 0,
            held: 0,
            parts,
            part: parts.fewest,
            missing: 0,
            front: 0,
            unanswered_bytes: 0,
        }
    }

    /// Decodes and hands out a part of the replies that have arrived.
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

    /// Hands out the ready replies with the queue locked. Calls that already run on another thread
    /// would otherwise contend for the lock with each reply.
    fn release(&mut self) -> Result<(), End> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        let mut queue = self.shared.queue();
        let mut is_popped = false;
        for (value, memory, end) in self.ready.drain(..) {
            match queue.answer(value, memory, now, &self.shared.unclaimed) {
                None => return Err(End::Surplus),
                Some(true) => {
                    self.front = end;
                    is_popped = true;
                }
                Some(false) => {}
            }
        }
        if is_popped {
            // Otherwise the progress of this reply would extend the deadline of the next request.
            self.shared.received.store(0, Ordering::Relaxed);
        }
        queue.timeouts = 0;
        self.unanswered_bytes = 0;
        self.ready_memory = 0;
        self.held = queue.held;
        let requests = queue.waiting.len();
        let each = queue.missing.checked_div(requests).unwrap_or(1);
        self.part = self.parts.requests(requests) * each.clamp(1, MOST_EACH);
        self.missing = queue.waiting.front().map_or(0, Waiting::missing);
        if queue.closed && queue.waiting.is_empty() {
            // The connection takes no more requests, and the last call has its answer.
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

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..READS {
            match self.hand_out() {
                Ok(Part::Done) => {}
                // Let the calls of this part run first, and the writer send their next requests.
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

/// Returns whether all tasks of the runtime run on this thread.
fn is_current_thread() -> bool {
    Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread)
}

/// Lets the runtime process its timers before the task continues. A task that only wakes itself is
/// polled 61 times before the timers are processed.
fn yield_to_timers<T>(cx: &mut Context<'_>) -> Poll<T> {
    // Its first poll is always pending.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}

impl<R: AsyncRead + Unpin> Future for Reader<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = ready!(self.poll_drive(cx));
        self.shared.close(end);
        Poll::Ready(())
    }
}

impl<R> Drop for Reader<R> {
    fn drop(&mut self) {
        // The runtime drops an unfinished task when it shuts down.
        self.shared.close(End::Stopped);
    }
}

#[cfg(test)]
mod tests;
