//! Hits of an in-memory cache through a loader and without `async`, compared with `Cache::get`,
//! which `steps` measures.

use std::{convert::Infallible, hint::black_box, time::Duration};

use codex_kv::{Cache, Loader, blocking, memory::MemoryBackend};

use crate::{
    pairs::{Turn, interleaved, median, ratio, rounds},
    steps::{nanos, now, repeat, row},
    stores::{Item, item},
};

const HITS: usize = 50_000;
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn run() {
    let rounds = rounds(15);
    println!(
        "## A hit of a cache in memory, 100 hot keys: ns of processor time, median of {rounds} interleaved rounds, one thread\n"
    );
    println!("| | ours | beside it | ratio (median of the pairs) |");
    println!("|---|---|---|---|");

    let names: Vec<String> = (0..100).map(|number| format!("item:{number}")).collect();
    let cache = Cache::builder(MemoryBackend::new())
        .key_prefix("bench")
        .build()
        .unwrap();
    for name in &names {
        now(cache.set(name, &item(), HOUR)).unwrap();
    }
    let loader: Loader<Item, Infallible, MemoryBackend> = cache
        .loader("item")
        .fresh_for(HOUR / 2)
        .stale_for(HOUR / 4)
        .load(|_| async { unreachable!("every key is stored") });
    let blocking: blocking::Cache<MemoryBackend> = cache.clone().into();

    let mut get = hits(&names, |name| now(cache.get::<Item>(name)).unwrap().unwrap());
    let mut load = hits(&names, |name| now(loader.get(name)).unwrap().value);
    compare("`Loader::get`; `Cache::get`", rounds, &mut load, &mut get);
    let mut wait = hits(&names, |name| blocking.get::<Item>(name).unwrap().unwrap());
    compare("`blocking::Cache::get`; `Cache::get`", rounds, &mut wait, &mut get);
    println!();
}

fn hits(names: &[String], get: impl Fn(&str) -> Item) -> impl FnMut() -> Turn {
    move || {
        let mut number = 0;
        repeat(HITS, || {
            number += 1;
            drop(black_box(get(black_box(&names[number % names.len()]))));
        })
    }
}

fn compare(title: &str, rounds: usize, ours: &mut dyn FnMut() -> Turn, theirs: &mut dyn FnMut() -> Turn) {
    let turns = interleaved(rounds, &mut [ours, theirs]);
    row(
        title,
        median(turns[0].iter().map(nanos)),
        median(turns[1].iter().map(nanos)),
        ratio(&turns[0], &turns[1], nanos),
    );
}
