//! RESP3, on servers that speak it and servers that do not. `conformance.rs` runs the whole suite
//! in RESP3.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::time::Duration;

use bytes::Bytes;
use codex_redis::{RedisBackend, RespVersion};
use codex_testkit::{
    redis::{RedisCluster, RedisServer, Value},
    require,
};
use codex_traits::{ErrorKind, Expiry, KvBackend, KvBackendExt, OnMissing, Pattern, SetOptions};
use futures_util::TryStreamExt;

/// Returns the versions that connections with our name speak, as reported by the server.
fn spoken(server: &RedisServer) -> Vec<String> {
    let Value::BulkString(clients) = server.command(&["CLIENT", "LIST"]).unwrap() else {
        panic!("CLIENT LIST answers with a text");
    };
    let clients = String::from_utf8(clients).unwrap();
    let ours = clients.lines().filter(|client| client.contains("name=codex-kv "));
    let version = |client: &str| {
        client
            .split(' ')
            .find_map(|field| field.strip_prefix("resp="))
            .map(str::to_owned)
    };
    ours.filter_map(version).collect()
}

#[tokio::test]
async fn the_version_is_that_of_the_settings_and_2_without_any() {
    let server = require!("redis", RedisServer::start());
    for (settings, expected) in [
        (RedisBackend::builder().url(&server.url()), "2"),
        (RedisBackend::builder().url(&server.url()).resp(RespVersion::Resp3), "3"),
        (RedisBackend::builder().url(&format!("{}?resp=3", server.url())), "3"),
    ] {
        let backend = settings.build().await.unwrap();
        let outcome = backend
            .set("key", Bytes::from_static(b"value"), SetOptions::new())
            .await;
        assert!(outcome.unwrap().is_written());
        assert_eq!(backend.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(backend.get("missing").await.unwrap(), None);
        let spoken = spoken(&server);
        assert!(
            !spoken.is_empty() && spoken.iter().all(|version| version == expected),
            "{expected}: {spoken:?}"
        );
        drop(backend);
        // The server needs a moment to see that its connections are gone.
        while !self::spoken(&server).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn with_a_password_and_a_database_it_is_logged_in_first() {
    let server = require!("redis", RedisServer::start_with(["--requirepass", "hunter2hunter2"]));
    let address = format!("127.0.0.1:{}", server.port());
    let backend = RedisBackend::connect(&format!("redis://:hunter2hunter2@{address}/3?resp=3"))
        .await
        .unwrap();
    assert_eq!(
        backend.incr("n", 1, OnMissing::Create(Expiry::Never)).await.unwrap(),
        Some(1)
    );
    for url in [
        format!("redis://{address}?resp=3"),
        format!("redis://:wronghunter2@{address}?resp=3"),
    ] {
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(
            error.to_string().contains("password") && !format!("{error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_speak_it_is_an_error_of_the_settings() {
    let without_hello = ["--requirepass", "hunter2hunter2", "--rename-command", "HELLO", ""];
    let server = require!("redis", RedisServer::start_with(without_hello));
    let url = format!("redis://:hunter2hunter2@127.0.0.1:{}", server.port());
    RedisBackend::connect(&url).await.unwrap();
    let error = RedisBackend::connect(&format!("{url}?resp=3")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("refused RESP3"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_cluster_is_found_and_walked_in_it() {
    let cluster = require!("redis", RedisCluster::lease());
    let settings = RedisBackend::builder().url(&cluster.url()).resp(RespVersion::Resp3);
    let backend = settings.command_timeout(Duration::from_secs(10)).build().await.unwrap();
    let names: Vec<String> = (0..100).map(|number| format!("key {number}")).collect();
    let entries: Vec<(&str, Bytes)> = names.iter().map(|name| (&**name, Bytes::from_static(b"1"))).collect();
    backend.set_many(&entries, Expiry::Never).await.unwrap();
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = backend.get_many(&keys).await.unwrap();
    assert!(values.iter().all(|value| value.as_deref() == Some(b"1")));
    assert_eq!(backend.incr("key 0", 2, OnMissing::Refuse).await.unwrap(), Some(3));
    let pattern = Pattern::prefix("key ");
    let mut found: Vec<String> = backend.scan_all(&pattern).try_collect().await.unwrap();
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 100);
    backend.health().await.unwrap();
    assert_eq!(backend.del_matching(&pattern).await.unwrap(), 100);
}
