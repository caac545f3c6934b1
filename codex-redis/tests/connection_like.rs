//! Any command through `redis::AsyncCommands`, on the connections of a backend.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::time::{Duration, Instant};

use codex_redis::{RedisBackend, RespVersion};
use codex_testkit::{
    redis::{Database, RedisCluster, RedisServer},
    require,
};
use codex_traits::{ErrorKind, KvBackend, KvBackendExt};
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
async fn the_error_of_a_transaction_is_the_servers_own() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let mut connection = backend.connection();
    for (command, text) in [
        ("NOSUCHCOMMAND", "unknown command"),
        ("LPUSH", "wrong number of arguments"),
    ] {
        let mut pipe = redis::pipe();
        pipe.atomic().set("s", "v").cmd(command);
        let error = pipe.query_async::<redis::Value>(&mut connection).await.unwrap_err();
        assert!(error.code().is_some() && error.to_string().contains(text), "{error:?}");
        assert!(!backend.exists("s").await.unwrap());
    }
    let empty: Vec<redis::Value> = redis::pipe().atomic().query_async(&mut connection).await.unwrap();
    assert_eq!(empty, []);
}

#[tokio::test]
async fn streams_are_the_same_in_both_versions() {
    type Streams = Vec<(String, Vec<(String, Vec<String>)>)>;
    let database = require!("redis", Database::lease());
    let mut expected = None;
    for version in [RespVersion::Resp2, RespVersion::Resp3] {
        let settings = RedisBackend::builder().url(&database.patient_url()).resp(version);
        let mut connection = settings.build().await.unwrap().connection();
        for (stream, id) in [("a", "1-1"), ("a", "2-1"), ("b", "9-1")] {
            let mut add = redis::cmd("XADD");
            add.arg(stream).arg(id).arg("field").arg("value");
            // The second round adds nothing, because the ids exist.
            let _ = add.query_async::<redis::Value>(&mut connection).await;
        }
        let mut read = redis::cmd("xread");
        read.arg("STREAMS").arg("a").arg("b").arg("0").arg("0");
        let found: Streams = read.query_async(&mut connection).await.unwrap();
        assert_eq!((found.len(), found[0].1.len()), (2, 2), "{version:?}");
        let (in_pipe,): (Streams,) = redis::pipe()
            .add_command(read.clone())
            .query_async(&mut connection)
            .await
            .unwrap();
        let (_, in_transaction): (i64, Streams) = redis::pipe()
            .atomic()
            .cmd("XLEN")
            .arg("a")
            .add_command(read)
            .query_async(&mut connection)
            .await
            .unwrap();
        assert_eq!((&found, &found), (&in_pipe, &in_transaction), "{version:?}");
        let none = redis::cmd("XREAD").arg("STREAMS").arg("c").arg("0").to_owned();
        assert_eq!(
            none.query_async::<Option<Streams>>(&mut connection).await.unwrap(),
            None
        );
        assert_eq!(*expected.get_or_insert(found.clone()), found);
    }
}

#[tokio::test]
async fn a_status_that_is_no_utf_8_harms_no_other_call() {
    let database = require!("redis", Database::lease());
    let settings = RedisBackend::builder().url(&database.patient_url()).connections(1);
    let backend = settings.build().await.unwrap();
    let mut connection = backend.connection();
    let script = "return redis.status_reply('\\255')";
    let eval = redis::cmd("EVAL").arg(script).arg(0).to_owned();
    let (status, value) = tokio::join!(eval.query_async::<Vec<u8>>(&mut connection), backend.get("k"));
    assert_eq!((status.unwrap(), value.unwrap()), (vec![255], None));
}

#[tokio::test]
async fn a_server_without_exec_fails_only_the_calls_that_need_it() {
    let server = require!("redis", RedisServer::start_with(["--rename-command", "EXEC", ""]));
    let settings = RedisBackend::builder().url(&server.url()).connections(1);
    let backend = settings.build().await.unwrap();
    for _ in 0..3 {
        let error = backend.get_with_ttl("k").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
        let mut connection = backend.connection();
        let transaction = redis::pipe().atomic().get("k").to_owned();
        let error = transaction
            .query_async::<redis::Value>(&mut connection)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("unknown command"), "{error}");
        assert_eq!(backend.get("k").await.unwrap(), None);
    }
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
