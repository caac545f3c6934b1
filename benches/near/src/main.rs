//! The near cache compared with the plain Redis backend, the memory backend and the client-side
//! caches of other clients. `scripts/bench near` runs it; arguments name the parts to run.

mod clients;
mod hot;
#[path = "../../common/images.rs"]
mod images;
mod load;
mod miss;
#[expect(dead_code, reason = "the benchmark of Redis uses the rest")]
#[path = "../../redis/src/pairs.rs"]
mod pairs;
#[path = "../../common/parts.rs"]
mod parts;
mod plot;
#[path = "../../common/random.rs"]
mod random;
mod server;
mod worker;

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

/// The length of every value.
const LENGTH: usize = 200;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn key(number: usize) -> String {
    format!("bench:{number:026}")
}

/// Returns a JSON text of 200 bytes that contains the number of the write.
fn value(version: u64) -> Bytes {
    let mut text = format!(r#"{{"version":{version:020},"name":"Ada Lovelace","tags":["a","b","c"],"text":""#);
    while text.len() < LENGTH - 2 {
        text.push('x');
    }
    text.push_str("\"}");
    Bytes::from(text)
}

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.first().is_some_and(|first| first == worker::ARGUMENT) {
        return worker::run(&asked[1..]);
    }
    let parts: [(&str, fn()); 3] = [("hot", hot::run), ("miss", miss::run), ("load", load::run)];
    parts::run(&parts, &asked);
}
