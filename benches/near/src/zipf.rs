//! Two processes with 64 tasks each: zipf keys, 95 % reads.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_testkit::redis::{RedisServer, Value};

use crate::client::{Client, NAMES};

const KEYS: usize = 100_000;
const EXPONENT: f64 = 0.99;
const TASKS: usize = 64;
const PROCESSES: usize = 2;
const VALUE: usize = 100;

pub(crate) fn run(seconds: u64) {
    println!("\n# {PROCESSES} processes, {TASKS} tasks each, {KEYS} keys, zipf {EXPONENT}, 95 % reads, {seconds} s");
    println!("{:<10} {:>12} {:>18}", "client", "ops/s", "server us/op");
    for name in NAMES {
        let server = RedisServer::start().expect("a redis-server on PATH");
        let value = "v".repeat(VALUE);
        for key in 0..KEYS {
            server.command(&["SET", &format!("key:{key}"), &value]).unwrap();
        }
        let before = processor(&server);
        let children: Vec<_> = (0..PROCESSES)
            .map(|seed| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["child", name, &server.port().to_string(), &seconds.to_string(), &seed.to_string()])
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut ops = 0_u64;
        for child in children {
            let output = child.wait_with_output().unwrap();
            ops += String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap();
        }
        let used = processor(&server) - before;
        let per_second = ops / seconds;
        println!("{name:<10} {per_second:>12} {:>18.3}", used * 1e6 / ops as f64);
    }
}

/// Seconds of processor time that the server has used.
fn processor(server: &RedisServer) -> f64 {
    let Value::BulkString(info) = server.command(&["INFO", "cpu"]).unwrap() else {
        panic!("INFO is text")
    };
    let info = String::from_utf8(info).unwrap();
    let fields = info.lines().filter_map(|line| line.split_once(':'));
    let used = fields.filter(|(name, _)| ["used_cpu_sys", "used_cpu_user"].contains(name));
    used.map(|(_, seconds)| seconds.parse::<f64>().unwrap()).sum()
}

/// Prints the number of calls.
pub(crate) fn child(arguments: &[String]) {
    let [name, port, seconds, seed] = arguments else {
        panic!("name, port, seconds, seed")
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let ops = runtime.block_on(async {
        let client = Client::connect(name, port.parse().unwrap()).await;
        let keys: std::sync::Arc<Vec<f64>> = cumulative().into();
        let end = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (mut client, keys) = (client.clone(), keys.clone());
                let mut random = Random(seed.parse::<u64>().unwrap() * 1000 + task as u64 + 1);
                tokio::spawn(async move {
                    let value = Bytes::from("w".repeat(VALUE));
                    let mut ops = 0_u64;
                    while Instant::now() < end {
                        for _ in 0..16 {
                            let key = format!("key:{}", keys.partition_point(|sum| *sum < random.unit()));
                            if random.unit() < 0.95 {
                                assert_eq!(client.get(&key).await, Some(VALUE));
                            } else {
                                client.set(&key, &value).await;
                            }
                            ops += 1;
                        }
                        tokio::task::yield_now().await;
                    }
                    ops
                })
            })
            .collect();
        let mut ops = 0;
        for task in tasks {
            ops += task.await.unwrap();
        }
        ops
    });
    println!("{ops}");
}

fn cumulative() -> Vec<f64> {
    let weights = (1..=KEYS).map(|rank| 1.0 / (rank as f64).powf(EXPONENT));
    let total: f64 = weights.clone().sum();
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(sum.min(1.0))
        })
        .collect()
}

/// xorshift64*: enough to pick keys by.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }
}
