//! Tests that stores that cannot track are refused when the near cache is built.

use codex_kv::{ErrorKind, near::NearBackend, redis::RedisBackend};
use codex_testkit::{redis::RedisServer, require};

/// Returns the error of building a near cache as a user with these permissions.
async fn refusal(rights: &[&str]) -> codex_kv::Error {
    let server = RedisServer::start().expect("a redis-server");
    let mut command = vec!["ACL", "SETUSER", "near", "on", ">secret", "~*", "&*"];
    command.extend(rights);
    server.command(&command).unwrap();
    let url = format!("redis://near:secret@127.0.0.1:{}/0", server.port());
    let redis = RedisBackend::connect(&url).await.unwrap();
    let refused = NearBackend::builder(redis).build().await;
    refused.expect_err("a user that cannot track was accepted")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_12_a_user_without_the_right_to_track_is_refused_with_what_is_missing() {
    drop(require!("redis", RedisServer::start()));
    let error = refusal(&["+@all", "-client|tracking"]).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let text = error.to_string();
    assert!(text.to_uppercase().contains("CLIENT TRACKING"), "{text}");
    for secret in ["secret", "near:"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
}
