//! A connection that shares its runtime with other tasks.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use redis::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::Instant,
};

use super::super::{
    failure::{End, Lost},
    multiplexer::{Deadline, LARGE, Limits, Multiplexer, Watch},
};
use crate::wire::{Command, Request};

/// A peer that sends the same frame endlessly.
struct Flood {
    head: &'static [u8],
    frame: &'static [u8],
    sent: Arc<AtomicUsize>,
}

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        buffer.put_slice(std::mem::take(&mut self.head));
        while buffer.remaining() >= self.frame.len() {
            buffer.put_slice(self.frame);
            self.sent.fetch_add(self.frame.len(), Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

struct Ignored;

impl Watch for Ignored {
    fn push(&self, _: Vec<Value>) {}

    fn ended(&self, _: End, _: usize) {}
}

const LIMITS: Limits = Limits {
    unanswered: 16,
    reply_bytes: usize::MAX,
    timeouts: 4,
    patience: Duration::from_secs(1),
    writes_records: false,
};

/// A stream whose first write fails.
struct Broken;

impl AsyncWrite for Broken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn far() -> Deadline {
    let at = Instant::now() + Duration::from_secs(60);
    Deadline {
        at,
        latest: at,
        verb: "set",
    }
}

#[tokio::test]
async fn a_write_of_several_records_that_fails_may_have_sent_some() {
    for writes_records in [false, true] {
        let limits = Limits {
            writes_records,
            ..LIMITS
        };
        let (reader, _peer) = tokio::io::duplex(64);
        let connection = Multiplexer::new(reader, Broken, limits, Box::new(Ignored));
        let answer = connection.send(&Request::one(&Command::read("PING")), None, far());
        let lost = answer.unwrap().await.unwrap().unwrap_err();
        assert!(
            matches!(lost, Lost::Broken { is_sent, .. } if is_sent == writes_records),
            "{lost:?}"
        );
    }
}

#[tokio::test]
async fn a_large_request_no_longer_clogs_the_connection_once_it_is_written() {
    let (reader, _peer) = tokio::io::duplex(64);
    let connection = Multiplexer::new(reader, tokio::io::sink(), LIMITS, Box::new(Ignored));
    let value = "v".repeat(2 * LARGE);
    let command = Command::new("SET").arg("k").arg(&value);
    let _answer = connection.send(&Request::one(&command), None, far()).unwrap();
    assert!(connection.is_clogged());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!connection.is_clogged());
}

// Uses a socket, so that the runtime finds its readiness and the passed deadline at the same time.
#[cfg(unix)]
#[tokio::test]
async fn a_reply_that_came_in_time_is_handed_out_after_a_pause_of_the_process() {
    let (client, mut server) = tokio::net::UnixStream::pair().unwrap();
    let (reader, writer) = client.into_split();
    let connection = Multiplexer::new(reader, writer, LIMITS, Box::new(Ignored));
    let at = Instant::now() + Duration::from_millis(50);
    let deadline = Deadline {
        at,
        latest: at,
        verb: "ping",
    };
    let answer = connection.send(&Request::one(&Command::read("PING")), None, deadline);
    let mut request = [0; 14];
    server.read_exact(&mut request).await.unwrap();
    server.write_all(b"+PONG\r\n").await.unwrap();
    // Blocks the runtime beyond the deadline.
    std::thread::sleep(Duration::from_millis(100));
    assert!(matches!(answer.unwrap().await, Ok(Ok(_))));
}

#[tokio::test]
async fn a_flood_leaves_the_runtime_to_its_timers() {
    /// The maximum number of bytes to decode before the timers run.
    const TURN: usize = 256 << 10;
    const TURNS: usize = 20;
    // An empty push, an attribute, and items of an array that never ends.
    for (head, frame) in [
        (&b""[..], &b">0\r\n"[..]),
        (b"", b"|1\r\n+a\r\n+b\r\n"),
        (b"*1000000000\r\n", b":1\r\n"),
    ] {
        let sent = Arc::new(AtomicUsize::new(0));
        let flood = Flood {
            head,
            frame,
            sent: Arc::clone(&sent),
        };
        let connection = Multiplexer::new(flood, tokio::io::sink(), LIMITS, Box::new(Ignored));
        let mut most = 0;
        for _ in 0..TURNS {
            let before = sent.load(Ordering::Relaxed);
            // Returns after the runtime has processed its timers.
            tokio::task::yield_now().await;
            most = most.max(sent.load(Ordering::Relaxed) - before);
        }
        assert!(sent.load(Ordering::Relaxed) > 0, "nothing was read");
        assert!(most <= TURN, "{most} bytes of {frame:?} in one turn");
        connection.stop();
    }
}
