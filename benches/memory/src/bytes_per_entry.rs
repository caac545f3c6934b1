//! Bytes per entry at a million entries, new and after each was read once.

use bytes::Bytes;

use crate::{
    allocator,
    input::{self, VALUE_LEN},
    peers::{Cached, Dash, Moka, Ours, Peer, Quick, Stretto},
    plot,
};

const COUNT: usize = 1_000_000;

pub(crate) fn run() {
    println!("\n## Bytes per entry at {COUNT} entries, keys of 32 characters, values of {VALUE_LEN} bytes");
    println!("  requested from the allocator (with glibc's overhead): new -> each read once");
    let keys = input::keys(COUNT);
    let all: [fn() -> Box<dyn Peer>; 6] = [
        || Box::new(Ours::new()),
        || Box::new(Dash::<std::hash::RandomState, false>::new("dashmap")),
        || Box::new(Moka::new()),
        || Box::new(Quick::new(COUNT)),
        || Box::new(Stretto::new(COUNT)),
        || Box::new(Cached::new()),
    ];
    let mut bars = Vec::new();
    for make in all {
        allocator::start();
        let before = (allocator::asked(), allocator::taken_in_all());
        let peer = make();
        for key in &keys {
            peer.set(key, Bytes::from(vec![b'v'; VALUE_LEN]));
        }
        let each = |now: i64, before: i64| (now - before) as f64 / COUNT as f64;
        let now = || {
            (
                each(allocator::asked(), before.0),
                each(allocator::taken_in_all(), before.1),
            )
        };
        let new = now();
        let held = keys.iter().filter(|key| peer.get(key).is_some()).count();
        let read = now();
        println!(
            "  {:14} {:.0} ({:.0}) -> {:.0} ({:.0}), {held} held",
            peer.name(),
            new.0,
            new.1,
            read.0,
            read.1
        );
        bars.push((peer.name().to_owned(), read.1));
        drop(peer);
        allocator::stop();
    }
    let title = "Bytes of memory per entry (key 32, value 200, each read once)";
    plot::bars("memory-bytes.svg", title, &bars, None);
    let ours = Ours::new();
    allocator::start();
    let before = allocator::asked();
    keys.iter()
        .for_each(|key| ours.set(key, Bytes::from(vec![b'v'; VALUE_LEN])));
    let real = (allocator::asked() - before) as f64;
    allocator::stop();
    println!(
        "  codex-memory reports used_bytes = {} per entry, {:+.2} % off the requested bytes; len = {}",
        ours.0.used_bytes() / COUNT,
        (ours.0.used_bytes() as f64 / real - 1.0) * 100.0,
        ours.0.len()
    );
}
