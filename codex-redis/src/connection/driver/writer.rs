//! The part of a connection that writes requests and keeps their deadlines.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::AsyncWrite,
    runtime::{Handle, RuntimeFlavor},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    super::{failure::End, multiplexer::Shared, queue::Chunk},
    yield_to_timers,
};

/// With this many bytes to write, the writer does not wait for other calls.
const MUCH: u64 = 16 << 10;

/// Buffers that have grown beyond this are not kept.
const KEPT: usize = 1 << 20;

/// Writes requests and keeps their deadlines.
pub(super) struct Writer<W> {
    stream: W,
    shared: Arc<Shared>,
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are written.
    at: usize,
    /// Whether something was written that is not flushed.
    is_unflushed: bool,
    /// An empty buffer for the calls to fill next.
    spare: Vec<u8>,
    /// One timer for all deadlines, set for the first of them.
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// Whether it has slept, and the calls have not yet had the time to add their requests to the
    /// one that woke it.
    has_slept: bool,
    /// Whether several requests were unanswered at the last write. A single caller does not wait
    /// for others: the wait often moves the task to another worker, which has to wake for it.
    was_shared: bool,
    /// Whether the calls run on the same thread as this task.
    is_current_thread: bool,
}

enum Fetched {
    /// There is something to write.
    Some,
    /// There is not. A call that makes a request wakes the task.
    None,
    /// There is, and calls that are ready to run may add to it first.
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
            was_shared: false,
            is_current_thread: Handle::try_current()
                .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread),
        }
    }

    fn fetch(&mut self, cx: &Context<'_>) -> Fetched {
        let mut queue = self.shared.queue();
        if queue.is_fetched() {
            queue.writer = Some(cx.waker().clone());
            self.has_slept = true;
            return Fetched::None;
        }
        let is_shared = queue.waiting.len() > 1;
        // Much is better on its way: the server has something to do meanwhile.
        if self.has_slept && (is_shared || self.was_shared) && queue.unfetched() < MUCH {
            self.has_slept = false;
            return Fetched::Gather;
        }
        self.has_slept = false;
        self.was_shared = is_shared;
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

    /// Sets the timer, if this is earlier than what it is set to.
    fn arm(&mut self, deadline: Option<Instant>) {
        if let Some(deadline) = deadline
            && self.armed.is_none_or(|armed| deadline < armed)
        {
            self.armed = Some(deadline);
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Handles a stream that takes no more bytes for now. Requests that wait behind this write have
    /// deadlines too. Returns whether the connection has stalled.
    fn block(&mut self, cx: &mut Context<'_>) -> bool {
        let earliest = self.shared.queue().earliest.take();
        self.arm(earliest);
        let is_stalled = self.expire(cx);
        self.shared.queue().blocked = Some((cx.waker().clone(), self.armed));
        is_stalled
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_clogged = self.chunks.iter().any(Chunk::is_large);
        if self.shared.clogged_out.load(Ordering::Relaxed) != is_clogged {
            self.shared.clogged_out.store(is_clogged, Ordering::Relaxed);
        }
        while let Some(chunk) = self.chunks.front() {
            let bytes = chunk.as_slice();
            let mut written = self.shared.written();
            if written.is_closed {
                return Poll::Pending;
            }
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[self.at..]))?;
            written.bytes += count as u64;
            drop(written);
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_unflushed = true;
            self.at += count;
            if self.at == bytes.len() {
                self.at = 0;
                if let Some(Chunk::Small(mut bytes)) = self.chunks.pop_front()
                    && bytes.capacity() <= KEPT
                    && bytes.capacity() > self.spare.capacity()
                {
                    bytes.clear();
                    self.spare = bytes;
                }
            }
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells the calls whose time is over, and says whether the connection is over too: it is
    /// stalled and no call waits for it.
    fn expire(&mut self, cx: &mut Context<'_>) -> bool {
        while self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            let limits = &self.shared.limits;
            let received = self.shared.received.load(Ordering::Relaxed);
            let mut queue = self.shared.queue();
            let expired = queue.expire(Instant::now(), received, limits.timeouts, limits.patience);
            if expired.is_stalled {
                // With the queue locked: a call that has just been told must not send its next
                // request here.
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

    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
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
                // Behind everything that is ready. Client and server take turns then: writes in
                // between would wake the server for a few requests each, which costs more.
                Fetched::Gather if self.is_current_thread => return yield_to_timers(cx),
                Fetched::Gather => {
                    // Behind the calls that are ready now, and not `yield_now`, which would wait
                    // until the worker is idle: by then the server has run out of work.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}
