//! Requests to the nodes of a cluster, against scripted nodes.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use codex_redis::RedisBackend;
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing};
use support::assert_kind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The reaction of a node to a command on a key.
enum Reaction {
    Say(String),
    After(Duration, String),
    /// Never answers this connection again.
    Stall,
    Close,
}

impl From<Option<String>> for Reaction {
    fn from(answer: Option<String>) -> Self {
        answer.map_or(Self::Close, Self::Say)
    }
}

type Answer = Arc<dyn Fn(&[String]) -> Reaction + Send + Sync>;

struct Actor {
    port: u16,
    listener: Option<TcpListener>,
    received: Arc<Mutex<Vec<String>>>,
}

impl Actor {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            port: listener.local_addr().unwrap().port(),
            listener: Some(listener),
            received: Arc::default(),
        }
    }

    /// Makes the node report that `owner` serves every slot, and answer all other commands with
    /// `answer`.
    fn play<R: Into<Reaction>>(&mut self, owner: u16, answer: impl Fn(&[String]) -> R + Send + Sync + 'static) {
        let (listener, received) = (self.listener.take().unwrap(), self.received.clone());
        let answer: Answer = Arc::new(move |command| answer(command).into());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, owner, answer.clone(), received.clone()));
            }
        });
    }

    fn count(&self, verb: &str) -> usize {
        self.received
            .lock()
            .unwrap()
            .iter()
            .filter(|name| *name == verb)
            .count()
    }

    fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{}", self.port)
    }
}

async fn serve(mut stream: TcpStream, owner: u16, answer: Answer, received: Arc<Mutex<Vec<String>>>) {
    let mut bytes = Vec::new();
    loop {
        while let Some((command, length)) = parse(&bytes) {
            bytes.drain(..length);
            received.lock().unwrap().push(command[0].clone());
            let reply = match command[0].as_str() {
                "PING" => "+PONG\r\n".to_owned(),
                "CLIENT" | "ASKING" => "+OK\r\n".to_owned(),
                "CLUSTER" => {
                    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:{owner}\r\n$4\r\n{owner:04x}\r\n")
                }
                _ => match answer(&command) {
                    Reaction::Say(reply) => reply,
                    Reaction::After(delay, reply) => {
                        tokio::time::sleep(delay).await;
                        reply
                    }
                    Reaction::Stall => std::future::pending().await,
                    Reaction::Close => return,
                },
            };
            if stream.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
            return;
        }
    }
}

/// Parses a command of plain texts, and returns it with its length.
fn parse(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut at = 0;
    let mut line = || {
        let end = text[at..].find("\r\n")?;
        let line = &text[at..at + end];
        at += end + 2;
        Some(line)
    };
    let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
    let mut command = Vec::new();
    for _ in 0..count {
        line()?;
        command.push(line()?.to_owned());
    }
    Some((command, at))
}

#[tokio::test]
async fn life_05_what_may_have_run_is_not_sent_again() {
    let mut node = Actor::new().await;
    node.play(node.port, |_| None);
    let backend = RedisBackend::connect(&node.url()).await.unwrap();
    let error = assert_kind(
        "incr",
        backend.incr("n", 1, OnMissing::Create(Expiry::Never)).await,
        ErrorKind::Connection,
    );
    assert!(error.may_have_executed());
    let error = assert_kind("del", backend.del(&["a", "b"]).await, ErrorKind::Connection);
    assert!(error.may_have_executed());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((node.count("INCRBY"), node.count("UNLINK")), (1, 1));
}

#[tokio::test]
async fn redirections_are_followed_with_the_command_that_was_refused() {
    let [mut first, mut second] = [Actor::new().await, Actor::new().await];
    let (moved, asked) = (
        format!("-MOVED 1 127.0.0.1:{}\r\n", second.port),
        format!("-ASK 1 127.0.0.1:{}\r\n", second.port),
    );
    first.play(first.port, move |command| {
        Some(if command[0] == "GET" {
            asked.clone()
        } else {
            moved.clone()
        })
    });
    second.play(first.port, |command| {
        Some(if command[0] == "GET" { "$1\r\nv\r\n" } else { ":7\r\n" }.to_owned())
    });
    let backend = RedisBackend::connect(&first.url()).await.unwrap();
    assert_eq!(backend.get("k").await.unwrap().unwrap(), "v");
    assert_eq!((second.count("ASKING"), second.count("GET")), (1, 1));
    let count = backend.incr("n", 7, OnMissing::Create(Expiry::Never)).await.unwrap();
    assert_eq!((count, second.count("ASKING"), second.count("INCRBY")), (Some(7), 1, 1));
}

#[tokio::test]
async fn nodes_that_name_each_other_and_clusters_that_are_down_are_errors_at_the_deadline() {
    let [mut first, mut second] = [Actor::new().await, Actor::new().await];
    let (there, back) = (
        format!("-MOVED 1 127.0.0.1:{}\r\n", second.port),
        format!("-MOVED 1 127.0.0.1:{}\r\n", first.port),
    );
    first.play(first.port, move |command| {
        Some(if command[0] == "PTTL" {
            "-CLUSTERDOWN down\r\n".to_owned()
        } else {
            there.clone()
        })
    });
    second.play(first.port, move |_| Some(back.clone()));
    let backend = RedisBackend::connect(&first.url()).await.unwrap();
    for (verb, result) in [
        (
            "incr",
            backend.incr("n", 1, OnMissing::Create(Expiry::Never)).await.map(drop),
        ),
        ("ttl", backend.ttl("k").await.map(drop)),
        ("del", backend.del(&["k"]).await.map(drop)),
    ] {
        let error = assert_kind(verb, result, ErrorKind::Server);
        assert!(!error.may_have_executed() && error.is_retryable(), "{verb}: {error:?}");
    }
    let start = Instant::now();
    assert!(backend.get("k").await.is_err());
    assert!(start.elapsed() < Duration::from_millis(800), "{:?}", start.elapsed());
    // It did not repeat the command in a busy loop.
    assert!(first.count("GET") < 30, "{}", first.count("GET"));
}

#[tokio::test]
async fn what_is_refused_until_the_deadline_says_what_the_server_said() {
    let [mut first, mut second] = [Actor::new().await, Actor::new().await];
    let there = format!("-MOVED 1 127.0.0.1:{}\r\n", second.port);
    let back = format!("-MOVED 1 127.0.0.1:{}\r\n", first.port);
    first.play(first.port, move |command| {
        Some(match command[0].as_str() {
            "PTTL" => "-CLUSTERDOWN down\r\n".to_owned(),
            "UNLINK" => "-TRYAGAIN later\r\n".to_owned(),
            _ => there.clone(),
        })
    });
    second.play(first.port, move |_| Some(back.clone()));
    let backend = RedisBackend::connect(&first.url()).await.unwrap();
    for (result, said) in [
        (backend.ttl("k").await.map(drop), "CLUSTERDOWN"),
        (backend.del(&["k", "l"]).await.map(drop), "TRYAGAIN"),
        (backend.get("k").await.map(drop), "MOVED"),
        (backend.get_many(&["k", "l"]).await.map(drop), "MOVED"),
    ] {
        let error = assert_kind(said, result, ErrorKind::Server);
        assert!(!error.may_have_executed() && error.is_retryable(), "{said}: {error:?}");
        assert!(error.to_string().contains(said), "{said}: {error}");
    }
}

/// A runtime that has begun to refresh the slot map and is then not driven must not keep another
/// runtime from following the cluster.
#[test]
fn life_15_another_runtime_follows_the_cluster_while_the_first_is_not_driven() {
    let build = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (first_runtime, second_runtime) = (build(), build());
    let servers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let is_moved = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (first, second) = servers.block_on(async {
        let [mut first, mut second] = [Actor::new().await, Actor::new().await];
        let (moved, port) = (is_moved.clone(), second.port);
        first.play(first.port, move |_| {
            Some(if moved.load(std::sync::atomic::Ordering::SeqCst) {
                format!("-MOVED 1 127.0.0.1:{port}\r\n")
            } else {
                ":1\r\n".to_owned()
            })
        });
        second.play(second.port, |_| Some(":2\r\n".to_owned()));
        (first, second)
    });
    let url = first.url();
    let backend = first_runtime.block_on(async { RedisBackend::connect(&url).await.unwrap() });
    let incr = async |backend: &RedisBackend| backend.incr("n", 1, OnMissing::Create(Expiry::Never)).await.unwrap();
    is_moved.store(true, std::sync::atomic::Ordering::SeqCst);
    // The redirection begins a refresh that never ends.
    assert_eq!(first_runtime.block_on(async { incr(&backend).await }), Some(2));
    let before = first.count("CLUSTER");
    assert_eq!(second_runtime.block_on(async { incr(&backend).await }), Some(2));
    let looked = second_runtime.block_on(async {
        for _ in 0..100 {
            if first.count("CLUSTER") + second.count("CLUSTER") > before {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    });
    assert!(looked, "the second runtime waits for the first");
}

/// Two nodes take most of a deadline to refuse, and then never answer.
#[tokio::test]
async fn one_verb_has_one_deadline_on_a_cluster() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    // With a second deadline for the repeated command, a call would take 3.4 s.
    const LATE: Duration = Duration::from_millis(1400);
    let [mut first, mut second] = [Actor::new().await, Actor::new().await];
    let (there, ask) = (
        format!("-MOVED 1 127.0.0.1:{}\r\n", second.port),
        format!("-ASK 1 127.0.0.1:{}\r\n", second.port),
    );
    first.play(first.port, move |command| match command[0].as_str() {
        "EVALSHA" => Reaction::After(LATE, "-NOSCRIPT No matching script.\r\n".to_owned()),
        "INCRBY" | "UNLINK" => Reaction::After(LATE, there.clone()),
        "MGET" if command[1] == "k" => Reaction::Say("*1\r\n$1\r\nv\r\n".to_owned()),
        "MGET" | "GET" => Reaction::After(LATE, ask.clone()),
        // Well within the time that is reserved for the last attempt: a later answer is a timeout.
        "PTTL" => Reaction::After(Duration::from_millis(20), "-TRYAGAIN later\r\n".to_owned()),
        _ => Reaction::Stall,
    });
    second.play(first.port, |_| Reaction::Stall);
    let connect = async || {
        let builder = RedisBackend::builder().url(&first.url());
        builder.command_timeout(TIMEOUT).build().await.unwrap()
    };
    let create = OnMissing::Create(Expiry::Never);
    let calls: [(&str, futures_util::future::LocalBoxFuture<'_, codex_traits::Result<()>>); 7] = [
        (
            "MOVED, then no answer",
            Box::pin(async { connect().await.incr("n", 1, create).await.map(drop) }),
        ),
        (
            "ASK, then no answer",
            Box::pin(async { connect().await.get("k").await.map(drop) }),
        ),
        (
            "MOVED for one of many",
            Box::pin(async { connect().await.del(&["k", "l"]).await.map(drop) }),
        ),
        (
            "ASK for one of many",
            Box::pin(async { connect().await.get_many(&["k", "l"]).await.map(drop) }),
        ),
        (
            "a script that is new",
            Box::pin(async { connect().await.del_if_equals("k", b"v").await.map(drop) }),
        ),
        (
            "no answer of one node",
            Box::pin(async {
                connect()
                    .await
                    .set_many(&[("k", "v".into()), ("l", "v".into())], Expiry::Never)
                    .await
            }),
        ),
        (
            "TRYAGAIN for ever",
            Box::pin(async { connect().await.ttl("k").await.map(drop) }),
        ),
    ];
    let timed = calls.map(|(name, call)| async move {
        let start = Instant::now();
        (name, call.await, start.elapsed())
    });
    for (name, result, taken) in futures_util::future::join_all(timed).await {
        let kind = if name.starts_with("TRYAGAIN") {
            ErrorKind::Server
        } else {
            ErrorKind::Timeout
        };
        assert_kind(name, result, kind);
        assert!(taken < TIMEOUT + Duration::from_millis(900), "{name}: {taken:?}");
    }
}
