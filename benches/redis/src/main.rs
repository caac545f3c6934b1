//! codex-redis beside its peers, on one real server. `scripts/bench-redis` runs it; arguments name
//! the parts to run.

mod big;
mod clear;
mod clients;
mod many;
mod pairs;
mod steps;
mod stores;
mod throughput;

use codex_testkit::redis::RedisServer;
use tokio::runtime::{Builder, Runtime};

/// What every measurement gets: a server that is asked nothing else, and a runtime of two workers.
struct Bench {
    server: RedisServer,
    runtime: Runtime,
}

impl Bench {
    fn new() -> Self {
        let server = RedisServer::start_with(["--databases", "16"]).expect("a redis-server on PATH");
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self { server, runtime }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.server.port())
    }
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let parts: [(&str, fn()); 6] = [
        ("throughput", throughput::run),
        ("stores", stores::run),
        ("many", many::run),
        ("clear", clear::run),
        ("big", big::run),
        ("steps", steps::run),
    ];
    if let Some(unknown) = asked.iter().find(|asked| parts.iter().all(|(name, _)| name != asked)) {
        let names = parts.map(|(name, _)| name).join(", ");
        eprintln!("unknown part {unknown}; there are {names}, and all of them without an argument");
        std::process::exit(2);
    }
    for (name, run) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            run();
        }
    }
}
