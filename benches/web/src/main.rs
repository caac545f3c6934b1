//! A page that counts, served on Redis by codex-kv and by tower-sessions, and a load of browsers
//! for any of them. Run by `scripts/bench-web`.
//!
//! * `codex-web-bench serve codex|tower REDIS_URL` serves on a free port, which it prints.
//! * `codex-web-bench codec` prints what signing and reading a session costs.
//! * `codex-web-bench load CONNECTIONS SECONDS NAME=PORT[=PID] …` asks each server in turn, once
//!   per `BENCH_ROUNDS`, and prints a table.

mod codec;
mod load;
mod serve;

use std::time::Duration;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["codec"] => codec::print_costs(),
        ["serve", "codex", url] => serve::codex(url).await,
        ["serve", "tower", url] => serve::tower(url).await,
        ["load", connections, seconds, ref servers @ ..] => {
            let servers = servers.iter().map(|server| load::Server::parse(server)).collect();
            let seconds = Duration::from_secs_f64(seconds.parse().expect("seconds"));
            load::compare(servers, connections.parse().expect("connections"), seconds).await;
        }
        _ => panic!("see src/main.rs"),
    }
}
