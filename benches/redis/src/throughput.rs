//! GET and SET EX by 1, 16, 64 and 256 tasks, which do nothing else or work a little between calls.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_kv::redis::RedisBackend;
use codex_traits::{Expiry, KvBackend as _};
use tokio::runtime::Runtime;

use crate::{
    Bench, Workers,
    bare::Bare,
    clients::{Fred, KvClient, Ours, RedisRs, TTL},
    pairs::{Turn, interleaved, median, percentile, ratio, rounds, turn},
    plot::{self, Cell},
};

/// Enough keys that the server's dictionary and the processor's caches affect the speed.
const KEYS: usize = 100_000;

const OURS: usize = 0;
const BARE: usize = 1;
const NAGLE: usize = 2;
const NODELAY: usize = 3;
pub(crate) const CLIENTS: [&str; 5] = [
    "codex-redis",
    "bare multiplexer",
    "redis-rs",
    "redis-rs, TCP_NODELAY",
    "fred",
];

/// Tasks, microseconds of work between calls, and calls in one turn.
const LOADS: [(usize, u64, usize); 10] = [
    (1, 0, 4000),
    (16, 0, 30_000),
    (64, 0, 60_000),
    (256, 0, 80_000),
    (64, 1, 60_000),
    (256, 1, 60_000),
    (64, 5, 30_000),
    (256, 5, 30_000),
    (64, 20, 15_000),
    (256, 20, 15_000),
];

pub(crate) const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// Returns a JSON text of 200 bytes.
pub(crate) fn json() -> Bytes {
    let mut text = String::from(r#"{"id":1234567,"name":"Ada Lovelace","tags":["a","b","c"],"price":12.5,"text":""#);
    while text.len() < 198 {
        text.push('x');
    }
    text.push_str("\"}");
    Bytes::from(text)
}

/// Divides `operations` among `tasks` tasks and runs them.
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

/// The work of one turn.
#[derive(Clone, Copy)]
struct Load {
    set: bool,
    tasks: usize,
    /// Processor time that each task spends between two calls.
    work: Duration,
    operations: usize,
}

impl Load {
    /// Runs one turn with random keys and records the time of each call, as the outside benchmark
    /// does.
    fn turn<C: KvClient>(
        self,
        bench: &Bench,
        client: &C,
        keys: &Arc<Vec<String>>,
        latencies: &Mutex<Vec<Duration>>,
    ) -> Turn {
        let each = self.operations / self.tasks;
        let times = Arc::new(Mutex::new(Vec::with_capacity(self.operations)));
        let done = spread(&bench.runtime, self.tasks, self.operations, |task| {
            let (client, keys, times, value) = (client.clone(), Arc::clone(keys), Arc::clone(&times), json());
            async move {
                let mut random = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(task as u64 + 1);
                let mut taken = Vec::with_capacity(each);
                for _ in 0..each {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let key = &keys[random as usize % KEYS];
                    let start = Instant::now();
                    if self.set {
                        client.set(key, value.clone()).await;
                    } else {
                        assert_eq!(client.get(key).await, value.len());
                    }
                    taken.push(start.elapsed());
                    let worked = Instant::now();
                    while !self.work.is_zero() && worked.elapsed() < self.work {
                        std::hint::spin_loop();
                    }
                }
                times.lock().unwrap().extend(taken);
            }
        });
        latencies.lock().unwrap().append(&mut times.lock().unwrap());
        done
    }
}

pub(crate) fn run() {
    for workers in Workers::wanted() {
        let cells = measure(workers);
        plot::draw(workers, &cells);
    }
}

fn measure(workers: Workers) -> Vec<Cell> {
    let bench = Bench::on(workers);
    let url = bench.url();
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(|number| format!("bench:{number:026}")).collect());
    let ours = Ours(bench.runtime.block_on(RedisBackend::connect(&url)).unwrap());
    let bare = bench.runtime.block_on(Bare::connect(bench.server.port()));
    let nagle = bench.runtime.block_on(RedisRs::connect(&url, false));
    let nodelay = bench.runtime.block_on(RedisRs::connect(&url, true));
    let fred = bench.runtime.block_on(Fred::connect(&url));
    bench.runtime.block_on(async {
        for chunk in keys.chunks(1000) {
            let entries: Vec<_> = chunk.iter().map(|key| (key.as_str(), json())).collect();
            ours.0.set_many(&entries, Expiry::After(TTL)).await.unwrap();
        }
    });
    let rounds = rounds(15);
    println!(
        "## GET and SET EX, {KEYS} keys, {}: thousand operations per second, median of {rounds} interleaved rounds; ratios are medians of the pairs\n",
        workers.title()
    );
    println!(
        "| | tasks | work, µs | {} | to the better redis-rs | to the bare multiplexer | processor time per operation, µs: ours, redis-rs' | ratio | p50, p99, ms |",
        CLIENTS.join(" | ")
    );
    println!("|---|---|---|{}---|---|---|---|---|", "---|".repeat(CLIENTS.len()));
    let wanted = std::env::var("BENCH_TASKS").ok();
    let mut cells = Vec::new();
    for (verb, set) in [("GET", false), ("SET EX", true)] {
        for (tasks, micros, operations) in LOADS {
            if wanted.as_ref().is_some_and(|wanted| *wanted != tasks.to_string()) {
                continue;
            }
            let load = Load {
                set,
                tasks,
                work: Duration::from_micros(micros),
                operations,
            };
            let latencies: [Mutex<Vec<Duration>>; CLIENTS.len()] = Default::default();
            let turns = interleaved(
                rounds,
                &mut [
                    &mut || load.turn(&bench, &ours, &keys, &latencies[0]),
                    &mut || load.turn(&bench, &bare, &keys, &latencies[1]),
                    &mut || load.turn(&bench, &nagle, &keys, &latencies[2]),
                    &mut || load.turn(&bench, &nodelay, &keys, &latencies[3]),
                    &mut || load.turn(&bench, &fred, &keys, &latencies[4]),
                ],
            );
            let cell = Cell {
                verb,
                tasks,
                micros,
                speeds: turns
                    .iter()
                    .map(|turns| median(turns.iter().map(Turn::per_second)))
                    .collect(),
                latencies: latencies
                    .map(|times| {
                        let mut times = times.into_inner().unwrap();
                        PERCENTILES.map(|percent| percentile(&mut times, percent).as_secs_f64() * 1e3)
                    })
                    .to_vec(),
            };
            row(&cell, &turns);
            cells.push(cell);
        }
    }
    println!();
    cells
}

fn row(cell: &Cell, turns: &[Vec<Turn>]) {
    let peer = if cell.speeds[NAGLE] >= cell.speeds[NODELAY] {
        NAGLE
    } else {
        NODELAY
    };
    // Without the work of the tasks themselves.
    let own = |turn: &Turn| turn.cpu_micros() - cell.micros as f64;
    let cpu = |at: usize| median(turns[at].iter().map(own));
    let speeds: Vec<String> = cell.speeds.iter().map(|speed| format!("{:.1}", speed / 1e3)).collect();
    println!(
        "| {} | {} | {} | {} | **{:.2}** | **{:.2}** | {:.2}, {:.2} | **{:.2}** | {:.2}, {:.2} |",
        cell.verb,
        cell.tasks,
        cell.micros,
        speeds.join(" | "),
        ratio(&turns[OURS], &turns[peer], Turn::per_second),
        ratio(&turns[OURS], &turns[BARE], Turn::per_second),
        cpu(OURS),
        cpu(peer),
        ratio(&turns[OURS], &turns[peer], own),
        cell.latencies[OURS][0],
        cell.latencies[OURS][2],
    );
}
