//! A cluster: keys on all nodes, fail-overs, a dead shard, and slots that move.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use codex_redis::RedisBackend;
use codex_testkit::{
    redis::{RedisCluster, RedisServer},
    require,
};
use codex_traits::{Capability, Cursor, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions};
use futures_util::future::join_all;
use support::{SECRET, assert_discreet, assert_kind, every_verb, every_verb_on, load::Load, put, until};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key:{number}")).collect()
}

async fn fill(backend: &RedisBackend, names: &[String]) {
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), "v".into())).collect();
    backend.set_many(&entries, Expiry::Never).await.unwrap();
}

/// Returns the keys of a whole scan. Calls `visit` after each page.
async fn walk(backend: &RedisBackend, count: usize, mut visit: impl AsyncFnMut(usize)) -> BTreeSet<String> {
    let pattern = Pattern::all();
    let mut found = BTreeSet::new();
    let mut request = ScanRequest::new(&pattern).with_count_hint(count);
    for page in 0.. {
        let answer = backend.scan(request).await.unwrap();
        found.extend(answer.keys);
        let Some(next) = answer.next else { break };
        visit(page).await;
        // Continue the scan as another process would.
        let next: Cursor = next.to_string().parse().unwrap();
        request = ScanRequest::new(&pattern).with_count_hint(count).with_cursor(next);
    }
    found
}

#[tokio::test]
async fn keys_of_every_node_are_reached_by_every_verb() {
    let cluster = require!("redis", RedisCluster::lease());
    let one = format!("redis-cluster://127.0.0.1:{}", cluster.masters()[1].port());
    let backend = RedisBackend::connect(&one).await.unwrap();
    assert!(backend.capabilities().contains(Capability::Cluster));
    assert!(!backend.capabilities().contains(Capability::AtomicMany));
    let names = names(500);
    fill(&backend, &names).await;
    assert_eq!(backend.health().await.unwrap().servers, 3);
    for master in cluster.masters() {
        assert_ne!(
            master.command(&["DBSIZE"]).unwrap(),
            codex_testkit::redis::Value::Int(0)
        );
    }
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    let values = backend.get_many(&keys).await.unwrap();
    assert!(values.iter().all(Option::is_some));
    assert_eq!(walk(&backend, 10, async |_| ()).await, names.iter().cloned().collect());
    assert_eq!(backend.del(&keys[..200]).await.unwrap(), 200);
    assert_eq!(backend.del_matching(&Pattern::prefix("key:")).await.unwrap(), 300);
    for (verb, result) in every_verb(&backend).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
}

#[tokio::test]
async fn a_made_up_position_is_refused_or_ends() {
    let cluster = require!("redis", RedisCluster::lease());
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let pattern = Pattern::all();
    for text in [
        "5",
        "-",
        "0-3fff",
        "-/0-5/x",
        "-/-/x/1",
        "0-5.3-9",
        "5-0",
        "0-4000",
        "-/0-5/x/0",
        "-/0-5/x/01",
        "/",
        "-/0-5/x/7/8",
    ] {
        let request = ScanRequest::new(&pattern).with_cursor(text.parse().unwrap());
        let error = assert_kind("scan", backend.scan(request).await, ErrorKind::InvalidArgument);
        assert_discreet(&error);
    }
    // An unknown node has left the cluster. Its part of the scan begins anew.
    put(&backend, "k", "v").await;
    let request = ScanRequest::new(&pattern).with_cursor("-/0-5/nobody/7".parse().unwrap());
    assert!(backend.scan(request).await.is_ok());
}

#[tokio::test]
async fn a_plain_server_is_no_cluster_and_a_node_is_no_plain_server() {
    let server = require!("redis", RedisServer::start());
    let url = format!("redis-cluster://127.0.0.1:{}", server.port());
    let error = assert_kind("connect", RedisBackend::connect(&url).await, ErrorKind::Config);
    assert!(error.to_string().contains("not a node of a cluster"), "{error}");
    let cluster = require!("redis", RedisCluster::lease());
    let backend = RedisBackend::connect(&cluster.masters()[0].url()).await.unwrap();
    let key = names(100)
        .into_iter()
        .find(|key| cluster.master_of(key.as_bytes()).port() != cluster.masters()[0].port());
    let error = assert_kind("get", backend.get(&key.unwrap()).await, ErrorKind::Server);
    assert!(
        !error.may_have_executed() && error.to_string().contains("redis-cluster://"),
        "{error}"
    );
}

/// Moves a slot with all its keys from one master to another.
fn move_slot(cluster: &RedisCluster, slot: u16, from: usize, to: usize) {
    let [source, destination] = [&cluster.masters()[from], &cluster.masters()[to]];
    let id = |server: &RedisServer| text(server.command(&["CLUSTER", "MYID"]).unwrap());
    let slot = slot.to_string();
    let (source_id, destination_id) = (id(source), id(destination));
    destination
        .command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id])
        .unwrap();
    source
        .command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &destination_id])
        .unwrap();
    migrate_keys(source, destination, &slot, usize::MAX);
    // Notify the third master too, as redis-cli does.
    let others = cluster
        .masters()
        .iter()
        .filter(|server| server.port() != source.port() && server.port() != destination.port());
    for server in [destination, source].into_iter().chain(others) {
        server
            .command(&["CLUSTER", "SETSLOT", &slot, "NODE", &destination_id])
            .unwrap();
    }
}

/// Moves up to `most` keys of a slot.
fn migrate_keys(source: &RedisServer, destination: &RedisServer, slot: &str, most: usize) {
    let keys = source.command(&["CLUSTER", "GETKEYSINSLOT", slot, "100000"]).unwrap();
    let codex_testkit::redis::Value::Array(keys) = keys else {
        panic!()
    };
    let port = destination.port().to_string();
    for key in keys.into_iter().map(text).take(most) {
        source
            .command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"])
            .unwrap();
    }
}

fn text(value: codex_testkit::redis::Value) -> String {
    match value {
        codex_testkit::redis::Value::BulkString(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_during_a_scan_lose_no_key() {
    let cluster = require!("redis", RedisCluster::start());
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let names = names(3000);
    fill(&backend, &names).await;
    let load = Load::start(&backend);
    // Slots move from a late node to a finished node, and then from a finished node to a later
    // node, one slot after each page.
    let found = walk(&backend, 20, async |page| {
        let offset = u16::try_from(page % 60).unwrap();
        if page < 60 {
            move_slot(&cluster, 10923 + offset, 2, 0);
        } else if page < 120 {
            move_slot(&cluster, offset, 0, 1);
        }
    })
    .await;
    let missing: Vec<_> = names.iter().filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // The verbs have followed too. No node has died, so no write is unknown, refused or lost.
    let account = load.end(&backend).await;
    account.assert_true();
    assert_eq!(
        (account.unknown, account.not_executed, account.lost),
        (0, 0, 0),
        "{account:?}"
    );
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(backend.get_many(&keys).await.unwrap().iter().all(Option::is_some));
    assert_eq!(backend.del_matching(&Pattern::prefix("key:")).await.unwrap(), 3000);
}

/// A slot moves away after a page of its node, and back before the next page or the page after
/// that. All nodes agree each time. If slots moved faster than the nodes gossip, each node could
/// name the other as the owner, and no node would serve the slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_leave_during_a_scan_and_come_back_lose_no_key() {
    let cluster = require!("redis", RedisCluster::start());
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let names = names(1500);
    fill(&backend, &names).await;
    let key = names
        .iter()
        .find(|key| std::ptr::eq(cluster.master_of(key.as_bytes()), &raw const cluster.masters()[0]));
    let slot = cluster.masters()[0]
        .command(&["CLUSTER", "KEYSLOT", key.unwrap()])
        .unwrap();
    let codex_testkit::redis::Value::Int(slot) = slot else {
        panic!()
    };
    let slot = u16::try_from(slot).unwrap();
    let found = walk(&backend, 20, async |page| {
        let moves: &[(usize, usize)] = match page {
            2 | 6 => &[(0, 1), (1, 0)],
            9 => &[(0, 1)],
            10 => &[(1, 0)],
            _ => &[],
        };
        for (from, to) in moves {
            move_slot(&cluster, slot, *from, *to);
            until("the nodes agree", async || agree(&cluster)).await;
        }
    })
    .await;
    let missing: Vec<_> = names.iter().filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Returns whether all nodes, including replicas, name the same owners with the same epochs. A node
/// that still has an owner by an older epoch keeps it, and tells the new owner that it does not own
/// the slot.
fn agree(cluster: &RedisCluster) -> bool {
    let views = cluster.masters().iter().chain(cluster.replicas()).map(|node| {
        let nodes = text(node.command(&["CLUSTER", "NODES"]).unwrap());
        let owned = |line: &str| {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            (words.len() > 8).then(|| (words[0].clone(), words[6].clone(), words[8..].to_vec()))
        };
        nodes.lines().filter_map(owned).collect::<BTreeSet<_>>()
    });
    let views: BTreeSet<_> = views.collect();
    let epochs: BTreeSet<_> = views.iter().flatten().map(|(_, epoch, _)| epoch).collect();
    views.len() == 1 && epochs.len() == 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_keys_are_on_two_nodes_is_served_and_scanned() {
    let cluster = require!("redis", RedisCluster::start());
    let source = cluster.master_of(b"{tag}");
    let at = cluster.masters().iter().position(|master| std::ptr::eq(master, source));
    let next = &cluster.masters()[(at.unwrap() + 1) % 3];
    served_and_scanned(&cluster, source, next).await;
    // A node that has lost a slot only in its own view reports that the cluster is down, although
    // it answers.
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    assert_eq!(backend.health().await.unwrap().servers, 3);
    cluster.masters()[0].command(&["CLUSTER", "DELSLOTS", "0"]).unwrap();
    let error = assert_kind("health", backend.health().await, ErrorKind::Server);
    assert!(error.is_retryable() && !error.may_have_executed(), "{error:?}");
}

/// The destination serves no slot yet, as in a growing cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_to_a_new_node_is_served_and_scanned() {
    let cluster = require!("redis", RedisCluster::start());
    let new = &cluster.replicas()[0];
    let own = text(new.command(&["CLUSTER", "NODES"]).unwrap());
    let own = own.lines().find(|line| line.contains("myself")).unwrap();
    let bus = own.split(['@', ',', ' ']).nth(2).unwrap();
    new.command(&["FLUSHALL"]).ok();
    new.command(&["CLUSTER", "RESET"]).unwrap();
    let id = text(new.command(&["CLUSTER", "MYID"]).unwrap());
    for node in cluster.masters().iter().chain(&cluster.replicas()[1..]) {
        node.command(&["CLUSTER", "FORGET", &id]).unwrap();
    }
    let port = new.port().to_string();
    // A node ignores a forgotten node for a minute, so the new node joins under a new id.
    new.command(&["CLUSTER", "RESET", "HARD"]).unwrap();
    let id = text(new.command(&["CLUSTER", "MYID"]).unwrap());
    cluster.masters()[0]
        .command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus])
        .unwrap();
    until("all know the new node", async || {
        let knows = |node: &RedisServer| {
            let nodes = node.command(&["CLUSTER", "NODES"]).map(text).unwrap_or_default();
            nodes
                .lines()
                .any(|line| line.starts_with(&id) && line.contains("master") && !line.contains("handshake"))
        };
        let state = new.command(&["CLUSTER", "INFO"]).map(text).unwrap_or_default();
        state.contains("cluster_state:ok") && cluster.masters().iter().all(knows)
    })
    .await;
    served_and_scanned(&cluster, cluster.master_of(b"{tag}"), new).await;
}

async fn served_and_scanned(cluster: &RedisCluster, source: &RedisServer, destination: &RedisServer) {
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let names: Vec<String> = (0..50).map(|number| format!("{{tag}}:{number}")).collect();
    fill(&backend, &names).await;
    let codex_testkit::redis::Value::Int(slot) = source.command(&["CLUSTER", "KEYSLOT", "{tag}"]).unwrap() else {
        panic!()
    };
    let slot = slot.to_string();
    let id = |server: &RedisServer| text(server.command(&["CLUSTER", "MYID"]).unwrap());
    destination
        .command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)])
        .unwrap();
    source
        .command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(destination)])
        .unwrap();
    migrate_keys(source, destination, &slot, 25);
    // The destination has half of the keys.
    let keys: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(backend.get_many(&keys).await.unwrap().iter().all(Option::is_some));
    for key in &keys {
        assert!(backend.get(key).await.unwrap().is_some());
        assert!(backend.expire(key, Expiry::Never).await.unwrap());
    }
    // The destination creates a new key.
    assert_eq!(
        backend
            .incr("{tag}:n", 1, OnMissing::Create(Expiry::Never))
            .await
            .unwrap(),
        Some(1)
    );
    let found = walk(&backend, 10, async |_| ()).await;
    assert!(names.iter().all(|name| found.contains(name)), "{} of 50", found.len());
    assert_eq!(backend.del(&keys).await.unwrap(), 50);
}

/// Returns whether `asked` reports that the cluster serves, with `promoted` as a master.
fn serves(asked: &RedisServer, promoted: &RedisServer) -> bool {
    let port = format!(":{}@", promoted.port());
    let info = asked.command(&["CLUSTER", "INFO"]).map(text).unwrap_or_default();
    let nodes = asked.command(&["CLUSTER", "NODES"]).map(text).unwrap_or_default();
    let is_master = |line: &str| line.contains(&port) && line.contains("master") && line.split(' ').count() > 8;
    info.contains("cluster_state:ok") && nodes.lines().any(is_master)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fail_overs_under_load_are_followed_and_nothing_runs_twice() {
    let cluster = require!("redis", RedisCluster::start());
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let load = Load::start(&backend);
    tokio::time::sleep(Duration::from_millis(300)).await;

    // A fail-over by command: no write is lost, and the handle follows.
    cluster.replicas()[0].command(&["CLUSTER", "FAILOVER"]).unwrap();
    until("the first replica is a master", async || {
        serves(&cluster.masters()[1], &cluster.replicas()[0])
    })
    .await;
    let start = Instant::now();
    let on_first = "key:0";
    until("the shard writes", async || {
        backend.set(on_first, "1".into(), SetOptions::new()).await.is_ok()
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());

    // A fail-over after a crash.
    let second = &cluster.masters()[1];
    let on_second = names(100)
        .into_iter()
        .find(|key| std::ptr::eq(cluster.master_of(key.as_bytes()), second));
    let on_second = on_second.unwrap();
    let crash = Instant::now();
    second.kill();
    until("the second replica is a master", async || {
        serves(&cluster.masters()[2], &cluster.replicas()[1])
    })
    .await;
    let detected = crash.elapsed();
    let start = Instant::now();
    until("the shard writes", async || {
        backend.set(&on_second, "1".into(), SetOptions::new()).await.is_ok()
    })
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?} after {detected:?}",
        start.elapsed()
    );
    load.end(&backend).await.assert_true();
    for (verb, result) in every_verb(&backend).await {
        assert!(result.is_ok(), "{verb}: {result:?}");
    }
}

#[tokio::test]
async fn with_a_shard_dead_no_verb_answers_as_if_its_keys_were_not_there() {
    let cluster = require!("redis", RedisCluster::lease());
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let names = names(60);
    fill(&backend, &names).await;
    let (lost, there): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(String::as_str)
        .partition(|key| std::ptr::eq(cluster.master_of(key.as_bytes()), &raw const cluster.masters()[2]));
    cluster.kill_one();
    let _ = backend.get(lost[0]).await;
    // Run concurrently, because each call waits for the node.
    let calls = join_all(lost.iter().map(|key| every_verb_on(&backend, key, there[0]))).await;
    for (verb, result) in calls.into_iter().flatten() {
        let error = assert_kind(verb, result, ErrorKind::Connection);
        assert!(error.is_retryable(), "{verb}: {error:?}");
    }
    // The other keys are served until the cluster notices the crash.
    for key in &there {
        assert!(backend.get(key).await.unwrap().is_some());
    }
    assert!(backend.health().await.is_err());
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(backend.get_many(&all).await.is_err());
    for verb in ["get_many", "set_many", "del"] {
        // The order of the keys must not matter.
        for keys in [[lost[0], there[0]], [there[0], lost[0]]] {
            let result = match verb {
                "get_many" => backend.get_many(&keys).await.map(drop),
                "set_many" => {
                    let entries = keys.map(|key| (key, "v".into()));
                    backend.set_many(&entries, Expiry::Never).await
                }
                _ => backend.del(&[keys[0], "not-there", keys[1]]).await.map(drop),
            };
            let error = assert_kind(verb, result, ErrorKind::Connection);
            assert!(error.may_have_executed() || verb == "get_many", "{verb}: {error:?}");
        }
    }
    let error = assert_kind("del", backend.del(&all).await, ErrorKind::Connection);
    assert!(error.may_have_executed(), "the other nodes have removed theirs");
    for pattern in [Pattern::all(), Pattern::prefix("key:"), Pattern::prefix("of nobody")] {
        assert_kind(
            "del_matching",
            backend.del_matching(&pattern).await,
            ErrorKind::Connection,
        );
    }
    let only_lost = assert_kind("del", backend.del(&lost).await, ErrorKind::Connection);
    assert!(!only_lost.may_have_executed());
    let pattern = Pattern::all();
    let mut request = ScanRequest::new(&pattern);
    loop {
        match backend.scan(request).await {
            Ok(page) => request = ScanRequest::new(&pattern).with_cursor(page.next.expect("the scan ended")),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Connection);
                break;
            }
        }
    }
    assert!(!format!("{backend:?}").contains(SECRET));
}
