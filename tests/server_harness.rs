//! The suite on a server that is somebody else's: it takes what is empty, says so where nothing is, and leaves the rest alone.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use codex_kv::testkit::{
    ClauseId, Harness, Outcome,
    redis::{RedisServer, ServerHarness, Value},
    require, run_only,
};

/// Clauses that want a store each, foreign data, the connections' memory.
const CLAUSES: [&str; 4] = ["get-01", "get-06", "scan-09", "scan-08"];

fn clauses() -> impl Iterator<Item = ClauseId> {
    CLAUSES.iter().map(|id| id.parse().unwrap())
}

/// The databases that are not empty, as the server tells.
fn keyspace(server: &RedisServer) -> Vec<String> {
    let Value::BulkString(info) = server.command(&["INFO", "keyspace"]).unwrap() else {
        panic!("INFO answers text")
    };
    let info = String::from_utf8(info).unwrap();
    info.lines()
        .filter_map(|line| Some(line.strip_prefix("db")?.split(',').next()?.to_owned()))
        .collect()
}

macro_rules! harness {
    ($url:expr) => {
        ServerHarness::on($url, |url| async move { codex_kv::connect(&url).await })
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_empty_is_used_and_it_is_empty_again_afterwards() {
    let server = require!("redis", RedisServer::start_with(["--databases", "3"]));
    server.command(&["SET", "mine", "1"]).unwrap();
    let url = format!("redis://127.0.0.1:{}", server.port());

    let harness = harness!(&url).unwrap();
    assert!(!harness.is_confined());
    let set_05 = "set-05".parse().unwrap();
    let report = run_only(&harness, clauses().chain([set_05])).await;
    assert!(
        report.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Passed),
        "{report}"
    );
    assert_eq!(keyspace(&server), ["0:keys=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_named_is_the_only_one_used() {
    let server = require!("redis", RedisServer::start_with(["--databases", "3"]));
    let url = format!("redis://127.0.0.1:{}/2", server.port());
    let harness = harness!(&url).unwrap();
    assert!(harness.is_confined());
    let report = run_only(&harness, clauses()).await;
    assert!(
        report.outcomes.iter().all(|(_, outcome)| *outcome == Outcome::Passed),
        "{report}"
    );
    assert_eq!(harness.fresh().await.place().number(), 2);

    // Database 0 is filled, and the two others are empty.
    server.command(&["SET", "mine", "1"]).unwrap();
    let url = format!("redis://127.0.0.1:{}/0", server.port());
    let refused = harness!(&url).unwrap_err().to_string();
    assert_eq!(
        refused,
        "database 0 of the given server is not empty, and so is left alone"
    );
    assert_eq!(keyspace(&server), ["0:keys=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_empty_database_is_refused() {
    let server = require!(
        "redis",
        RedisServer::start_with(["--databases", "1", "--requirepass", "hunter2"])
    );
    server.command(&["SET", "mine", "1"]).unwrap();
    let url = format!("redis://:hunter2@127.0.0.1:{}", server.port());
    let refused = harness!(&url).unwrap_err().to_string();
    assert_eq!(refused, "none of the 1 databases of the given server is empty");

    server.command(&["DEL", "mine"]).unwrap();
    let harness = harness!(&url).unwrap();
    assert!(harness.is_confined());
    assert!(!format!("{harness:?}").contains("hunter2"));

    let wrong = format!("redis://:hunter3@127.0.0.1:{}", server.port());
    let refused = harness!(&wrong).unwrap_err().to_string();
    assert!(!refused.contains("hunter3"), "{refused}");
}
