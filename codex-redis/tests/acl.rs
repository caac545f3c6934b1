//! The rights that the guide lists suffice for every verb, and each of them is used.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

#[path = "support/rights.rs"]
mod rights;
mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use codex_redis::{RedisBackend, RedisBuilder};
use codex_testkit::{
    redis::{RedisCluster, RedisSentinel, RedisServer, Value},
    require,
};
use codex_traits::{ErrorKind, KvBackend, KvBackendExt, NodeId, Pattern, Tracking, TrackingFeed, TrackingListener};
use futures_util::TryStreamExt;
use rights::{PASSWORD, USER, grant, rights};
use support::{every_verb, every_verb_on};

fn as_user(url: &str) -> RedisBuilder {
    // A hundred thousand keys are slow on a busy machine.
    let settings = RedisBackend::builder()
        .url(url)
        .command_timeout(Duration::from_secs(10));
    settings.username(USER).password(PASSWORD)
}

/// Calls every verb, in every form.
async fn exercise(backend: &RedisBackend) {
    for (verb, result) in every_verb(backend).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
    for (verb, result) in every_verb_on(backend, "k", "l").await {
        let kind = result.as_ref().err().map(codex_traits::Error::kind);
        assert!(matches!(kind, None | Some(ErrorKind::Data)), "{verb}: {result:?}");
    }
    let many: Vec<String> = (0..100_001).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(backend.get_many(&many).await.unwrap().len(), many.len());
    backend.health().await.unwrap();
}

/// Returns the commands that these servers have received, in the form of rights.
fn used<'a>(servers: impl IntoIterator<Item = &'a RedisServer>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for server in servers {
        let Value::BulkString(stats) = server.command(&["INFO", "commandstats"]).unwrap() else {
            panic!("INFO answers with a text");
        };
        let stats = String::from_utf8(stats).unwrap();
        let commands = stats
            .lines()
            .filter_map(|line| line.strip_prefix("cmdstat_")?.split(':').next());
        used.extend(commands.map(|command| format!("+{command}")));
    }
    used
}

fn assert_all_used<'a>(deployment: &str, servers: impl IntoIterator<Item = &'a RedisServer>) {
    let used = used(servers);
    for right in rights(deployment) {
        assert!(
            right.starts_with('~') || used.contains(right),
            "{deployment}: nothing uses {right}"
        );
    }
}

#[tokio::test]
async fn of_one_server() {
    let server = require!("redis", RedisServer::start());
    grant(&server, "standalone", &[]);
    exercise(&as_user(&format!("{}3", server.url())).build().await.unwrap()).await;
    assert_all_used("standalone", [&server]);
    let newer = as_user(&format!("{}?resp=3", server.url()));
    exercise(&newer.build().await.unwrap()).await;
}

/// A listener that ignores all reports.
#[derive(Debug)]
struct Ignores;

impl TrackingListener for Ignores {
    fn opening(&self, _: NodeId) {}

    fn opened(&self, _: NodeId) {}

    fn changed(&self, _: NodeId, _: &[u8]) {}

    fn flushed(&self, _: NodeId) {}

    fn closed(&self, _: NodeId) {}
}

#[tokio::test]
async fn of_a_near_cache() {
    let server = require!("redis", RedisServer::start());
    let near = rights("near cache");
    grant(&server, "standalone", &near);
    let backend = as_user(&server.url()).build().await.unwrap();
    let feed = backend.track(Arc::new(Ignores)).await.unwrap();
    let read = feed.get("k").await.unwrap();
    feed.prove(read.node.unwrap()).await.unwrap();
    assert_eq!(feed.get_many(&["k", "l"]).await.unwrap().len(), 2);
    exercise(&backend).await;
    assert_all_used("near cache", [&server]);
    for right in near {
        let others: Vec<&str> = rights("near cache")
            .into_iter()
            .filter(|other| *other != right)
            .collect();
        grant(&server, "standalone", &others);
        let backend = as_user(&server.url()).build().await.unwrap();
        let error = backend.track(Arc::new(Ignores)).await.unwrap_err();
        assert!(error.to_string().contains(right), "without {right}: {error}");
    }
}

#[tokio::test]
async fn of_a_cluster() {
    let cluster = require!("redis", RedisCluster::lease());
    for master in cluster.masters() {
        grant(master, "cluster", &[]);
    }
    let backend = as_user(&cluster.url()).build().await.unwrap();
    exercise(&backend).await;
    // A slot that is moving: the key is missing, so the client asks the node that takes the slot
    // over.
    let from = cluster.master_of(b"k");
    let to = cluster
        .masters()
        .iter()
        .find(|node| node.port() != from.port())
        .unwrap();
    let id = |node: &RedisServer| match node.command(&["CLUSTER", "MYID"]).unwrap() {
        Value::BulkString(id) => String::from_utf8(id).unwrap(),
        other => panic!("{other:?}"),
    };
    let Value::Int(slot) = from.command(&["CLUSTER", "KEYSLOT", "k"]).unwrap() else {
        panic!("a slot is a number");
    };
    let slot = slot.to_string();
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)])
        .unwrap();
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)])
        .unwrap();
    assert_eq!(backend.get("k").await.unwrap(), None);
    // A scan reads the keys of a slot that is moving.
    let found: Vec<String> = backend.scan_all(&Pattern::glob("*")).try_collect().await.unwrap();
    drop(found);
    for node in [from, to] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "STABLE"]).unwrap();
    }
    assert_all_used("cluster", cluster.masters());
    for master in cluster.masters() {
        master.command(&["ACL", "DELUSER", USER]).unwrap();
    }
}

#[tokio::test]
async fn through_sentinel() {
    let fixture = require!("redis", RedisSentinel::start_patient());
    for server in fixture.servers() {
        grant(server, "sentinel server", &[]);
    }
    for sentinel in fixture.sentinels() {
        grant(sentinel, "sentinel", &[]);
    }
    let settings = as_user(&fixture.database_url(3));
    let settings = settings.sentinel_username(USER).sentinel_password(PASSWORD);
    exercise(&settings.build().await.unwrap()).await;
    assert_all_used("sentinel server", [&fixture.servers()[0]]);
    // A Sentinel does not count commands. Instead, connecting must fail if any right is missing.
    for right in ["-sentinel|get-master-addr-by-name", "-sentinel|master"] {
        for sentinel in fixture.sentinels() {
            grant(sentinel, "sentinel", &[right]);
        }
        let settings = as_user(&fixture.url())
            .sentinel_username(USER)
            .sentinel_password(PASSWORD);
        assert!(settings.build().await.is_err(), "all is well with {right}");
    }
}
