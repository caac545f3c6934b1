//! A clause that measures the memory of its process must pass next to tests that retain memory.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{
    Harness, InProcess, VirtualTime,
    suite::{self, BackendContract},
};

fn harness() -> impl Harness {
    let clock = ManualClock::new();
    let moved = clock.clone();
    let time = VirtualTime::from_fn(move |by| moved.advance(by));
    InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
}

/// The same test that `conformance_tests!` generates.
#[test]
fn scan_07_abandoned_scans_leak_nothing() {
    let test = concat!(module_path!(), "::scan_07_abandoned_scans_leak_nothing");
    suite::test::<BackendContract, _, _>(|| Ok(harness()), "", test, "scan_07");
}

#[test]
fn scan_07_is_measured_apart_from_other_tests_of_its_process() {
    /// More than the growth that the clause counts as a leak.
    const MOST: usize = 600 << 20;
    const CHUNK: usize = 1 << 20;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut kept = Vec::new();
            while !is_done.load(Ordering::Relaxed) && kept.len() < MOST / CHUNK {
                // Filled with a non-zero byte, so that the memory is resident.
                kept.push(vec![1_u8; CHUNK]);
                thread::sleep(Duration::from_millis(5));
            }
        });
        let measured = scope.spawn(scan_07_abandoned_scans_leak_nothing).join();
        is_done.store(true, Ordering::Relaxed);
        measured.expect("the clause measures its own process");
    });
}
