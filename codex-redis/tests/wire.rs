//! Requests and answers, against a scripted server.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_redis::RedisBackend;
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing};
use support::{SECRET, assert_kind, every_verb};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server that accepts every login and then answers every packet with the same bytes, or closes
/// if there are none.
struct Impostor {
    url: String,
    dials: Arc<AtomicUsize>,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Impostor {
    async fn start(answer: &'static [u8], delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let dials = Arc::new(AtomicUsize::new(0));
        let received = Arc::new(Mutex::new(Vec::new()));
        let (counter, log) = (dials.clone(), received.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(play(stream, answer, delay, log.clone()));
            }
        });
        Self { url, dials, received }
    }

    fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

async fn play(mut stream: TcpStream, answer: &[u8], delay: Duration, log: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 1 << 16];
    let _ = stream.read(&mut buffer).await;
    tokio::time::sleep(delay).await;
    let _ = stream.write_all(b"+OK\r\n+PONG\r\n").await;
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        log.lock().unwrap().extend_from_slice(&buffer[..read]);
        if answer.is_empty() {
            return;
        }
        let _ = stream.write_all(answer).await;
    }
}

#[tokio::test]
async fn life_05_nothing_is_sent_twice() {
    let server = Impostor::start(b"", Duration::ZERO).await;
    let backend = RedisBackend::connect(&server.url).await.unwrap();
    let error = assert_kind(
        "incr",
        backend.incr("n", 1, OnMissing::Create(Expiry::Never)).await,
        ErrorKind::Connection,
    );
    assert!(error.may_have_executed());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.received().matches("INCRBY").count(), 1, "{}", server.received());
}

#[tokio::test]
async fn life_07_no_answer_of_the_server_is_shown() {
    let echoes: [&[u8]; 6] = [
        b"-ERR unknown command 'X', with args beginning with: 'hunter2' 'hunter2'\r\n",
        b"-hunter2 is the code\r\n",
        b"$7\r\nhunter2\r\n",
        b"+hunter2\r\n",
        b"*1\r\n$7\r\nhunter2\r\n",
        b"?hunter2\r\n",
    ];
    for echo in echoes {
        let server = Impostor::start(echo, Duration::ZERO).await;
        let backend = RedisBackend::connect(&server.url).await.unwrap();
        for (verb, result) in every_verb(&backend).await {
            if let Err(error) = result {
                support::assert_discreet(&error);
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::Server | ErrorKind::Connection | ErrorKind::Data
                    ),
                    "{verb}: {error:?}"
                );
            }
        }
        // The server never answers the third command of this login.
        let login = RedisBackend::builder()
            .url(&server.url)
            .password(SECRET)
            .connect_timeout(Duration::from_millis(50));
        if let Err(error) = login.build().await {
            support::assert_discreet(&error);
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_form_is_an_error() {
    let server = Impostor::start(b"*0\r\n", Duration::ZERO).await;
    let backend = RedisBackend::connect(&server.url).await.unwrap();
    for (verb, result) in every_verb(&backend).await {
        assert_kind(verb, result, ErrorKind::Server);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_one_dial_together_and_none_of_them_cancels_it() {
    let server = Impostor::start(b"$-1\r\n", Duration::from_secs(1)).await;
    let backend = RedisBackend::builder()
        .url(&server.url)
        .connections(1)
        .command_timeout(Duration::from_millis(20))
        .connect_timeout(Duration::from_secs(10))
        .build()
        .await
        .unwrap();
    assert_eq!(server.dials.load(Ordering::SeqCst), 1);
    // Another runtime has no connection yet: there, every call is shorter than the dial.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            for _ in 0..10 {
                let error = assert_kind("get", backend.get("k").await, ErrorKind::Timeout);
                assert!(!error.may_have_executed());
            }
            support::until("the dial is done", async || backend.get("k").await.is_ok()).await;
        });
        assert_eq!(server.dials.load(Ordering::SeqCst), 2);
    })
    .join()
    .unwrap();
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_for_their_turn_within_their_deadline() {
    // The server never completes its answer.
    let server = Impostor::start(b"$-1", Duration::ZERO).await;
    let settings = || RedisBackend::builder().url(&server.url).max_in_flight(1);
    let patient = settings()
        .command_timeout(Duration::from_secs(60))
        .build()
        .await
        .unwrap();
    let first = tokio::spawn({
        let backend = patient.clone();
        async move { backend.get("first").await }
    });
    support::until("the first is sent", async || server.received().contains("first")).await;
    let second = tokio::spawn({
        let backend = patient.clone();
        async move { backend.get("second").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!server.received().contains("second"), "{}", server.received());
    first.abort();
    support::until("the second is sent", async || server.received().contains("second")).await;
    second.abort();

    let hasty = settings()
        .command_timeout(Duration::from_millis(50))
        .build()
        .await
        .unwrap();
    let (one, other) = tokio::join!(hasty.get("k"), hasty.get("k"));
    assert_kind("get", one, ErrorKind::Timeout);
    assert_kind("get", other, ErrorKind::Timeout);
}

#[tokio::test]
async fn calls_that_find_too_many_waiting_fail_at_once() {
    // The server never completes its answer.
    let server = Impostor::start(b"$-1", Duration::ZERO).await;
    let built = RedisBackend::builder()
        .url(&server.url)
        .max_in_flight(1)
        .max_waiting(2)
        .command_timeout(Duration::from_secs(60));
    let backend = built.build().await.unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { backend.get("waits").await })
        })
        .collect();
    support::until("one is sent", async || server.received().contains("waits")).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..10 {
        let error = assert_kind("get", backend.get("k").await, ErrorKind::Connection);
        assert!(!error.may_have_executed() && error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains("too many calls"), "{error}");
    }
    // A call that gives up waiting makes room.
    waiting[2].abort();
    let room = async || {
        let call = tokio::time::timeout(Duration::from_millis(20), backend.get("k")).await;
        call.is_err()
    };
    support::until("there is room", room).await;
    for call in waiting {
        call.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_02_what_was_not_written_whole_was_not_executed() {
    // The server accepts a login, reads nothing more, waits until a large request is in flight, and
    // closes when it is told to.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"+OK\r\n+PONG\r\n").await;
        while stream.peek(&mut buffer).await.unwrap() < 1000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        begun.send(()).unwrap();
        let _ = closed.await;
    });
    let built = RedisBackend::builder().url(&url).connections(1);
    let backend = built.command_timeout(Duration::from_secs(60)).build().await.unwrap();
    let call = |key: &'static str, bytes: usize| {
        let backend = backend.clone();
        let set = async move {
            let value = vec![b'x'; bytes].into();
            backend.set(key, value, codex_traits::SetOptions::new()).await
        };
        tokio::spawn(set)
    };
    // The first request fits into the buffers of the system, the second does not, and the third
    // waits behind it.
    let small = call("small", 10);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let large = call("large", 128 << 20);
    has_begun.await.unwrap();
    let behind = call("behind", 10);
    tokio::time::sleep(Duration::from_millis(100)).await;
    close.send(()).unwrap();
    let small = assert_kind("set", small.await.unwrap(), ErrorKind::Connection);
    assert!(small.may_have_executed(), "{small:?}");
    for unsent in [large, behind] {
        let error = assert_kind("set", unsent.await.unwrap(), ErrorKind::Connection);
        assert!(!error.may_have_executed() && error.is_retryable(), "{error:?}");
    }
}

#[tokio::test]
async fn an_answer_to_nothing_ends_the_connection() {
    let server = Impostor::start(b"$1\r\na\r\n$1\r\nb\r\n", Duration::ZERO).await;
    let built = RedisBackend::builder().url(&server.url).connections(1);
    let backend = built.build().await.unwrap();
    for dials in 1..5 {
        let value = backend.get("k").await.unwrap().unwrap();
        assert_eq!(value, "a", "and not what was left over");
        assert_eq!(server.dials.load(Ordering::SeqCst), dials);
        // The second reply has arrived by then.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts a server that answers a GET with this many bytes, in ten parts over a second. Leaves out
/// the last part unless `whole`.
async fn trickle(bytes: usize, whole: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 1 << 16];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"+OK\r\n+PONG\r\n").await;
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(format!("${bytes}\r\n").as_bytes()).await;
        let part = vec![7; bytes / 10];
        for number in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            if number == 9 && !whole {
                std::future::pending::<()>().await;
            }
            let _ = stream.write_all(&part).await;
        }
        let _ = stream.write_all(b"\r\n").await;
        std::future::pending::<()>().await;
    });
    url
}

#[tokio::test]
async fn a_deadline_moves_on_while_a_large_value_comes_in() {
    let bytes = 20 << 20;
    let url = trickle(bytes, true).await;
    let backend = RedisBackend::builder()
        .url(&url)
        .connections(1)
        .command_timeout(Duration::from_millis(400))
        .build()
        .await;
    let value = backend.unwrap().get("k").await.unwrap().unwrap();
    assert_eq!(value.len(), bytes);
}

#[tokio::test]
async fn a_value_that_stops_coming_in_is_a_timeout() {
    let url = trickle(1000, false).await;
    let backend = RedisBackend::builder()
        .url(&url)
        .connections(1)
        .command_timeout(Duration::from_millis(400))
        .build()
        .await;
    assert_kind("get", backend.unwrap().get("k").await, ErrorKind::Timeout);
}

/// Starts a proxy that passes on the server's bytes one at a time.
async fn byte_by_byte(server: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            client.set_nodelay(true).unwrap();
            let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut buffer = vec![0; 4096];
                while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
                    for byte in &buffer[..read] {
                        if to_client.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_come_a_byte_at_a_time_are_understood() {
    let server = codex_testkit::require!("redis", codex_testkit::redis::RedisServer::start());
    let url = byte_by_byte(server.port()).await;
    for resp in [2, 3] {
        let backend = RedisBackend::connect(&format!(
            "{url}/{resp}?resp={resp}&command_timeout=10s&connect_timeout=10s"
        ))
        .await
        .unwrap();
        for (verb, result) in every_verb(&backend).await {
            result.unwrap_or_else(|error| panic!("{verb}, RESP{resp}: {error}"));
        }
    }
}
