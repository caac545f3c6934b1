//! Measures the time until a handle writes again after a fail-over or a crash, and counts the
//! outcomes of the calls during it.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement prints its figures, and ends where it cannot be made"
)]

#[path = "../tests/support/load.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod load;

use std::time::{Duration, Instant};

use codex_redis::RedisBackend;
use codex_testkit::redis::{RedisCluster, RedisSentinel, RedisServer, Value};
use codex_traits::{KvBackend as _, Pattern};
use load::Load;
use tokio::task::block_in_place;

/// Ignores errors of the load. The tests check each error here.
fn seen(_: &codex_traits::Error) {}

fn plant(_: &str) {}

/// The longest accepted time until writes succeed, after the servers have carried out a fail-over
/// or the fault has ended.
const BAR: Duration = Duration::from_secs(1);

fn text(server: &RedisServer, command: &[&str]) -> String {
    match block_in_place(|| server.command(command)) {
        Ok(Value::BulkString(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

/// Returns whether `asked` reports that the cluster serves, with `promoted` as a master.
fn serves(asked: &RedisServer, promoted: &RedisServer) -> bool {
    let place = format!(":{}@", promoted.port());
    let is_master = |line: &str| line.contains(&place) && line.contains("master") && line.split(' ').count() > 8;
    text(asked, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
        && text(asked, &["CLUSTER", "NODES"]).lines().any(is_master)
}

/// The table of results. Holds whether all of them have met the bar.
struct Table(bool);

impl Table {
    fn begin() -> Self {
        println!(
            "| what | servers took | writes of all 64 tasks back after that | acknowledged | unknown | not executed | lost with a server | twice | denied | slowest call |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|");
        Self(true)
    }

    /// Starts the load, runs `deed`, waits until the servers have reacted, and then waits until
    /// every task writes again.
    async fn row(&mut self, what: &str, backend: &RedisBackend, deed: impl FnOnce(), mut done: impl FnMut() -> bool) {
        // Otherwise the writes of the previous row would count as writes of this row.
        backend.del_matching(&Pattern::all()).await.unwrap();
        let load = Load::start(backend);
        load.all_write(Instant::now()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let start = Instant::now();
        block_in_place(deed);
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "{what}: the servers have not reacted within 60 s"
            );
        }
        let detected = start.elapsed();
        let back = load.all_write(Instant::now()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let account = load.end(backend).await;
        self.0 &= back <= BAR && account.twice == 0 && account.denied == 0;
        println!(
            "| {what} | {} ms | {} ms | {} | {} | {} | {} | {} | {} | {} ms |",
            detected.as_millis(),
            back.as_millis(),
            account.acknowledged,
            account.unknown,
            account.not_executed,
            account.lost,
            account.twice,
            account.denied,
            account.slowest.as_millis()
        );
    }
}

async fn cluster(table: &mut Table) {
    let cluster = RedisCluster::start().unwrap();
    let backend = RedisBackend::connect(&cluster.url()).await.unwrap();
    let (masters, replicas) = (cluster.masters(), cluster.replicas());
    let by_command = || drop(replicas[0].command(&["CLUSTER", "FAILOVER"]).unwrap());
    table
        .row("Cluster: CLUSTER FAILOVER", &backend, by_command, || {
            serves(&masters[1], &replicas[0])
        })
        .await;
    table
        .row(
            "Cluster: kill -9 of a master",
            &backend,
            || masters[1].kill(),
            || serves(&masters[2], &replicas[1]),
        )
        .await;
}

async fn sentinel(table: &mut Table) {
    for (what, by_crash) in [
        ("Sentinel: SENTINEL FAILOVER", false),
        ("Sentinel: kill -9 of the primary", true),
    ] {
        let fixture = RedisSentinel::start().unwrap();
        let backend = RedisBackend::connect(&fixture.url()).await.unwrap();
        let old = fixture.primary().unwrap();
        let deed = || {
            if by_crash {
                old.kill();
            } else {
                let failover = ["SENTINEL", "FAILOVER", RedisSentinel::NAME];
                fixture.sentinels()[0].command(&failover).unwrap();
            }
        };
        // The old primary accepts writes until it is demoted, and loses them. The row waits for
        // that too.
        let done = || {
            let primary = block_in_place(|| fixture.primary());
            let demoted = || text(old, &["INFO", "replication"]).contains("role:slave");
            primary.is_some_and(|primary| primary.port() != old.port()) && (by_crash || demoted())
        };
        table.row(what, &backend, deed, done).await;
    }
}

async fn one(table: &mut Table, frozen: Duration) {
    let server = RedisServer::start().unwrap();
    let backend = RedisBackend::connect(&server.url()).await.unwrap();
    let command = |parts: &[&str]| drop(server.command(parts).unwrap());
    let kill_clients = || command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let pause = Duration::from_secs(1);
    table
        .row(
            "one server: SCRIPT FLUSH",
            &backend,
            || command(&["SCRIPT", "FLUSH"]),
            || true,
        )
        .await;
    table
        .row("one server: CLIENT KILL of all", &backend, kill_clients, || true)
        .await;
    let password = || {
        command(&["CONFIG", "SET", "requirepass", "another"]);
        kill_clients();
        std::thread::sleep(pause);
        command(&["CONFIG", "SET", "requirepass", ""]);
    };
    table
        .row("one server: requirepass for 1 s", &backend, password, || true)
        .await;
    let freeze = || {
        server.pause();
        std::thread::sleep(frozen);
        server.resume();
    };
    let what = format!("one server: SIGSTOP for {} s", frozen.as_secs());
    table.row(&what, &backend, freeze, || true).await;
    let restart = || {
        server.kill();
        std::thread::sleep(pause);
        server.restart();
    };
    table
        .row(
            "one server: kill -9, started again (empty) after 1 s",
            &backend,
            restart,
            || true,
        )
        .await;
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let frozen = std::env::args().nth(1).map_or(10, |seconds| seconds.parse().unwrap());
    let mut table = Table::begin();
    one(&mut table, Duration::from_secs(frozen)).await;
    cluster(&mut table).await;
    sentinel(&mut table).await;
    println!(
        "\nbar: writes back within {} s, twice and denied 0: {}",
        BAR.as_secs(),
        if table.0 { "met" } else { "NOT MET" }
    );
    std::process::exit(i32::from(!table.0));
}
