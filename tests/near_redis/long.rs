//! A long run for `scripts/long near`: two processes read while connections are killed, the server
//! is frozen and killed, and a proxy drops packets. No read is older than `max_staleness` plus 50
//! ms, and no read returns another key's value.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use codex_kv::{KvBackend, NearBackend, SetOptions, redis::RedisBackend};
use codex_testkit::{Fault, Proxy, redis::RedisServer, require};

const KEYS: usize = 2000;
const TASKS: u64 = 64;
const MAX_BYTES: usize = 128 << 10;
const STALENESS: Duration = Duration::from_millis(500);
const ALLOWANCE: Duration = Duration::from_millis(50);

fn seconds() -> u64 {
    std::env::var("NEAR_SECONDS").map_or(60, |seconds| seconds.parse().expect("NEAR_SECONDS is a number"))
}

/// Reads a clock that all processes share.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_micros()).unwrap()
}

fn step(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

/// Draws a rank. The distribution approximates Zipf: the logarithm of the rank is uniform.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a choice by chance"
)]
fn rank(random: &mut u64) -> usize {
    let unit = (step(random) >> 11) as f64 / (1_u64 << 53) as f64;
    ((KEYS as f64).powf(unit) as usize).min(KEYS) - 1
}

fn reader(process: u64, url: &str, log: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "long::reader_process", "--ignored", "--nocapture"])
        .env("NEAR_READER", process.to_string())
        .env("NEAR_URL", url)
        .env("NEAR_LOG", log)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other process of scripts/long near"]
async fn reader_process() {
    let Ok(process) = std::env::var("NEAR_READER") else {
        return;
    };
    let process: u64 = process.parse().unwrap();
    let redis = RedisBackend::builder()
        .url(&std::env::var("NEAR_URL").unwrap())
        .command_timeout(Duration::from_millis(300));
    let builder = NearBackend::builder(redis.build().await.unwrap()).max_bytes(MAX_BYTES);
    let near = builder.max_staleness(STALENESS).build().await.unwrap();
    let end = Instant::now() + Duration::from_secs(seconds());
    // Each task returns the last time at which a read of each version began.
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let near = near.clone();
        tasks.push(tokio::spawn(async move {
            let mut random = process * 1000 + task + 1;
            let mut seen: HashMap<(usize, u64), u64> = HashMap::new();
            let (mut reads, mut failures) = (0_u64, 0_u64);
            while Instant::now() < end {
                let key = rank(&mut random);
                let began = micros();
                match near.get(&format!("key-{key}")).await {
                    Ok(Some(value)) => {
                        let text = std::str::from_utf8(&value).unwrap();
                        let (of, version) = text.split_once(' ').unwrap();
                        assert_eq!(of, format!("key-{key}"), "a crossed answer");
                        seen.insert((key, version.parse().unwrap()), began);
                    }
                    Ok(None) => {}
                    Err(_) => failures += 1,
                }
                reads += 1;
                if reads.is_multiple_of(64) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            (seen, reads, failures)
        }));
    }
    let mut last: HashMap<(usize, u64), u64> = HashMap::new();
    let (mut reads, mut failures) = (0, 0);
    for task in tasks {
        let (seen, of_task, failed) = task.await.unwrap();
        reads += of_task;
        failures += failed;
        for (version, at) in seen {
            let entry = last.entry(version).or_default();
            *entry = (*entry).max(at);
        }
    }
    let stats = near.stats();
    assert!(stats.bytes <= MAX_BYTES as u64, "{stats:?}");
    let mut lines = String::new();
    for ((key, version), at) in last {
        writeln!(lines, "{key} {version} {at}").unwrap();
    }
    fs::write(std::env::var("NEAR_LOG").unwrap(), lines).unwrap();
    eprintln!("process {process}: {reads} reads, {failures} of them failed, {stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute: scripts/long near"]
async fn no_read_is_older_than_max_staleness_whatever_happens() {
    let server = Arc::new(require!("redis", RedisServer::start()));
    let proxy = Proxy::start(format!("127.0.0.1:{}", server.port()).parse().unwrap());
    let proxy = proxy.await.unwrap();
    let url = format!("redis://{}", proxy.address());
    let logs: Vec<PathBuf> = (0..2)
        .map(|process| std::env::temp_dir().join(format!("near-{}-{process}", std::process::id())))
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    // For each version of a key, the time at which the next version was acknowledged.
    let replaced: Arc<Mutex<HashMap<(usize, u64), u64>>> = Arc::default();
    let writer = {
        let (server, done, replaced) = (Arc::clone(&server), Arc::clone(&done), Arc::clone(&replaced));
        tokio::spawn(async move {
            let redis = RedisBackend::connect(&server.url()).await.unwrap();
            let mut random = 99_u64;
            let mut versions = vec![0_u64; KEYS];
            while !done.load(Ordering::Relaxed) {
                let key = rank(&mut random);
                let version = versions[key] + 1;
                versions[key] = version;
                let value = format!("key-{key} {version}");
                let options = SetOptions::expires_after(Duration::from_secs(20));
                let written = redis.set(&format!("key-{key}"), value.into(), options).await;
                // An unacknowledged write may or may not have replaced the version, so the version
                // is not checked.
                if written.is_ok() {
                    replaced.lock().unwrap().insert((key, version - 1), micros());
                }
                tokio::time::sleep(Duration::from_micros(500)).await;
            }
        })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    let readers: Vec<Child> = logs
        .iter()
        .zip(0..)
        .map(|(log, process)| reader(process, &url, log))
        .collect();
    let end = Instant::now() + Duration::from_secs(seconds().saturating_sub(2));
    let mut round = 0_u32;
    tokio::time::sleep(Duration::from_secs(2)).await;
    while Instant::now() < end {
        match round % 5 {
            0 => proxy.cut(),
            1 => {
                server.pause();
                tokio::time::sleep(Duration::from_millis(1500)).await;
                server.resume();
            }
            2 => {
                proxy.set_fault(Fault::Stall);
                tokio::time::sleep(Duration::from_millis(1500)).await;
                proxy.set_fault(Fault::None);
            }
            3 => {
                // The pushes of the readers are lost with their connections.
                server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
            }
            _ => {
                server.kill();
                tokio::time::sleep(Duration::from_millis(300)).await;
                server.restart();
            }
        }
        round += 1;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    for mut reader in readers {
        assert!(reader.wait().unwrap().success());
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let replaced = replaced.lock().unwrap();
    let allowed = u64::try_from((STALENESS + ALLOWANCE).as_micros()).unwrap();
    let (mut judged, mut oldest) = (0_u64, 0_u64);
    for log in &logs {
        for line in fs::read_to_string(log).unwrap().lines() {
            let numbers: Vec<u64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
            let key = usize::try_from(numbers[0]).unwrap();
            if let Some(replaced) = replaced.get(&(key, numbers[1])) {
                judged += 1;
                let age = numbers[2].saturating_sub(*replaced);
                oldest = oldest.max(age);
                assert!(
                    age <= allowed,
                    "key {key} version {} was shown {age} us late",
                    numbers[1]
                );
            }
        }
        fs::remove_file(log).unwrap();
    }
    assert!(judged > 1000, "{judged}");
    eprintln!(
        "{round} faults, {judged} versions judged, the oldest read began {} ms after a newer version was answered",
        oldest / 1000
    );
}
