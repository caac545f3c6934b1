//! The task of a connection: it writes requests, keeps the deadlines and reads replies.
//!
//! One task, because a call that wakes a separate writer pays for a second task, and the two move
//! between the workers of a runtime. The task yields to the calls at the points where it was
//! measured to pay; `docs/redis-bench.md` has the figures.

mod reader;
mod writer;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
};

use self::{reader::Reader, writer::Writer};
use super::{failure::End, multiplexer::Shared};

/// The task of a connection.
struct Driver<R, W> {
    reader: Reader<R>,
    writer: Writer<W>,
    shared: Arc<Shared>,
}

/// Spawns the task of a connection on the current runtime.
pub(super) fn spawn<R, W>(reader: R, writer: W, shared: &Arc<Shared>) -> AbortHandle
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let driver = Driver {
        reader: Reader::new(reader, Arc::clone(shared)),
        writer: Writer::new(writer, Arc::clone(shared)),
        shared: Arc::clone(shared),
    };
    tokio::spawn(driver).abort_handle()
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Future for Driver<R, W> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Replies first: after a pause of the process, those that arrived in time must not find
        // their deadlines passed.
        let end = match self.reader.poll_drive(cx) {
            Poll::Ready(end) => end,
            Poll::Pending => ready!(self.writer.poll_drive(cx)),
        };
        self.shared.close(end);
        Poll::Ready(())
    }
}

impl<R, W> Drop for Driver<R, W> {
    fn drop(&mut self) {
        // With its runtime, if it did not end before.
        self.shared.close(End::Stopped);
    }
}

/// Lets the runtime look at its timers before the task goes on. A task that only wakes itself is
/// polled 61 times before they are looked at.
fn yield_to_timers<T>(cx: &mut Context<'_>) -> Poll<T> {
    // Its first poll is always pending.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
    Poll::Pending
}

#[cfg(test)]
mod tests;
