//! Two processes of 64 tasks each on one server: keys by Zipf's law, 95 % reads.

use std::{env, time::Duration};

use crate::{
    clients::KEYS,
    pairs::{interleaved, median, ratio, rounds},
    plot, runtime,
    server::Server,
    worker::{CLIENTS, Worker},
};

const PROCESSES: u64 = 2;
const PLAIN: usize = 0;

/// The duration of the load before the measurement, in which the clients fill their caches.
const WARM_UP: Duration = Duration::from_secs(2);

/// Enough for every invalidation to arrive.
const SETTLE: Duration = Duration::from_millis(500);

/// A client under test, with its own server and two processes.
struct Contest {
    server: Server,
    workers: Vec<Worker>,
}

/// The result of one turn, over both processes.
pub(crate) struct Turn {
    per_second: f64,
    /// Microseconds of processor time per operation.
    server: f64,
    clients: f64,
}

/// The medians of one client.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) per_second: f64,
    pub(crate) server: f64,
}

impl Contest {
    fn turn(&mut self, time: Duration) -> Turn {
        let before = self.server.cpu();
        for worker in &mut self.workers {
            worker.ask_for_load(time);
        }
        let loads: Vec<_> = self.workers.iter_mut().map(Worker::load).collect();
        let server = self.server.cpu() - before;
        let operations: f64 = loads.iter().map(|load| load.operations as f64).sum();
        let clients: Duration = loads.iter().map(|load| load.cpu).sum();
        Turn {
            per_second: loads
                .iter()
                .map(|load| load.operations as f64 / load.wall.as_secs_f64())
                .sum(),
            server: server.as_secs_f64() * 1e6 / operations,
            clients: clients.as_secs_f64() * 1e6 / operations,
        }
    }
}

pub(crate) fn run() {
    let runtime = runtime();
    let time = env::var("BENCH_MILLIS").map_or(500, |millis| millis.parse().expect("BENCH_MILLIS is a number"));
    let time = Duration::from_millis(time);
    let mut contests: Vec<Contest> = (0..CLIENTS.len())
        .map(|client| {
            let server = runtime.block_on(Server::with(KEYS));
            let workers = (1..=PROCESSES).map(|number| Worker::start(client, &server.url(), number));
            let workers = workers.collect();
            let mut contest = Contest { server, workers };
            contest.turn(WARM_UP);
            contest
        })
        .collect();
    let rounds = rounds(15);
    let mut turns: Vec<_> = contests.iter_mut().map(|contest| move || contest.turn(time)).collect();
    let mut candidates: Vec<&mut dyn FnMut() -> Turn> = Vec::new();
    for turn in &mut turns {
        candidates.push(turn);
    }
    let turns = interleaved(rounds, &mut candidates);
    println!(
        "## {PROCESSES} processes of 64 tasks, Zipf 0.99 over {KEYS} keys, 95 % reads, median of {rounds} interleaved rounds of {} ms; ratios are medians of the pairs\n",
        time.as_millis()
    );
    println!(
        "| | thousand operations per second | ratio to `RedisBackend` | server's processor time per operation, µs | ratio | clients' processor time per operation, µs | keys that stay stale |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    std::thread::sleep(SETTLE);
    for (client, contest) in contests.into_iter().enumerate() {
        let stale: u64 = contest.workers.into_iter().map(Worker::end).sum();
        let row = Row {
            name: CLIENTS[client],
            per_second: median(turns[client].iter().map(|turn| turn.per_second)),
            server: median(turns[client].iter().map(|turn| turn.server)),
        };
        println!(
            "| {} | {:.1} | **{:.2}** | {:.3} | **{:.2}** | {:.3} | {stale} |",
            row.name,
            row.per_second / 1e3,
            ratio(&turns[client], &turns[PLAIN], |turn| turn.per_second),
            row.server,
            ratio(&turns[client], &turns[PLAIN], |turn| turn.server),
            median(turns[client].iter().map(|turn| turn.clients)),
        );
        rows.push(row);
    }
    println!();
    plot::draw(&rows);
}
