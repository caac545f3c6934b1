//! One of the two processes of the load. It connects a client, and runs the load that lines on its
//! standard input request.

use std::{
    io::{BufRead as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use codex_kv::{KvBackend as _, redis::RedisBackend};

use crate::{
    LENGTH,
    clients::{Fred, KEYS, KvClient, RedisRs, Rustis, near, plain},
    key, pairs,
    random::{Random, zipf},
    runtime, value,
};

/// The first argument of the program as a worker.
pub(crate) const ARGUMENT: &str = "worker";

const TASKS: usize = 64;

/// The number of reads in a hundred calls. The other calls are writes.
const READS: usize = 95;

const EXPONENT: f64 = 0.99;

/// The number of calls that are drawn before the measurement, a power of two.
const DRAWS: usize = 1 << 20;

/// Marks a drawn call as a write.
const WRITE: u32 = 1 << 31;

/// The clients, by the names of the table.
pub(crate) const CLIENTS: [&str; 5] = [
    "`RedisBackend`",
    "`NearBackend`",
    "redis-rs, `cache-aio`",
    "rustis, `Cache`",
    "fred and a `DashMap`",
];

/// The cost of a period of load in one process.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) operations: u64,
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// A worker, as its parent sees it.
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    output: std::io::BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a worker with this client of [`CLIENTS`]. Workers with different numbers write
    /// different values.
    pub(crate) fn start(client: usize, url: &str, number: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, &client.to_string(), url, &number.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut worker = Self { child, input, output };
        assert_eq!(worker.answer(), [0]);
        worker
    }

    pub(crate) fn ask_for_load(&mut self, time: Duration) {
        writeln!(self.input, "{}", time.as_millis()).unwrap();
    }

    pub(crate) fn load(&mut self) -> Load {
        let [operations, wall, cpu] = self.answer()[..] else {
            panic!("a worker answers three numbers")
        };
        Load {
            operations,
            wall: Duration::from_nanos(wall),
            cpu: Duration::from_nanos(cpu),
        }
    }

    /// Ends the worker. Returns the number of keys whose value in the client differs from that in
    /// the server.
    pub(crate) fn end(mut self) -> u64 {
        writeln!(self.input, "end").unwrap();
        let stale = self.answer()[0];
        assert!(self.child.wait().unwrap().success());
        stale
    }

    fn answer(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.split_whitespace().map(|number| number.parse().unwrap()).collect()
    }
}

/// Runs this process as a worker.
pub(crate) fn run(arguments: &[String]) {
    let [client, url, number] = arguments else {
        panic!("a worker is started by the benchmark")
    };
    let number = number.parse().unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        match client.as_str() {
            "0" => serve(plain(url).await, url, number).await,
            "1" => serve(near(url).await, url, number).await,
            "2" => serve(RedisRs::connect(url).await, url, number).await,
            "3" => serve(Rustis::connect(url).await, url, number).await,
            "4" => serve(Fred::connect(url).await, url, number).await,
            other => panic!("there is no client {other}"),
        }
    });
}

async fn serve<C: KvClient>(client: C, url: &str, number: u64) {
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(key).collect());
    let draws: Arc<Vec<u32>> = Arc::new(draws(number));
    let versions = Arc::new(AtomicU64::new(number << 48));
    println!("0");
    for line in std::io::stdin().lines() {
        match line.unwrap().parse() {
            Ok(millis) => {
                let load = load(&client, &keys, &draws, &versions, Duration::from_millis(millis)).await;
                println!("{} {} {}", load.operations, load.wall.as_nanos(), load.cpu.as_nanos());
            }
            Err(_) => {
                println!("{}", stale(&client, &keys, url).await);
                return;
            }
        }
    }
}

async fn load<C: KvClient>(
    client: &C,
    keys: &Arc<Vec<String>>,
    draws: &Arc<Vec<u32>>,
    versions: &Arc<AtomicU64>,
    time: Duration,
) -> Load {
    let is_over = Arc::new(AtomicBool::new(false));
    let (cpu, start) = (pairs::cpu(), Instant::now());
    // Each period of load continues at another place in the draws.
    let origin = versions.load(Ordering::Relaxed) as usize;
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (client, keys, draws) = (client.clone(), Arc::clone(keys), Arc::clone(draws));
            let (versions, is_over) = (Arc::clone(versions), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut at = origin + task * (DRAWS / TASKS);
                let mut operations = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let draw = draws[at % DRAWS];
                    at += 1;
                    let key = &keys[(draw & !WRITE) as usize];
                    if draw & WRITE == 0 {
                        assert_eq!(client.get(key).await.map(|value| value.len()), Some(LENGTH));
                    } else {
                        let version = versions.fetch_add(1, Ordering::Relaxed);
                        client.set(key, value(version)).await;
                    }
                    operations += 1;
                }
                operations
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    is_over.store(true, Ordering::Relaxed);
    let mut operations = 0;
    for task in tasks {
        operations += task.await.unwrap();
    }
    Load {
        operations,
        wall: start.elapsed(),
        cpu: pairs::cpu() - cpu,
    }
}

/// Returns the number of keys whose value in the client differs from that in the server.
async fn stale<C: KvClient>(client: &C, keys: &[String], url: &str) -> u64 {
    let redis = RedisBackend::connect(url).await.unwrap();
    let mut stale = 0;
    for chunk in keys.chunks(1000) {
        let names: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let values = redis.get_many(&names).await.unwrap();
        for (key, value) in names.into_iter().zip(values) {
            stale += u64::from(client.get(key).await != value);
        }
    }
    stale
}

/// Draws keys by Zipf's law, and marks the calls that write.
fn draws(seed: u64) -> Vec<u32> {
    let mut random = Random::new(!seed);
    zipf(KEYS, EXPONENT, DRAWS, seed)
        .into_iter()
        .map(|rank| if random.below(100) < READS { rank } else { rank | WRITE })
        .collect()
}
