//! Connecting: without a server at the start, with changing credentials and certificates, and with
//! servers whose addresses are translated.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_redis::{Credentials, RedisBackend};
use codex_testkit::{
    redis::{RedisCluster, RedisSentinel, RedisServer, Value},
    require,
};
use codex_traits::{ErrorKind, KvBackend};
use support::{SECRET, assert_kind, put, until};

async fn comes_up(backend: &RedisBackend) {
    until("the handle works", async || backend.get("k").await.is_ok()).await;
    put(backend, "k", "v").await;
    assert_eq!(backend.get("k").await.unwrap().unwrap(), "v");
}

#[test]
fn a_lazy_handle_needs_neither_a_server_nor_a_runtime() {
    let server = require!("redis", RedisServer::start());
    server.kill();
    let url = server.url();
    let lazy = format!("{url}?lazy=true");
    let handle = RedisBackend::connect_lazy(&url).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let by_url = RedisBackend::connect(&lazy).await.unwrap();
        let by_builder = RedisBackend::builder().url(&url).lazy(true).build().await.unwrap();
        assert_kind("connect", RedisBackend::connect(&url).await, ErrorKind::Connection);
        for handle in [&handle, &by_url, &by_builder] {
            let error = assert_kind("get", handle.get("k").await, ErrorKind::Connection);
            assert!(!error.may_have_executed());
        }
        server.restart();
        for handle in [&handle, &by_url, &by_builder] {
            comes_up(handle).await;
        }
    });
    let error = RedisBackend::connect_lazy("redis://h?connections=0").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn what_is_wrong_with_the_settings_is_told_by_the_first_call_of_a_lazy_handle() {
    let server = require!("redis", RedisServer::start_with(["--requirepass", SECRET]));
    for url in [server.url(), server.url().replace("redis://", "redis://:wrong@")] {
        let handle = RedisBackend::connect_lazy(&url).unwrap();
        let error = assert_kind("get", handle.get("k").await, ErrorKind::Server);
        assert!(error.to_string().contains("password"), "{error}");
        assert!(!error.may_have_executed());
    }
}

#[tokio::test]
async fn a_lazy_handle_finds_a_cluster_and_a_primary() {
    let cluster = require!("redis", RedisCluster::lease());
    let handle = RedisBackend::builder()
        .url(&cluster.url())
        .command_timeout(Duration::from_secs(10))
        .build_lazy()
        .unwrap();
    // The first call does not know any slot yet.
    put(&handle, "k", "v").await;
    let many = handle.get_many(&["k", "l", "m"]).await.unwrap();
    assert_eq!(many[0].as_deref(), Some(&b"v"[..]));
    let down = RedisBackend::connect_lazy("redis-cluster://127.0.0.1:1,127.0.0.1:2").unwrap();
    for error in [
        down.get("k").await.unwrap_err(),
        down.get_many(&["k", "l"]).await.unwrap_err(),
    ] {
        assert!(!error.may_have_executed(), "{error:?}");
    }

    let fixture = require!("redis", RedisSentinel::start_patient());
    comes_up(&RedisBackend::connect_lazy(&fixture.url()).unwrap()).await;
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_login() {
    let server = require!("redis", RedisServer::start());
    let set_password = |password: &str| {
        let rules = [
            "ACL",
            "SETUSER",
            "app",
            "resetpass",
            &format!(">{password}"),
            "on",
            "~*",
            "+@all",
        ];
        server.command(&rules).unwrap();
    };
    set_password("first-hunter2");
    let current = Arc::new(Mutex::new(Some("first-hunter2")));
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = {
        let (current, asked) = (current.clone(), asked.clone());
        move || {
            asked.fetch_add(1, Ordering::SeqCst);
            let password = *current.lock().unwrap();
            async move { Ok(Credentials::new("app", password.ok_or("the vault is sealed")?)) }
        }
    };
    let builder = RedisBackend::builder().url(&server.url()).connections(1);
    let backend = builder.credentials(provider).build().await.unwrap();
    assert!(!format!("{backend:?}").contains(SECRET));
    put(&backend, "k", "v").await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    set_password("second-hunter2");
    *current.lock().unwrap() = Some("second-hunter2");
    let cut = || server.command(&["CLIENT", "KILL", "USER", "app"]).unwrap();
    assert_eq!(cut(), Value::Int(1));
    comes_up(&backend).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    *current.lock().unwrap() = None;
    cut();
    // The first call may still use the cut connection.
    let mut error = backend.get("k").await.unwrap_err();
    while !error.to_string().contains("credentials provider") {
        error = backend.get("k").await.unwrap_err();
    }
    assert!(!error.may_have_executed());
    assert!(error.is_retryable());
    *current.lock().unwrap() = Some("second-hunter2");
    comes_up(&backend).await;
}

#[tokio::test]
async fn a_provider_that_panics_fails_the_dial() {
    let server = require!("redis", RedisServer::start());
    let asked = Arc::new(AtomicUsize::new(0));
    let provider = {
        let asked = Arc::clone(&asked);
        move || {
            let earlier = asked.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(earlier == usize::MAX, "the provider has a bug");
                Ok(Credentials::password(SECRET))
            }
        }
    };
    let builder = RedisBackend::builder().url(&server.url()).connections(1);
    let built = tokio::time::timeout(Duration::from_secs(20), builder.credentials(provider).build()).await;
    let error = assert_kind("connect", built.unwrap(), ErrorKind::Connection);
    assert!(error.to_string().contains("panicked"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_empty_password_without_a_user_is_no_login() {
    let server = require!("redis", RedisServer::start());
    let builder = || RedisBackend::builder().tcp("127.0.0.1", server.port());
    builder().password("").build().await.unwrap();
    builder().username("").password("").build().await.unwrap();
    let empty = || async { Ok(Credentials::password("")) };
    builder().credentials(empty).build().await.unwrap();
}

#[tokio::test]
async fn a_provider_that_never_answers_ends_with_the_dial() {
    let server = require!("redis", RedisServer::start());
    let builder = RedisBackend::builder()
        .url(&server.url())
        .connect_timeout(Duration::from_millis(100));
    let built = builder.credentials(std::future::pending).build().await;
    assert_kind("connect", built, ErrorKind::Timeout);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_files_are_read_at_each_dial() {
    use codex_testkit::redis::Certificates;

    let (own, stranger) = (
        require!("redis", Certificates::new()),
        require!("redis", Certificates::new()),
    );
    let insisting = ["--tls-auth-clients", "yes"];
    let server = require!("redis", RedisServer::start_with_tls(&own, insisting));
    let folder = std::env::temp_dir().join(format!("codex-redis-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |certificates: &Certificates| {
        std::fs::write(folder.join("ca.pem"), certificates.authority()).unwrap();
        std::fs::write(folder.join("client.pem"), certificates.client_certificate()).unwrap();
        std::fs::write(folder.join("client.key"), certificates.client_key()).unwrap();
    };
    write(&stranger);
    let path = folder.display();
    let url = format!(
        "rediss://localhost:{}?lazy=true&tls_ca_file={path}/ca.pem&tls_cert_file={path}/client.pem&tls_key_file={path}/client.key",
        server.tls_port().unwrap()
    );
    let backend = RedisBackend::connect(&url).await.unwrap();
    let error = assert_kind("get", backend.get("k").await, ErrorKind::Server);
    assert!(error.to_string().contains("certificate"), "{error}");
    write(&own);
    comes_up(&backend).await;
    // A certificate and a key that do not match, as during a renewal.
    std::fs::write(folder.join("client.key"), stranger.client_key()).unwrap();
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]).ok();
    until("the files do not match", async || backend.get("k").await.is_err()).await;
    write(&own);
    comes_up(&backend).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Returns how often the name occurs in the value.
fn names(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => usize::from(bytes == b"node.invalid"),
        Value::Array(items) => items.iter().map(names).sum(),
        _ => 0,
    }
}

#[tokio::test]
async fn the_addresses_that_a_cluster_states_are_translated() {
    let cluster = require!("redis", RedisCluster::start());
    // A name that no resolver knows. The nodes announce it to clients and do not use it themselves.
    for node in cluster.masters().iter().chain(cluster.replicas()) {
        for (setting, value) in [
            ("cluster-announce-hostname", "node.invalid"),
            ("cluster-preferred-endpoint-type", "hostname"),
        ] {
            node.command(&["CONFIG", "SET", setting, value]).unwrap();
        }
    }
    until("every node is stated by that name", async || {
        cluster.masters().iter().all(|node| {
            let slots = node.command(&["CLUSTER", "SLOTS"]).unwrap();
            names(&slots) == 6
        })
    })
    .await;
    let ports = cluster
        .masters()
        .iter()
        .chain(cluster.replicas())
        .map(RedisServer::port);
    let pairs: Vec<String> = ports
        .map(|port| format!("node.invalid:{port}>127.0.0.1:{port}"))
        .collect();
    let by_url = format!("{}?address_map={}", cluster.url(), pairs.join(","));
    let by_builder = RedisBackend::builder()
        .url(&cluster.url())
        .address_map(|host, port| (host == "node.invalid").then(|| ("127.0.0.1".to_owned(), port)));
    for builder in [RedisBackend::builder().url(&by_url), by_builder] {
        let backend = builder.command_timeout(Duration::from_secs(10)).build().await.unwrap();
        let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
        for key in &keys {
            put(&backend, key, "v").await;
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        assert!(backend.get_many(&keys).await.unwrap().iter().all(Option::is_some));
        assert_eq!(backend.del(&keys).await.unwrap(), 30);
    }
}

#[tokio::test]
async fn the_address_that_sentinels_state_is_translated() {
    let fixture = require!("redis", RedisSentinel::start_patient());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let backend = RedisBackend::builder()
        .url(&fixture.url())
        .address_map(move |host, port| {
            counter.fetch_add(1, Ordering::SeqCst);
            (host == "127.0.0.1").then(|| ("localhost".to_owned(), port))
        })
        .build()
        .await
        .unwrap();
    put(&backend, "k", "v").await;
    assert!(asked.load(Ordering::SeqCst) > 0);
}
