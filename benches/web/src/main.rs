//! Pages that count visits, served by codex-kv and its peers on Redis, and a load of simulated
//! browsers. Run by `scripts/bench web`.
//!
//! * `codex-web-bench serve codex|tower|axum-session|codex-actix|actix-session REDIS_URL` serves on
//!   a free port, which it prints.
//! * `codex-web-bench codec` prints the cost of signing and reading a session.
//! * `codex-web-bench load PATH CONNECTIONS SECONDS NAME=PORT[=PID] …` loads each server in turn,
//!   for `BENCH_ROUNDS` rounds, and prints a table.

mod codec;
mod load;
mod serve;

use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["codec"] => codec::print_costs(),
        // These have their own runtimes.
        ["serve", "codex-actix", url] => serve::codex_actix(url),
        ["serve", "actix-session", url] => serve::actix(url),
        _ => run(&arguments),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn run(arguments: &[&str]) {
    match *arguments {
        ["serve", "codex", url] => serve::codex(url).await,
        ["serve", "tower", url] => serve::tower(url).await,
        ["serve", "axum-session", url] => serve::axum_session(url).await,
        ["load", path, connections, seconds, ref servers @ ..] => {
            let servers = servers.iter().map(|server| load::Server::parse(server)).collect();
            let seconds = Duration::from_secs_f64(seconds.parse().expect("seconds"));
            load::compare(servers, path, connections.parse().expect("connections"), seconds).await;
        }
        _ => panic!("see src/main.rs"),
    }
}
