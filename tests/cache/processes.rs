//! Tests of leases across real processes. This test program starts itself as child processes.

use std::{
    convert::Infallible,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use codex_kv::{Cache, Expiry, KvBackend, OnMissing, redis::RedisBackend};
use codex_testkit::{redis::Database, require};

const URL: &str = "CODEX_PROCESSES_URL";
const LEASE: Duration = Duration::from_secs(3);

fn start(url: &str, role: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program)
        .args(["--exact", "processes::child", "--ignored", "--nocapture"])
        .env(URL, url)
        .env("CODEX_PROCESSES_ROLE", role)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A process with 64 tasks that request the same key when the gate opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the other tests here, which run it in processes of their own"]
async fn child() {
    let (url, role) = (
        std::env::var(URL).unwrap(),
        std::env::var("CODEX_PROCESSES_ROLE").unwrap(),
    );
    let backend = RedisBackend::connect(&url).await.unwrap();
    let cache = Cache::builder(backend.clone()).key_prefix("shop").build().unwrap();
    let (counting, hangs) = (backend.clone(), role == "hangs");
    let loader = cache
        .loader("l")
        .fresh_for(Duration::from_secs(60))
        .lease(LEASE)
        .load(move |_| {
            let backend = counting.clone();
            async move {
                backend.incr("runs", 1, OnMissing::Create(Expiry::Never)).await.unwrap();
                if hangs {
                    std::future::pending::<()>().await;
                }
                // Long enough for all processes to request the key meanwhile.
                tokio::time::sleep(Duration::from_millis(300)).await;
                Ok::<_, Infallible>(42)
            }
        });
    backend
        .incr("ready", 1, OnMissing::Create(Expiry::Never))
        .await
        .unwrap();
    while backend.get("gate").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let loader = loader.clone();
            tokio::spawn(async move { loader.get("k").await.unwrap().value })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), 42);
    }
}

async fn number(backend: &RedisBackend, key: &str) -> i64 {
    let stored = backend.get(key).await.unwrap();
    stored.map_or(0, |stored| std::str::from_utf8(&stored).unwrap().parse().unwrap())
}

async fn reaches(backend: &RedisBackend, key: &str, expected: i64) {
    let started = Instant::now();
    while number(backend, key).await < expected {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{key} does not reach {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn open_gate(backend: &RedisBackend) {
    let opened = backend
        .set("gate", "1".into(), codex_kv::SetOptions::new())
        .await
        .unwrap();
    assert!(opened.is_written());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_06_eight_processes_of_64_tasks_compute_once() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let mut processes: Vec<_> = (0..8).map(|_| start(&database.patient_url(), "computes")).collect();
    reaches(&backend, "ready", 8).await;
    open_gate(&backend).await;
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    assert_eq!(
        number(&backend, "runs").await,
        1,
        "computations in 8 processes of 64 tasks"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_06_a_killed_process_delays_the_others_by_at_most_its_lease() {
    let database = require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    let mut holder = start(&database.patient_url(), "hangs");
    reaches(&backend, "ready", 1).await;
    open_gate(&backend).await;
    reaches(&backend, "runs", 1).await;
    let mut other = start(&database.patient_url(), "computes");
    reaches(&backend, "ready", 2).await;
    holder.kill().unwrap();
    holder.wait().unwrap();
    let started = Instant::now();
    assert!(other.wait().unwrap().success());
    let delay = started.elapsed();
    println!("the others were delayed by {delay:?}");
    assert_eq!(number(&backend, "runs").await, 2);
    // The bound allows for the computation itself and a busy machine.
    assert!(delay < LEASE + Duration::from_secs(3), "{delay:?}");
}
