//! `get_many` and `set_many` of 100 keys, compared with a bare MGET and a bare pipeline of SETs.

use std::sync::Arc;

use bytes::Bytes;
use codex_kv::redis::RedisBackend;
use codex_traits::{Expiry, KvBackend as _};

use crate::{
    Bench, Workers,
    clients::{RedisRs, TTL},
    pairs::{Turn, interleaved, median, ratio, rounds},
    throughput::{json, spread},
};

const KEYS: usize = 100;

pub(crate) fn run() {
    for workers in Workers::wanted() {
        measure(workers);
    }
}

fn measure(workers: Workers) {
    let bench = Bench::on(workers);
    let ours = bench.runtime.block_on(RedisBackend::connect(&bench.url())).unwrap();
    let bare = bench.runtime.block_on(RedisRs::connect(&bench.url(), true)).0;
    let keys: Arc<Vec<String>> = Arc::new((0..KEYS).map(|number| format!("bench:{number:026}")).collect());
    let value = json();
    let rounds = rounds(15);
    println!(
        "## 100 keys at a time, {}: thousand keys per second, median of {rounds} interleaved rounds\n",
        workers.title()
    );
    println!("| | tasks | codex-redis | redis-rs | ratio (median of the pairs) | processor time, ratio |");
    println!("|---|---|---|---|---|---|");
    for (tasks, calls) in [(1, 400), (16, 1600)] {
        let expiry = Expiry::After(TTL);
        let set = interleaved(
            rounds,
            &mut [
                &mut || {
                    spread(&bench.runtime, tasks, calls, |_| {
                        let (ours, keys, value) = (ours.clone(), Arc::clone(&keys), value.clone());
                        async move {
                            let entries: Vec<(&str, Bytes)> =
                                keys.iter().map(|key| (key.as_str(), value.clone())).collect();
                            for _ in 0..calls / tasks {
                                ours.set_many(&entries, expiry).await.unwrap();
                            }
                        }
                    })
                },
                &mut || {
                    spread(&bench.runtime, tasks, calls, |_| {
                        let (mut bare, keys, value) = (bare.clone(), Arc::clone(&keys), value.clone());
                        async move {
                            for _ in 0..calls / tasks {
                                let mut pipeline = redis::pipe();
                                for key in keys.iter() {
                                    pipeline
                                        .cmd("SET")
                                        .arg(key)
                                        .arg(&value[..])
                                        .arg("PX")
                                        .arg(TTL.as_millis() as u64);
                                }
                                let answers: Vec<redis::Value> = pipeline.query_async(&mut bare).await.unwrap();
                                assert_eq!(answers.len(), KEYS);
                            }
                        }
                    })
                },
            ],
        );
        row("set_many; a pipeline of SET PX", tasks, &set);
        let get = interleaved(
            rounds,
            &mut [
                &mut || {
                    spread(&bench.runtime, tasks, calls, |_| {
                        let (ours, keys) = (ours.clone(), Arc::clone(&keys));
                        async move {
                            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                            for _ in 0..calls / tasks {
                                let values = ours.get_many(&keys).await.unwrap();
                                assert!(values.iter().all(Option::is_some));
                            }
                        }
                    })
                },
                &mut || {
                    spread(&bench.runtime, tasks, calls, |_| {
                        let (mut bare, keys) = (bare.clone(), Arc::clone(&keys));
                        async move {
                            for _ in 0..calls / tasks {
                                let values: Vec<Option<Vec<u8>>> =
                                    redis::cmd("MGET").arg(&keys[..]).query_async(&mut bare).await.unwrap();
                                assert!(values.iter().all(Option::is_some));
                            }
                        }
                    })
                },
            ],
        );
        row("get_many; MGET", tasks, &get);
    }
    println!();
}

fn row(title: &str, tasks: usize, turns: &[Vec<Turn>]) {
    let speed = |at: usize| median(turns[at].iter().map(Turn::per_second)) * KEYS as f64 / 1e3;
    println!(
        "| {title} | {tasks} | {:.0} | {:.0} | **{:.2}** | {:.2} |",
        speed(0),
        speed(1),
        ratio(&turns[0], &turns[1], Turn::per_second),
        ratio(&turns[0], &turns[1], Turn::cpu_micros)
    );
}
