//! Reasons why a server refuses a client: each has its own kind and text, and the text says what to
//! do.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use codex_redis::{RedisBackend, RespVersion};
use codex_testkit::{redis::RedisServer, require, require::Unavailable};
use codex_traits::{ErrorKind, KvBackend};
use support::{SECRET, assert_kind, put, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Starts a server that sends `answer` to every client and closes, before it has read anything or
/// after a first request.
async fn refusing_server(answer: &'static [u8], reads: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if reads {
                let _ = stream.read(&mut [0; 4096]).await;
            }
            let _ = stream.write_all(answer).await;
        }
    });
    address
}

#[tokio::test]
async fn the_reason_is_told_with_what_to_do() {
    use ErrorKind::{Config, Connection, Server};

    let cases: [(&[u8], ErrorKind, bool, &str, &str); 15] = [
        (
            b"-ERR max number of clients reached\r\n",
            Server,
            true,
            "connection limit",
            "maxclients",
        ),
        (
            b"-ERR max number of clients + cluster connections reached\r\n",
            Server,
            true,
            "connection limit",
            "maxclients",
        ),
        (
            b"-DENIED Redis is running in protected mode because protected mode is enabled hunter2\r\n",
            Config,
            false,
            "protected mode",
            "set a password",
        ),
        (
            b"-NOAUTH Authentication required.\r\n",
            Config,
            false,
            "password",
            "RedisBuilder::password",
        ),
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            Server,
            true,
            "LOADING",
            "try again",
        ),
        (
            b"-BUSY Redis is busy running a script\r\n",
            Server,
            true,
            "BUSY",
            "SCRIPT KILL",
        ),
        (
            b"-MASTERDOWN Link with MASTER is down\r\n",
            Server,
            true,
            "MASTERDOWN",
            "primary",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nhunter2\r\n",
            Config,
            false,
            "HTTP",
            "host and port",
        ),
        (
            b"220 hunter2 ESMTP\r\n",
            Config,
            false,
            "Redis protocol",
            "host and port",
        ),
        (&[21, 3, 3, 0, 2, 2, 70], Config, false, "speaks TLS", "rediss://"),
        (&[22, 3, 1, 0, 2, 2, 70], Config, false, "speaks TLS", "rediss://"),
        (b"", Connection, true, "closed the connection", "proxy"),
        (b"+OK\r\n", Connection, true, "closed the connection", "PING"),
        (b"+OK\r\n+PO", Connection, true, "closed the connection", "PING"),
        (
            b"+OK\r\n+PONG\r\n$7\r\nhunter2\r\n",
            Server,
            true,
            "more replies",
            "login",
        ),
    ];
    for (answer, kind, retryable, reason, remedy) in cases {
        for reads in [true, false] {
            let address = refusing_server(answer, reads).await;
            let error = assert_kind(
                &String::from_utf8_lossy(answer),
                RedisBackend::connect(&format!("redis://{address}")).await,
                kind,
            );
            // Without a login, a dial of this URL sends the client's name and a PING.
            let text = error.to_string();
            assert!(text.contains(reason) && text.contains(remedy), "{text}");
            assert_eq!(
                (error.is_retryable(), error.may_have_executed()),
                (retryable, false),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_cannot_save_to_disk_takes_connections() {
    let address = refusing_server(b"+OK\r\n-MISCONF Redis is configured to save RDB snapshots\r\n", true).await;
    RedisBackend::connect(&format!("redis://{address}")).await.unwrap();
}

#[tokio::test]
async fn a_proxy_that_closes_on_a_command_is_told_by_that_command() {
    let address = refusing_server(b"", true).await;
    let builder = || RedisBackend::builder().url(&format!("redis://{address}"));
    for (builder, command, remedy) in [
        (builder().password(SECRET), "AUTH", "resp=2"),
        (builder().resp(RespVersion::Resp3), "HELLO", "resp=2"),
        (builder().database(3), "SELECT", "database 0"),
        (builder(), "CLIENT SETNAME", "client_name"),
        (builder().client_name(None), "PING", "proxy"),
    ] {
        let error = assert_kind(command, builder.build().await, ErrorKind::Connection);
        let text = error.to_string();
        assert!(text.contains(command) && text.contains(remedy), "{text}");
    }
}

#[tokio::test]
async fn an_answer_to_auth_is_told_with_what_to_do() {
    use ErrorKind::{Config, Server};

    for (answer, kind, reason) in [
        (
            &b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"[..],
            Config,
            "refused the user name",
        ),
        (b"-ERR invalid password\r\n", Config, "refused the user name"),
        (
            b"-ERR Client sent AUTH, but no password is set\r\n",
            Config,
            "default user has none",
        ),
        (
            b"-ERR AUTH <password> called without any password configured for the default user. Are you sure?\r\n",
            Config,
            "default user has none",
        ),
        (b"-ERR unknown command 'AUTH'\r\n", Config, "behind a proxy"),
        (
            b"-ERR wrong number of arguments for 'auth' command\r\n",
            Config,
            "no users",
        ),
        (b"-hunter2 hunter2\r\n", Config, "refused the user name"),
        (b"-LOADING Redis is loading\r\n", Server, "LOADING"),
        (b"-ERR max number of clients reached\r\n", Server, "connection limit"),
        (
            b"-DENIED Redis is running in protected mode\r\n",
            Config,
            "protected mode",
        ),
    ] {
        let address = refusing_server(answer, true).await;
        let builder = RedisBackend::builder().url(&format!("redis://{address}"));
        let built = builder.username("app").password(SECRET).build().await;
        let error = assert_kind(&String::from_utf8_lossy(answer), built, kind);
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!error.may_have_executed(), "{error:?}");
    }
}

#[tokio::test]
async fn what_the_login_is_refused_for_is_told() {
    let server = require!("redis", RedisServer::start_with(["--databases", "4"]));
    server
        .command(&["ACL", "SETUSER", "app", "on", ">right", "~*", "+@all", "-select"])
        .unwrap();
    let builder = || RedisBackend::builder().url(&format!("redis://127.0.0.1:{}", server.port()));
    for (builder, reason, remedy) in [
        (
            builder().username("app").password(SECRET),
            "refused the user name or the password",
            "redis-cli",
        ),
        (builder().password(SECRET), "default user has none", "remove it"),
        (builder().database(4), "no database", "databases"),
        (
            builder().username("app").password("right").database(1),
            "may not select",
            "+select",
        ),
    ] {
        let error = assert_kind("connect", builder.build().await, ErrorKind::Config);
        let text = error.to_string();
        assert!(text.contains(reason) && text.contains(remedy), "{text}");
    }
}

#[tokio::test]
async fn a_server_without_room_for_a_connection_says_so() {
    // The fixture holds the only connection.
    let server = require!("redis", RedisServer::start_with(["--maxclients", "1"]));
    server.command(&["PING"]).unwrap();
    let error = assert_kind("connect", RedisBackend::connect(&server.url()).await, ErrorKind::Server);
    assert!(error.to_string().contains("connection limit"), "{error}");
    let lazy = RedisBackend::connect_lazy(&server.url()).unwrap();
    let error = assert_kind("get", lazy.get("k").await, ErrorKind::Server);
    assert!(error.to_string().contains("connection limit"), "{error}");
    server.command(&["CONFIG", "SET", "maxclients", "100"]).unwrap();
    until("there is room", async || lazy.get("k").await.is_ok()).await;
}

#[tokio::test]
async fn a_sentinel_that_refuses_is_told_by_its_own_reason() {
    for (answer, kind, reason) in [
        (
            &b"-ERR max number of clients reached\r\n"[..],
            ErrorKind::Server,
            "connection limit",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind::Config, "speaks HTTP"),
        (
            b"-NOAUTH Authentication required.\r\n",
            ErrorKind::Config,
            "sentinel_password",
        ),
    ] {
        let address = refusing_server(answer, true).await;
        let built = RedisBackend::connect(&format!("redis-sentinel://{address}/main")).await;
        let error = assert_kind(&String::from_utf8_lossy(answer), built, kind);
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_told() {
    for (url, reason) in [
        ("redis://127.0.0.1:1", "nothing listens"),
        ("redis://host.invalid", "could not be resolved"),
        ("unix:///nowhere/redis.sock", "no Unix socket at this path"),
    ] {
        let error = assert_kind(url, RedisBackend::connect(url).await, ErrorKind::Connection);
        assert!(error.to_string().contains(reason), "{error}");
    }
    // A server that accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}?connect_timeout=100ms", silent.local_addr().unwrap());
    let error = assert_kind("connect", RedisBackend::connect(&url).await, ErrorKind::Timeout);
    assert!(error.to_string().contains("did not answer the login"), "{error}");
}

/// Returns a listener on `::1` that does not answer a SYN, because its backlog is full.
async fn black_hole() -> (u16, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v6().unwrap();
    socket.bind("[::1]:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        held.push(stream);
        assert!(held.len() < 64, "the backlog does not fill up");
    }
    (address.port(), listener, held)
}

#[tokio::test]
async fn of_a_name_with_several_addresses_the_one_that_answers_is_used() {
    let names: Vec<_> = tokio::net::lookup_host(("localhost", 0)).await.unwrap().collect();
    // With one family there is no race. Its unit tests have their own addresses.
    let two_families = names.iter().any(SocketAddr::is_ipv6) && names.iter().any(SocketAddr::is_ipv4);
    let two_families = if two_families {
        Ok(())
    } else {
        Err(Unavailable::new("`localhost` has addresses of one family only"))
    };
    require!("dual-stack", two_families);
    let (port, _listener, _held) = black_hole().await;
    let server = RedisServer::start_with(["--port".to_owned(), port.to_string()]);
    let server = require!("redis", server);
    let start = Instant::now();
    let backend = RedisBackend::connect(&format!("redis://localhost:{port}"))
        .await
        .unwrap();
    put(&backend, "k", "v").await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    drop(server);
}
