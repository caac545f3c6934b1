//! A multiplexer with nothing but the essentials: requests are appended to a shared buffer, one
//! task writes it, another reads replies. It has no deadlines, no limits, no reconnection and no
//! error handling, so it shows the limit that the runtime and the loopback interface set.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, oneshot},
    task::yield_now,
};

use crate::clients::{KvClient, TTL};

const READ: usize = 64 << 10;

#[derive(Clone)]
pub(crate) struct Bare(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    queued: Notify,
}

#[derive(Default)]
struct Queue {
    requests: Vec<u8>,
    calls: VecDeque<oneshot::Sender<Bytes>>,
}

impl Bare {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        let shared = Arc::new(Shared::default());
        tokio::spawn(write(writer, Arc::clone(&shared)));
        tokio::spawn(read(reader, Arc::clone(&shared)));
        Self(shared)
    }

    async fn call(&self, arguments: &[&[u8]]) -> Bytes {
        let (sender, receiver) = oneshot::channel();
        let was_empty = {
            let mut queue = self.0.queue.lock().unwrap();
            let was_empty = queue.requests.is_empty();
            encode(&mut queue.requests, arguments);
            queue.calls.push_back(sender);
            was_empty
        };
        if was_empty {
            self.0.queued.notify_one();
        }
        receiver.await.unwrap()
    }
}

async fn write(mut stream: OwnedWriteHalf, shared: Arc<Shared>) {
    let mut requests = Vec::new();
    loop {
        std::mem::swap(&mut shared.queue.lock().unwrap().requests, &mut requests);
        if requests.is_empty() {
            shared.queued.notified().await;
            // Calls that are ready add their requests first.
            yield_now().await;
            continue;
        }
        stream.write_all(&requests).await.unwrap();
        requests.clear();
    }
}

async fn read(mut stream: OwnedReadHalf, shared: Arc<Shared>) {
    let mut bytes = BytesMut::new();
    let mut replies = Vec::new();
    loop {
        bytes.reserve(READ);
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        while let Some(reply) = reply(&mut bytes) {
            replies.push(reply);
        }
        let mut queue = shared.queue.lock().unwrap();
        for reply in replies.drain(..) {
            let _ = queue.calls.pop_front().unwrap().send(reply);
        }
    }
}

fn encode(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    use std::io::Write as _;
    write!(out, "*{}\r\n", arguments.len()).unwrap();
    for argument in arguments {
        write!(out, "${}\r\n", argument.len()).unwrap();
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Takes the next reply: the text of a bulk string, or a whole line of another type.
fn reply(bytes: &mut BytesMut) -> Option<Bytes> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    if bytes[0] != b'$' {
        return Some(bytes.split_to(end + 1).freeze());
    }
    let length: usize = std::str::from_utf8(&bytes[1..end - 1]).unwrap().parse().unwrap();
    if bytes.len() < end + 1 + length + 2 {
        return None;
    }
    bytes.advance(end + 1);
    let value = bytes.split_to(length).freeze();
    bytes.advance(2);
    Some(value)
}

impl KvClient for Bare {
    async fn get(&self, key: &str) -> usize {
        self.call(&[b"GET", key.as_bytes()]).await.len()
    }

    async fn set(&self, key: &str, value: Bytes) {
        let seconds = TTL.as_secs().to_string();
        let reply = self
            .call(&[b"SET", key.as_bytes(), &value, b"EX", seconds.as_bytes()])
            .await;
        assert_eq!(&reply[..], b"+OK\r\n");
    }
}
