//! codex-redis compared with its peers, on a real server. `scripts/bench redis` runs it; arguments
//! name the parts to run.

mod bare;
mod big;
mod cache;
mod clear;
mod clients;
#[path = "../../common/images.rs"]
mod images;
mod many;
mod pairs;
#[path = "../../common/parts.rs"]
mod parts;
mod plot;
mod steps;
mod stores;
mod throughput;

use std::env;

use codex_testkit::redis::RedisServer;
use tokio::runtime::{Builder, Runtime};

/// The input of every measurement: a server that gets no other requests, and a runtime.
struct Bench {
    server: RedisServer,
    runtime: Runtime,
}

/// The runtimes, with their names in the outside benchmark.
#[derive(Clone, Copy)]
enum Workers {
    Two,
    CurrentThread,
}

impl Workers {
    /// Returns the runtime that `BENCH_RUNTIME` names, `mt2` or `ct`, or both if it is not set.
    fn wanted() -> Vec<Self> {
        let both = [Self::Two, Self::CurrentThread];
        match env::var("BENCH_RUNTIME") {
            Err(_) => both.to_vec(),
            Ok(wanted) => both.into_iter().filter(|workers| workers.name() == wanted).collect(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Two => "mt2",
            Self::CurrentThread => "ct",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Two => "two workers",
            Self::CurrentThread => "current-thread runtime",
        }
    }
}

impl Bench {
    fn new() -> Self {
        Self::on(Workers::Two)
    }

    fn on(workers: Workers) -> Self {
        let server = RedisServer::start_with(["--databases", "16"]).expect("a redis-server on PATH");
        let mut builder = match workers {
            Workers::Two => Builder::new_multi_thread(),
            Workers::CurrentThread => Builder::new_current_thread(),
        };
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        Self { server, runtime }
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.server.port())
    }
}

fn main() {
    let asked: Vec<String> = env::args().skip(1).collect();
    let parts: [(&str, fn()); 7] = [
        ("throughput", throughput::run),
        ("stores", stores::run),
        ("many", many::run),
        ("clear", clear::run),
        ("big", big::run),
        ("steps", steps::run),
        ("cache", cache::run),
    ];
    parts::run(&parts, &asked);
}
