//! Any command through `redis::AsyncCommands`, on the connections of a backend.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use codex_redis::RedisBackend;
use codex_testkit::{
    redis::{Database, RedisCluster, RedisServer},
    require,
};
use codex_traits::KvBackend;
use redis::AsyncCommands;

#[tokio::test]
async fn any_command_runs_beside_the_verbs_and_on_the_same_connections() {
    let server = require!("redis", RedisServer::start());
    let backend = RedisBackend::builder()
        .url(&server.url())
        .connections(1)
        .build()
        .await
        .unwrap();
    let mut connection = backend.connection();
    let added: i64 = connection.zadd_multiple("scores", &[(3, "c"), (1, "a")]).await.unwrap();
    let all: Vec<(String, f64)> = connection.zrange_withscores("scores", 0, -1).await.unwrap();
    assert_eq!((added, all), (2, vec![("a".to_owned(), 1.0), ("c".to_owned(), 3.0)]));
    let (first, second): (i64, String) = redis::pipe()
        .incr("n", 2)
        .set("s", "v")
        .ignore()
        .get("s")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!((first, second.as_str()), (2, "v"));
    let both: (i64, String) = redis::pipe()
        .atomic()
        .incr("n", 2)
        .get("s")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(both, (4, "v".to_owned()));
    assert_eq!(backend.get("s").await.unwrap().unwrap(), "v");
    let clients: String = redis::cmd("CLIENT")
        .arg("LIST")
        .query_async(&mut connection)
        .await
        .unwrap();
    let ours = clients.lines().filter(|line| line.contains("name=codex-kv"));
    assert_eq!(ours.count(), 1, "{clients}");
}

#[tokio::test]
async fn errors_are_the_servers_own_and_what_would_change_the_connection_is_refused() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let mut connection = backend.connection();
    let _: () = connection.set("s", "v").await.unwrap();
    let error = connection.lpush::<_, _, i64>("s", 1).await.unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"), "{error:?}");
    let pipe = redis::pipe().lpush("s", 1).get("s").to_owned();
    let error = pipe.query_async::<(i64, String)>(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error:?}");
    let error = redis::cmd("SELECT")
        .arg(1)
        .query_async::<()>(&mut connection)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("changes the connection"), "{error}");
    let error = redis::cmd("BLPOP")
        .arg("l")
        .arg(0)
        .query_async::<()>(&mut connection)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("blocks the connection"), "{error}");
    let value: String = connection.get("s").await.unwrap();
    assert_eq!(value, "v");
}

#[tokio::test]
async fn an_empty_command_is_refused_and_takes_no_reply_of_another_call() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::builder()
        .url(&database.patient_url())
        .connections(1)
        .build()
        .await
        .unwrap();
    let mut connection = backend.connection();
    let mut behind = backend.connection();
    let _: () = connection.set("s", "v").await.unwrap();
    let empty = redis::Cmd::new();
    let (refused, value) = tokio::join!(
        empty.query_async::<redis::Value>(&mut connection),
        behind.get::<_, String>("s"),
    );
    assert_eq!(value.unwrap(), "v");
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    for is_atomic in [false, true] {
        let mut pipe = redis::pipe();
        if is_atomic {
            pipe.atomic();
        }
        pipe.get("s").add_command(redis::Cmd::new()).get("t");
        let error = pipe.query_async::<redis::Value>(&mut connection).await.unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
    }
    let value: String = connection.get("s").await.unwrap();
    assert_eq!(value, "v");
}

#[tokio::test]
async fn a_command_has_the_deadline_of_the_backend() {
    let server = require!("redis", RedisServer::start());
    let backend = RedisBackend::builder()
        .url(&server.url())
        .command_timeout(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    let mut connection = backend.connection();
    server.pause();
    let start = Instant::now();
    let error = connection.get::<_, Option<String>>("k").await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    server.resume();
}

#[tokio::test]
async fn on_a_cluster_a_command_goes_to_the_node_of_its_key() {
    let cluster = require!("redis", RedisCluster::start());
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let mut connection = backend.connection();
    let mut pipe = redis::pipe();
    for key in 0..50 {
        let _: i64 = connection.sadd(format!("set{key}"), key).await.unwrap();
        pipe.scard(format!("set{key}"));
    }
    let counts: Vec<i64> = pipe.query_async(&mut connection).await.unwrap();
    assert_eq!(counts, vec![1; 50]);
    let both: (i64, i64) = redis::pipe()
        .atomic()
        .incr("{a}1", 1)
        .incr("{a}2", 2)
        .query_async(&mut connection)
        .await
        .unwrap();
    assert_eq!(both, (1, 2));
    let error = redis::cmd("DBSIZE")
        .query_async::<i64>(&mut connection)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("needs a key"), "{error}");
}
