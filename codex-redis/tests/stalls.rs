//! Connections that stall, lie or close, beyond the clauses life-12 to life-15 for every backend.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_redis::{RedisBackend, RedisBuilder};
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, SetOptions};
use support::assert_kind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const TIMEOUT: Duration = Duration::from_millis(300);

/// Far longer than a busy machine exceeds a deadline by, and far shorter than a wait without a
/// deadline.
const LATE: Duration = Duration::from_secs(3);

/// Starts a server that accepts every login and then runs `play` with the number of the connection.
async fn server<F>(play: impl Fn(usize, TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let _ = stream.read(&mut buffer).await;
            let _ = stream.write_all(b"+OK\r\n+PONG\r\n").await;
            tokio::spawn(play(number, stream));
            number += 1;
        }
    });
    url
}

fn builder(url: &str) -> RedisBuilder {
    RedisBackend::builder().url(url).connections(1).command_timeout(TIMEOUT)
}

/// Answers each packet with `+OK`.
async fn agree(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(1..) = stream.read(&mut buffer).await {
        if stream.write_all(b"+OK\r\n").await.is_err() {
            return;
        }
    }
}

/// Reads and never answers.
async fn swallow(mut stream: TcpStream) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(1..) = stream.read(&mut buffer).await {}
}

async fn set(backend: &RedisBackend) -> codex_traits::Result<()> {
    backend.set("k", "v".into(), SetOptions::new()).await.map(drop)
}

async fn set_of(backend: RedisBackend, bytes: usize) {
    let value = Bytes::from(vec![b'x'; bytes]);
    let _ = backend.set("large", value, SetOptions::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_13_transfer_timeout_caps_what_large_data_adds() {
    let url = server(|_, stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let backend = builder(&url)
        .transfer_timeout(Duration::from_millis(500))
        .build()
        .await
        .unwrap();
    let start = Instant::now();
    set_of(backend, 64 << 20).await;
    assert!(
        start.elapsed() < Duration::from_millis(500) + LATE,
        "{:?}",
        start.elapsed()
    );
}

/// Returns a backend whose server answers with `head`, and then with `item` endlessly.
async fn endless(head: &'static str, item: &'static str) -> RedisBackend {
    let url = server(move |_, mut stream| async move {
        let mut buffer = vec![0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(head.as_bytes()).await;
        let items = item.repeat(1 << 14);
        while stream.write_all(items.as_bytes()).await.is_ok() {}
    })
    .await;
    bounded(&url).await
}

/// Returns a backend that accepts replies of up to 8 MiB.
async fn bounded(url: &str) -> RedisBackend {
    let built = builder(url)
        .command_timeout(Duration::from_secs(20))
        .max_reply_bytes(8 << 20);
    built.build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_14_the_error_of_a_reply_that_is_too_long_names_the_setting() {
    for (head, item) in [
        ("*1000000000\r\n", ":1\r\n"),
        ("*180000\r\n", ":1\r\n"),
        ("$9000000\r\n", "xxxxxxxx"),
    ] {
        let error = endless(head, item).await.get("k").await.unwrap_err();
        assert!(
            error.to_string().contains("max_reply_bytes"),
            "{head:?} {item:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn life_14_a_reply_within_the_bound_is_an_answer() {
    let url = server(|_, mut stream| async move {
        let mut buffer = vec![0; 4096];
        while let Ok(1..) = stream.read(&mut buffer).await {
            let _ = stream
                .write_all(format!("$7000000\r\n{}\r\n", "x".repeat(7_000_000)).as_bytes())
                .await;
        }
    })
    .await;
    let backend = bounded(&url).await;
    // One value after another, each dropped before the next.
    for _ in 0..5 {
        assert_eq!(backend.get("k").await.unwrap().unwrap().len(), 7_000_000);
    }
}

#[tokio::test]
async fn life_14_a_value_of_exactly_the_bound_is_an_answer() {
    const BOUND: usize = 64 << 10;
    let (url, _) = answering(|word| {
        let value = format!("${BOUND}\r\n{}\r\n", "x".repeat(BOUND));
        let reply = if word == "MGET" {
            format!("*1\r\n{value}")
        } else {
            value
        };
        Some((Duration::ZERO, reply))
    })
    .await;
    let backend = builder(&url).max_reply_bytes(BOUND).build().await.unwrap();
    assert_eq!(backend.get("k").await.unwrap().unwrap().len(), BOUND);
    let values = backend.get_many(&["k"]).await.unwrap();
    assert_eq!(values[0].as_ref().unwrap().len(), BOUND);
}

#[tokio::test]
async fn bytes_that_are_no_resp_are_called_that() {
    let url = server(|_, mut stream| async move {
        let mut buffer = vec![0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let backend = builder(&url).build().await.unwrap();
    let error = assert_kind("get", backend.get("k").await, ErrorKind::Connection);
    assert!(error.to_string().contains("not valid RESP"), "{error}");
}

/// Starts a server that answers each command by its first word.
async fn answering(
    answer: impl Fn(&str) -> Option<(Duration, String)> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (seen.clone(), Arc::new(answer));
    let url = server(move |_, mut stream| {
        let (log, answer) = (log.clone(), answer.clone());
        async move {
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let mut lines = text.split("\r\n");
                // The commands of these tests are sent one at a time.
                let word = lines.nth(2).unwrap_or_default().to_owned();
                log.lock().unwrap().push(word.clone());
                let Some((delay, reply)) = answer(&word) else { return };
                tokio::time::sleep(delay).await;
                if stream.write_all(reply.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (url, seen)
}

#[tokio::test]
async fn a_count_that_is_impossible_is_an_error() {
    let many: Vec<String> = (0..999).map(|key| format!("key{key}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for count in [2, 1000, i64::MAX, -1] {
        let (url, _) = answering(move |_| Some((Duration::ZERO, format!(":{count}\r\n")))).await;
        let backend = builder(&url).build().await.unwrap();
        assert_kind("del", backend.del(&["k"]).await, ErrorKind::Server);
        if count != 2 {
            assert_kind("del", backend.del(&many).await, ErrorKind::Server);
        }
        assert_kind("expire", backend.expire("k", Expiry::Keep).await, ErrorKind::Server);
        let second = Expiry::After(Duration::from_secs(1));
        assert_kind("expire", backend.expire("k", second).await, ErrorKind::Server);
        assert_kind(
            "del_if_equals",
            backend.del_if_equals("k", b"v").await,
            ErrorKind::Server,
        );
    }
}

#[tokio::test]
async fn an_answer_that_the_command_cannot_give_is_an_error() {
    let (url, _) = answering(|_| Some((Duration::ZERO, "$-1\r\n".to_owned()))).await;
    let backend = builder(&url).build().await.unwrap();
    assert_kind("set", set(&backend).await, ErrorKind::Server);
    let create = OnMissing::Create(Expiry::Never);
    assert_kind("incr", backend.incr("k", 1, create).await, ErrorKind::Server);
    let create = OnMissing::Create(Expiry::After(Duration::from_secs(1)));
    assert_kind("incr", backend.incr("k", 1, create).await, ErrorKind::Server);
    assert_kind(
        "set_many",
        backend.set_many(&[("k", "v".into())], Expiry::Never).await,
        ErrorKind::Server,
    );
    assert_kind("get_many", backend.get_many(&["k"]).await, ErrorKind::Server);
    assert_kind("ttl", backend.ttl("k").await, ErrorKind::Server);
    let absent = backend.set("k", "v".into(), SetOptions::if_absent()).await;
    assert!(!absent.unwrap().is_written());
    assert_eq!(backend.incr("k", 1, OnMissing::Refuse).await.unwrap(), None);
}

#[tokio::test]
async fn one_verb_has_one_deadline_with_a_script_that_is_new_too() {
    let (url, _) = answering(|word| match word {
        "EVALSHA" => Some((TIMEOUT * 8 / 10, "-NOSCRIPT No matching script.\r\n".to_owned())),
        _ => Some((Duration::from_secs(60), String::new())),
    })
    .await;
    let backend = builder(&url)
        .command_timeout(Duration::from_secs(1))
        .build()
        .await
        .unwrap();
    let start = Instant::now();
    let equal = SetOptions::new().with_condition(Condition::IfEquals("v".into()));
    assert_kind("set", backend.set("k", "w".into(), equal).await, ErrorKind::Timeout);
    let taken = start.elapsed();
    assert!(
        taken >= Duration::from_millis(950) && taken < Duration::from_secs(1) + TIMEOUT * 7 / 10,
        "{taken:?}"
    );
}

/// Connects to a server that returns the pages of a scan by their number, each after `delay`.
async fn pages(delay: Duration, page: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> RedisBackend {
    let number = AtomicUsize::new(0);
    let (url, _) = answering(move |word| {
        assert_eq!(word, "SCAN", "no page names a key");
        let page = page(number.fetch_add(1, Ordering::SeqCst));
        Some(page.map_or((Duration::from_secs(60), String::new()), |cursor| {
            (delay, format!("*2\r\n${}\r\n{cursor}\r\n*0\r\n", cursor.len()))
        }))
    })
    .await;
    builder(&url)
        .command_timeout(Duration::from_secs(1))
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn del_matching_has_a_deadline_for_each_page() {
    let all = codex_traits::Pattern::all();
    let start = Instant::now();
    let slow = pages(Duration::from_millis(450), |number| {
        Some(((number + 1) % 4).to_string())
    })
    .await;
    assert_eq!(slow.del_matching(&all).await.unwrap(), 0);
    assert!(start.elapsed() > Duration::from_millis(1700), "{:?}", start.elapsed());
    let start = Instant::now();
    let stalled = pages(Duration::ZERO, |number| (number < 3).then(|| (number + 1).to_string())).await;
    assert_kind("del_matching", stalled.del_matching(&all).await, ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(1) + LATE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn del_matching_ends_where_a_scan_goes_round_in_a_circle() {
    for round in [1, 2, 3, 100] {
        let backend = pages(Duration::ZERO, move |number| Some((number % round + 1).to_string())).await;
        let all = codex_traits::Pattern::all();
        let removed = tokio::time::timeout(Duration::from_secs(20), backend.del_matching(&all));
        let error = assert_kind("del_matching", removed.await.unwrap(), ErrorKind::Server);
        assert!(error.to_string().contains("never end"), "{error}");
    }
}

#[tokio::test]
async fn a_read_on_a_connection_that_the_server_has_closed_is_sent_again_once() {
    let closes = Arc::new(AtomicUsize::new(1));
    let left = closes.clone();
    let (url, seen) = answering(move |word| {
        if left.load(Ordering::SeqCst) > 0 {
            left.fetch_sub(1, Ordering::SeqCst);
            return None;
        }
        Some((
            Duration::ZERO,
            if word == "GET" { "$1\r\nv\r\n" } else { "+OK\r\n" }.to_owned(),
        ))
    })
    .await;
    let backend = builder(&url)
        .command_timeout(Duration::from_secs(5))
        .build()
        .await
        .unwrap();
    assert_eq!(backend.get("k").await.unwrap().unwrap(), "v");
    assert_eq!(*seen.lock().unwrap(), ["GET", "GET"]);
    // A write is not sent again.
    closes.store(1, Ordering::SeqCst);
    let error = assert_kind("set", set(&backend).await, ErrorKind::Connection);
    assert!(error.may_have_executed());
    // A read is sent again only once.
    closes.store(2, Ordering::SeqCst);
    assert_kind("get", backend.get("k").await, ErrorKind::Connection);
    assert_eq!(closes.load(Ordering::SeqCst), 0);
    assert_eq!(*seen.lock().unwrap(), ["GET", "GET", "SET", "GET", "GET"]);
}

#[tokio::test]
async fn a_read_whose_reply_had_begun_is_not_sent_again() {
    let url = server(|_, mut stream| async move {
        let mut buffer = vec![0; 4096];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"$100\r\nhalf").await;
    })
    .await;
    let backend = builder(&url).build().await.unwrap();
    assert_kind("get", backend.get("k").await, ErrorKind::Connection);
}

#[test]
fn life_15_calls_of_a_runtime_that_is_not_driven_hold_up_no_other() {
    let current = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (current(), current());
    let server_runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let url = server_runtime.block_on(server(|number, stream| async move {
        if number == 0 {
            swallow(stream).await;
        } else {
            agree(stream).await;
        }
    }));
    let backend = first
        .block_on(async { builder(&url).max_in_flight(1).build().await })
        .unwrap();
    // The call holds the only permit of its runtime, which is then not driven.
    let held = backend.clone();
    first.spawn(async move { set(&held).await });
    first.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    second.block_on(set(&backend)).unwrap();
}

#[test]
fn idle_connections_of_another_runtime_are_not_used_after_a_stall() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    };
    let (first, second) = (runtime(), runtime());
    // The first connection of each runtime is cut silently, and never closed.
    let url = first.block_on(server(|number, stream| async move {
        if number < 2 {
            answer_once_and_swallow(stream).await;
        } else {
            agree(stream).await;
        }
    }));
    let backend = first.block_on(async { builder(&url).timeouts_before_redial(1).build().await.unwrap() });
    first.block_on(set(&backend)).unwrap();
    second.block_on(set(&backend)).unwrap();
    assert_kind("set", first.block_on(set(&backend)), ErrorKind::Timeout);
    // Repeat until the stalled connection has ended.
    first.block_on(async { while set(&backend).await.is_err() {} });
    second.block_on(set(&backend)).unwrap();
}

#[tokio::test]
async fn a_connection_whose_every_reply_is_late_is_replaced() {
    // As if the first reply had been lost: each request gets the reply to the request after it.
    let url = server(|number, mut stream| async move {
        let mut buffer = vec![0; 4096];
        if number == 0 {
            let _ = stream.read(&mut buffer).await;
        }
        agree(stream).await;
    })
    .await;
    let backend = builder(&url).build().await.unwrap();
    let start = Instant::now();
    while set(&backend).await.is_err() {
        assert!(start.elapsed() < TIMEOUT * 30, "no call is answered any more");
    }
}

async fn answer_once_and_swallow(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    let _ = stream.read(&mut buffer).await;
    let _ = stream.write_all(b"+OK\r\n").await;
    swallow(stream).await;
}
