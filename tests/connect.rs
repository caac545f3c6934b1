//! Tests of `connect` with valid and invalid URLs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use codex_kv::{AnyBackend, ErrorKind, KvBackend, SetOptions, connect};

/// Returns the error of an invalid URL, and asserts that its texts show no part of the URL's login.
async fn refused(url: &str) -> String {
    let error = connect(url).await.expect_err("the URL is no good");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert_eq!(error.operation(), "connect");
    assert!(!error.may_have_executed());
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("alice"), "{text}");
    }
    error.to_string()
}

async fn round_trip(backend: &AnyBackend) {
    let outcome = backend.set("k", "v".into(), SetOptions::new()).await.unwrap();
    assert!(outcome.is_written());
    assert_eq!(backend.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[tokio::test]
async fn memory_is_a_store_of_its_own() {
    let backend = connect("memory://").await.unwrap();
    round_trip(&backend).await;
    assert_eq!(connect("memory://").await.unwrap().get("k").await.unwrap(), None);
}

#[tokio::test]
async fn a_redis_is_reached_over_tcp_and_unix_socket() {
    let database = codex_testkit::require!("redis", codex_testkit::redis::Database::lease());
    round_trip(&connect(&database.url()).await.unwrap()).await;
    if let Some(url) = database.unix_url() {
        database.flush().unwrap();
        round_trip(&connect(&url).await.unwrap()).await;
    }
}

#[tokio::test]
async fn a_lazy_backend_needs_no_server_at_the_start() {
    round_trip(&codex_kv::connect_lazy("memory://").unwrap()).await;
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let backend = codex_kv::connect_lazy(&format!("redis://127.0.0.1:{port}")).unwrap();
    let error = backend.get("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    for url in [
        "redis://",
        "http://x",
        "localhost",
        "redis://h?socket_timeout=5",
        "memory://x",
    ] {
        let error = codex_kv::connect_lazy(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
    }
    let database = codex_testkit::require!("redis", codex_testkit::redis::Database::lease());
    round_trip(&codex_kv::connect_lazy(&database.url()).unwrap()).await;
}

#[tokio::test]
async fn a_scheme_has_no_case_and_valkey_is_redis() {
    round_trip(&connect("Memory://").await.unwrap()).await;
    let database = codex_testkit::require!("redis", codex_testkit::redis::Database::lease());
    let tcp = database.url();
    for url in [
        tcp.replace("redis://", "REDIS://"),
        tcp.replace("redis://", "valkey://"),
        // A password that was not set.
        tcp.replace("redis://", "redis://:@"),
        format!("{tcp}?client_name=a@b"),
    ] {
        round_trip(&connect(&url).await.unwrap()).await;
    }
    let unix = database.unix_url().unwrap_or_default();
    for url in ["unix", "UNIX", "valkey+unix"].map(|scheme| unix.replace("redis+unix", scheme)) {
        if !unix.is_empty() {
            round_trip(&connect(&url).await.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn a_setting_of_another_client_is_refused_with_ours_beside_it() {
    for (url, expected) in [
        ("redis://localhost?socket_timeout=5", "command_timeout=5s"),
        ("valkey://localhost/0?SOCKET_CONNECT_TIMEOUT=2", "connect_timeout=2s"),
        ("unix:///run/redis.sock?password=hunter2", "user:password@"),
        ("redis+sentinel://alice:hunter2@localhost/main", "redis-sentinel://"),
    ] {
        assert!(refused(url).await.contains(expected), "{url}");
    }
}

#[tokio::test]
async fn an_unknown_scheme_is_told_which_there_are() {
    for url in [
        "",
        "redis",
        "localhost:6379",
        "http://alice:hunter2@localhost",
        "REDIS:/x",
        "memcache://x",
    ] {
        let message = refused(url).await;
        assert!(
            message.contains("memory://, redis://, rediss://, redis+unix://, redis-sentinel:// or redis-cluster://"),
            "{url}: {message}"
        );
    }
}

#[tokio::test]
async fn memory_takes_nothing_behind_it() {
    assert!(refused("memory://alice:hunter2").await.contains("nothing behind it"));
}

#[tokio::test]
async fn a_bad_port_is_told_what_a_port_is() {
    for url in [
        "redis://localhost:99999",
        "redis://localhost:0",
        "redis://alice:hunter2@localhost:x",
        "redis://localhost:-1/0",
    ] {
        assert!(refused(url).await.contains("port"), "{url}");
    }
}

#[tokio::test]
async fn a_missing_host_is_told_where_it_goes() {
    for url in [
        "redis://",
        "redis://:6379",
        "redis://alice:hunter2@",
        "redis://alice:hunter2@:6379/0",
    ] {
        assert!(refused(url).await.contains("host"), "{url}");
    }
    assert!(refused("redis+unix://alice:hunter2@").await.contains("path"));
}

#[tokio::test]
async fn a_bad_database_is_told_that_it_is_a_number() {
    for url in [
        "redis://localhost/x",
        "redis://alice:hunter2@localhost/-1",
        "redis+unix:///s.sock?db=x",
    ] {
        assert!(refused(url).await.contains("database"), "{url}");
    }
}

#[tokio::test]
async fn a_redis_that_is_down_is_a_connection_error() {
    // Bound and dropped, so that no server listens on the port.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = connect(&format!("redis://alice:hunter2@127.0.0.1:{port}"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[tokio::test]
async fn rediss_speaks_tls() {
    let error = connect("rediss://alice:hunter2@127.0.0.1:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}
