//! Reads that miss the near cache, and reads over the backend inside it, compared with a plain
//! backend.

use std::{sync::Arc, time::Duration};

use codex_kv::{KvBackend as _, Pattern};
use tokio::runtime::Runtime;

use crate::{
    clients::{KvClient, Ours, near, plain},
    key,
    pairs::{cpu, interleaved, median, ratio, rounds},
    runtime,
    server::Server,
};

const KEYS: usize = 20_000;

/// The cost of reading many keys once.
struct Reads {
    operations: f64,
    wall: Duration,
    client: Duration,
    server: Duration,
}

type Figure = fn(&Reads) -> f64;

const FIGURES: [(&str, Figure); 3] = [
    ("time of a call, µs", |reads| {
        reads.wall.as_secs_f64() * 1e6 / reads.operations
    }),
    ("processor time of the client, µs", |reads| {
        reads.client.as_secs_f64() * 1e6 / reads.operations
    }),
    ("processor time of the server, µs", |reads| {
        reads.server.as_secs_f64() * 1e6 / reads.operations
    }),
];

pub(crate) fn run() {
    let runtime = runtime();
    let server = runtime.block_on(Server::with(KEYS));
    let redis = runtime.block_on(plain(&server.url()));
    let near = runtime.block_on(near(&server.url()));
    let inner = Ours(near.0.inner().clone());
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(key).collect());
    let rounds = rounds(15);
    println!("## A read that misses, median of {rounds} interleaved rounds; ratios are medians of the pairs\n");
    println!(
        "| tasks | | `RedisBackend` | a miss of `NearBackend` | ratio | the backend inside a near cache | ratio |"
    );
    println!("|---|---|---|---|---|---|---|");
    // A single task waits for each answer, so it reads fewer keys.
    for (tasks, share) in [(1, 8), (64, 1)] {
        let turns = interleaved(
            rounds,
            &mut [
                &mut || read(&runtime, &server, &redis, &keys, tasks, KEYS / share),
                &mut || {
                    // No key has this name, but the near cache drops everything that it holds.
                    let pattern = Pattern::prefix("no key");
                    let removed = runtime.block_on(near.0.del_matching(&pattern));
                    assert_eq!(removed.unwrap(), 0);
                    let misses = near.0.stats().misses;
                    let reads = read(&runtime, &server, &near, &keys, tasks, KEYS / share);
                    assert_eq!(near.0.stats().misses - misses, reads.operations as u64);
                    reads
                },
                &mut || read(&runtime, &server, &inner, &keys, tasks, KEYS / share),
            ],
        );
        for (name, figure) in FIGURES {
            let medians: Vec<f64> = turns.iter().map(|turns| median(turns.iter().map(figure))).collect();
            println!(
                "| {tasks} | {name} | {:.2} | {:.2} | **{:.2}** | {:.2} | {:.2} |",
                medians[0],
                medians[1],
                ratio(&turns[1], &turns[0], figure),
                medians[2],
                ratio(&turns[2], &turns[0], figure),
            );
        }
    }
    println!();
}

/// Reads each of the first `count` keys once, with this many tasks.
fn read<C: KvClient>(
    runtime: &Runtime,
    server: &Server,
    client: &C,
    keys: &Arc<Vec<String>>,
    tasks: usize,
    count: usize,
) -> Reads {
    let (server_before, client_before, start) = (server.cpu(), cpu(), std::time::Instant::now());
    runtime.block_on(async {
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let (client, keys) = (client.clone(), Arc::clone(keys));
                tokio::spawn(async move {
                    for key in keys[..count].iter().skip(task).step_by(tasks) {
                        assert!(client.get(key).await.is_some());
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
    });
    let (wall, client) = (start.elapsed(), cpu() - client_before);
    Reads {
        operations: count as f64,
        wall,
        client,
        server: server.cpu() - server_before,
    }
}
