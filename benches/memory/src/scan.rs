//! A page of scan at 1,000 keys and at 1,000,000.

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use codex_traits::{Cursor, KvBackend, Pattern, ScanRequest};

use crate::{
    input,
    peers::{Ours, Peer, now},
};

const PAGE: usize = 100;

pub(crate) fn run() {
    println!("\n## A page of scan of {PAGE}, in microseconds: lowest and median");
    let pattern = Pattern::all();
    for count in [1_000, 1_000_000] {
        let store = Ours::new();
        input::keys(count)
            .iter()
            .for_each(|key| store.set(key, Bytes::from_static(b"v")));
        let mut times = Vec::new();
        let mut cursor = Cursor::start();
        while times.len() < 5_000 {
            let request = ScanRequest::new(&pattern).with_count_hint(PAGE).with_cursor(cursor);
            let before = Instant::now();
            let page = now(store.0.scan(request)).expect("scan");
            times.push(before.elapsed().as_nanos());
            black_box(&page.keys);
            cursor = page.next.unwrap_or_default();
        }
        times.sort_unstable();
        println!(
            "  {count:8} keys: {:.1} {:.1}",
            times[0] as f64 / 1e3,
            times[times.len() / 2] as f64 / 1e3
        );
    }
}
