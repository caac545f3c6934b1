//! The task that writes requests and reads replies.

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    failure::Lost,
    multiplexer::{LARGE, Shared, Waiting},
};
use crate::wire::decoder::Parser;

/// The slowest transfer that is not taken for a standstill, in bytes per second: two thirds of a network of 100 Mbit/s.
const SLOWEST_TRANSFER: u64 = 8 << 20;

/// How much is read at a time. Replies that are not long are complete in here.
const BUFFER: usize = 64 << 10;

/// From so many requests at a time on, others are given the time to add theirs: a turn of the scheduler costs more than a write of few.
const SEVERAL: usize = 3;

/// With so many bytes to write, others are not waited for.
const MUCH: usize = 16 << 10;

/// Buffers that have grown beyond this are not kept.
const KEPT: usize = 1 << 20;

/// Ends when the connection does. What waits then is told so, also where the task is dropped with its runtime.
pub(crate) struct Driver<S> {
    stream: S,
    shared: Arc<Shared>,
    /// Sent and not answered, in the order of the replies.
    waiting: VecDeque<Waiting>,
    outgoing: Outgoing,
    incoming: Vec<u8>,
    parser: Parser,
    /// One timer for all deadlines: set for the first of them.
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// Whether others have had the time to add their requests to those that are about to be written.
    gathered: bool,
    /// How many requests were fetched together last.
    together: usize,
    ended: bool,
}

/// What is to be written.
#[derive(Default)]
struct Outgoing {
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first one is written.
    at: usize,
    /// How much has been written in all.
    written: u64,
    /// Whether something was written that is not flushed.
    unflushed: bool,
    /// An empty buffer for the callers to fill next.
    spare: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(crate) fn new(stream: S, shared: Arc<Shared>) -> Self {
        Self {
            stream,
            shared,
            waiting: VecDeque::new(),
            outgoing: Outgoing::default(),
            incoming: Vec::new(),
            parser: Parser::default(),
            timer: Box::pin(sleep_until(Instant::now())),
            armed: None,
            gathered: false,
            together: 0,
            ended: false,
        }
    }

    /// Takes in what has come, until there is no more for now.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let read = if let Some((long, missing)) = self.parser.long() {
                let mut rest = bytes::BufMut::limit(long, missing);
                let read = ready!(pin!(self.stream.read_buf(&mut rest)).poll(cx));
                if let Ok(bytes) = &read {
                    self.parser.added(*bytes);
                }
                read
            } else {
                if self.incoming.capacity() - self.incoming.len() < BUFFER / 4 {
                    self.incoming.reserve(BUFFER);
                }
                ready!(pin!(self.stream.read_buf(&mut self.incoming)).poll(cx))
            };
            match read {
                Ok(0) => return Poll::Ready(io::ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.shared.add_moved(bytes),
                Err(error) => return Poll::Ready(error),
            }
            if let Err(error) = self.deliver() {
                return Poll::Ready(error);
            }
        }
    }

    fn deliver(&mut self) -> io::Result<()> {
        let mut bytes = &self.incoming[..];
        let mut answered = false;
        loop {
            let reply = self.parser.next(&mut bytes);
            let Some(reply) = reply.map_err(|_| io::ErrorKind::InvalidData)? else {
                break;
            };
            // A reply to nothing: whose the next one is cannot be known.
            let Some(first) = self.waiting.front_mut() else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            answered = true;
            if first.sink.take(reply) {
                self.waiting.pop_front();
            }
        }
        let taken = self.incoming.len() - bytes.len();
        if taken == self.incoming.len() {
            self.incoming.clear();
        } else if taken > 0 {
            self.incoming.drain(..taken);
        }
        if answered {
            self.shared.answered();
        }
        self.tell_whether_clogged();
        Ok(())
    }

    fn tell_whether_clogged(&mut self) {
        let is_long = self.parser.long().is_some_and(|(_, missing)| missing > LARGE);
        let clogged = is_long || self.outgoing.len() > LARGE;
        if self.shared.clogged.load(Ordering::Relaxed) != clogged {
            self.shared.clogged.store(clogged, Ordering::Relaxed);
        }
    }

    /// Fetches what the callers have queued. Where that is nothing, they are to wake the driver.
    fn fetch(&mut self, cx: &Context<'_>) -> bool {
        let mut queue = self.shared.queue();
        if queue.waiting.is_empty() {
            queue.unanswered = self.waiting.len();
            queue.driver = Some(cx.waker().clone());
            return false;
        }
        let is_little = || queue.chunks.iter().map(Vec::len).sum::<usize>() < MUCH;
        // What is much already is better on its way: the server has something to do meanwhile.
        if !self.gathered && self.together.max(self.waiting.len()) >= SEVERAL && is_little() {
            // Behind everything that is ready to run now, which so has its requests written along with these.
            self.gathered = true;
            drop(queue);
            cx.waker().wake_by_ref();
            return false;
        }
        self.gathered = false;
        self.together = queue.waiting.len();
        for waiting in queue.waiting.drain(..) {
            if self.armed.is_none_or(|armed| waiting.deadline < armed) {
                self.armed = Some(waiting.deadline);
                self.timer.as_mut().reset(waiting.deadline);
            }
            self.waiting.push_back(waiting);
        }
        self.outgoing
            .chunks
            .extend(queue.chunks.drain(..).filter(|chunk| !chunk.is_empty()));
        let spare = std::mem::take(&mut self.outgoing.spare);
        queue.chunks.push(spare);
        queue.unanswered = self.waiting.len();
        drop(queue);
        self.tell_whether_clogged();
        true
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut self.stream;
        while let Some(chunk) = self.outgoing.chunks.front_mut() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &chunk[self.outgoing.at..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.shared.add_moved(written);
            self.outgoing.unflushed = true;
            self.outgoing.written += written as u64;
            self.outgoing.at += written;
            if self.outgoing.at == chunk.len() {
                self.outgoing.at = 0;
                let mut chunk = self.outgoing.chunks.pop_front().unwrap_or_default();
                if chunk.capacity() <= KEPT && chunk.capacity() > self.outgoing.spare.capacity() {
                    chunk.clear();
                    self.outgoing.spare = chunk;
                }
            }
        }
        if self.outgoing.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.outgoing.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Tells those whose time is over. A deadline moves on for as long as the transfer accounts for: of the request itself, and of
    /// what has moved over the connection since. The latter may be another call's; replies come in the order of the requests, so ours
    /// is behind it.
    fn expire(&mut self, cx: &mut Context<'_>) {
        while self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            let (now, moved) = (Instant::now(), self.shared.moved());
            let (mut first, mut late) = (None::<Instant>, 0);
            for waiting in self.waiting.iter_mut().filter(|waiting| !waiting.sink.is_late()) {
                if due(waiting) <= now {
                    waiting.accounted = waiting.accounted.max(moved - waiting.before);
                    if due(waiting) <= now {
                        waiting.sink.fail(Lost::Late);
                        late += 1;
                        continue;
                    }
                }
                first = Some(first.map_or(due(waiting), |first| first.min(due(waiting))));
            }
            if late > 0 {
                self.shared.timed_out(late);
            }
            self.armed = first;
            if let Some(first) = first {
                self.timer.as_mut().reset(first);
            }
        }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Poll::Ready(error) = self.poll_read(cx) {
            return Poll::Ready(error);
        }
        while self.fetch(cx) {}
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(error);
        }
        self.expire(cx);
        Poll::Pending
    }
}

fn due(waiting: &Waiting) -> Instant {
    waiting.deadline + Duration::from_millis(waiting.accounted.saturating_mul(1000) / SLOWEST_TRANSFER)
}

impl Outgoing {
    fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.at
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Driver<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let error = ready!(self.poll_drive(cx));
        #[cfg(feature = "tls")]
        self.shared.note(&error);
        self.end(Some(error.kind()));
        Poll::Ready(())
    }
}

impl<S> Driver<S> {
    fn end(&mut self, source: Option<io::ErrorKind>) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.shared.close(source);
        for mut waiting in self.waiting.drain(..) {
            let sent = self.outgoing.written >= waiting.reach;
            waiting.sink.fail(Lost::Broken { sent, source });
        }
    }
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.end(None);
    }
}
