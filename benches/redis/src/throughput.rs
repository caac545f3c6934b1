//! GET and SET EX by 1, 64 and 256 tasks.

use std::sync::Arc;

use bytes::Bytes;
use codex_kv::redis::RedisBackend;
use tokio::runtime::Runtime;

use crate::{
    Bench,
    clients::{Fred, KvClient, Ours, RedisRs},
    pairs::{Turn, interleaved, median, ratio, rounds, turn},
};

const KEYS: usize = 1000;

/// A JSON text of 200 bytes.
pub(crate) fn json() -> Bytes {
    let mut text = String::from(r#"{"id":1234567,"name":"Ada Lovelace","tags":["a","b","c"],"price":12.5,"text":""#);
    while text.len() < 198 {
        text.push('x');
    }
    text.push_str("\"}");
    Bytes::from(text)
}

/// `tasks` tasks do `operations` between them.
pub(crate) fn spread<F>(runtime: &Runtime, tasks: usize, operations: usize, work: impl Fn(usize) -> F) -> Turn
where
    F: Future<Output = ()> + Send + 'static,
{
    let each = operations / tasks;
    turn(each * tasks, || {
        runtime.block_on(async {
            let running: Vec<_> = (0..tasks).map(|task| tokio::spawn(work(task))).collect();
            for task in running {
                task.await.unwrap();
            }
        });
    })
}

fn gets<C: KvClient>(bench: &Bench, client: &C, keys: &Arc<Vec<String>>, tasks: usize, operations: usize) -> Turn {
    spread(&bench.runtime, tasks, operations, |task| {
        let (client, keys) = (client.clone(), Arc::clone(keys));
        async move {
            for number in 0..operations / tasks {
                let length = client.get(&keys[(task * 37 + number) % KEYS]).await;
                assert_eq!(length, 200);
            }
        }
    })
}

fn sets<C: KvClient>(bench: &Bench, client: &C, keys: &Arc<Vec<String>>, tasks: usize, operations: usize) -> Turn {
    let value = json();
    spread(&bench.runtime, tasks, operations, |task| {
        let (client, keys, value) = (client.clone(), Arc::clone(keys), value.clone());
        async move {
            for number in 0..operations / tasks {
                client.set(&keys[(task * 37 + number) % KEYS], value.clone()).await;
            }
        }
    })
}

pub(crate) fn run() {
    let bench = Bench::new();
    let url = bench.url();
    let keys = Arc::new(
        (0..KEYS)
            .map(|number| format!("bench:{number:026}"))
            .collect::<Vec<_>>(),
    );
    let ours = Ours(bench.runtime.block_on(RedisBackend::connect(&url)).unwrap());
    let nagle = bench.runtime.block_on(RedisRs::connect(&url, false));
    let nodelay = bench.runtime.block_on(RedisRs::connect(&url, true));
    let fred = bench.runtime.block_on(Fred::connect(&url));
    sets(&bench, &ours, &keys, 1, KEYS * 2);
    let rounds = rounds(15);
    println!(
        "## GET and SET EX: thousand operations per second, median of {rounds} interleaved rounds; the ratio is the median of the pairs\n"
    );
    println!(
        "| | tasks | codex-redis | redis-rs | redis-rs, TCP_NODELAY | fred | to the better redis-rs | processor time per operation, µs: ours, its | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (verb, set) in [("GET", false), ("SET EX", true)] {
        for (tasks, operations) in [(1, 4000), (64, 60_000), (256, 80_000)] {
            if std::env::var("BENCH_TASKS").is_ok_and(|wanted| wanted != tasks.to_string()) {
                continue;
            }
            macro_rules! candidate {
                ($client:expr) => {
                    &mut || {
                        if set {
                            sets(&bench, $client, &keys, tasks, operations)
                        } else {
                            gets(&bench, $client, &keys, tasks, operations)
                        }
                    }
                };
            }
            let turns = interleaved(
                rounds,
                &mut [
                    candidate!(&ours),
                    candidate!(&nagle),
                    candidate!(&nodelay),
                    candidate!(&fred),
                ],
            );
            let speed = |at: usize| median(turns[at].iter().map(Turn::per_second));
            let peer = if speed(1) >= speed(2) { 1 } else { 2 };
            let cpu = |at: usize| median(turns[at].iter().map(Turn::cpu_micros));
            println!(
                "| {verb} | {tasks} | {:.1} | {:.1} | {:.1} | {:.1} | **{:.2}** | {:.2}, {:.2} | **{:.2}** |",
                speed(0) / 1e3,
                speed(1) / 1e3,
                speed(2) / 1e3,
                speed(3) / 1e3,
                ratio(&turns[0], &turns[peer], Turn::per_second),
                cpu(0),
                cpu(peer),
                ratio(&turns[0], &turns[peer], Turn::cpu_micros),
            );
        }
    }
    println!();
}
