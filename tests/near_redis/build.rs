//! Tests of servers that cannot track and of settings out of range.

use std::time::Duration;

use codex_kv::{BackendError, ErrorKind, KvBackend, NearBackend, redis::RedisBackend};
use codex_testkit::{redis::RedisServer, require};

async fn refused(url: &str) -> BackendError {
    let redis = RedisBackend::connect(url).await.unwrap();
    NearBackend::builder(redis).build().await.unwrap_err()
}

#[tokio::test]
async fn near_12_missing_rights_are_named() {
    let server = require!("redis", RedisServer::start());
    for (user, rights, missing) in [
        ("a", "+@all -client|tracking", "grant `+client|tracking`"),
        ("b", "+@all -client|trackinginfo", "grant `+client|trackinginfo`"),
        ("c", "+@all -set", "grant `+set +unlink"),
        ("d", "+@all -get", "grant `+get`"),
        ("f", "+@all -pttl", "grant `+pttl`"),
    ] {
        let mut command = vec!["ACL", "SETUSER", user, "on", ">secret", "~*", "resetchannels"];
        command.extend(rights.split(' '));
        server.command(&command).unwrap();
        let url = format!("redis://{user}:secret@127.0.0.1:{}", server.port());
        let error = refused(&url).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(missing), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    // These permissions suffice.
    let rights = "ACL SETUSER e on >secret ~* resetchannels +client|tracking +client|trackinginfo +client|setname +get +pttl \
                  +ping +hello +set +unlink +multi +exec";
    server.command(&rights.split(' ').collect::<Vec<_>>()).unwrap();
    let redis = RedisBackend::connect(&format!("redis://e:secret@127.0.0.1:{}", server.port())).await;
    let near = NearBackend::builder(redis.unwrap()).build().await.unwrap();
    assert_eq!(near.get("k").await.unwrap(), None);
}

#[tokio::test]
async fn near_12_a_replica_is_refused() {
    let server = require!("redis", RedisServer::start());
    let replica = require!("redis", RedisServer::start());
    let port = server.port().to_string();
    replica.command(&["REPLICAOF", "127.0.0.1", &port]).unwrap();
    let error = refused(&replica.url()).await;
    assert!(error.to_string().contains("the server is a replica"), "{error}");
}

#[tokio::test]
async fn settings_out_of_range_are_refused() {
    let redis = || RedisBackend::connect_lazy("redis://127.0.0.1:1").unwrap();
    for builder in [
        NearBackend::builder(redis()).max_staleness(Duration::from_millis(49)),
        NearBackend::builder(redis()).max_staleness(Duration::from_secs(3601)),
        NearBackend::builder(redis()).max_bytes(0),
    ] {
        assert_eq!(builder.build().await.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn a_url_gives_a_near_cache() {
    let server = require!("redis", RedisServer::start());
    let url = format!("{}?near=1%4DiB&near_staleness=500ms&connections=1", server.url());
    let backend = codex_kv::connect(&url).await.unwrap();
    assert_eq!(backend.get("k").await.unwrap(), None);
    assert_eq!(backend.get("k").await.unwrap(), None);
    let shown = format!("{backend:?}");
    assert!(shown.contains("NearBackend") && shown.contains("hits: 1"), "{shown}");
    assert_eq!(codex_kv::connect_lazy(&url).unwrap_err().kind(), ErrorKind::Config);
}
