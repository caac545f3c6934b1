//! The suites on the memory backend, under virtual time.

use codex_kv::{
    memory::{ManualClock, MemoryBackend},
    testkit::{Harness, InProcess, VirtualTime},
};

/// Returns memory backends that share a clock, which the suite advances.
fn memory() -> impl Harness<Backend = MemoryBackend> {
    let clock = ManualClock::new();
    let moved = clock.clone();
    let time = VirtualTime::from_fn(move |by| moved.advance(by));
    InProcess::new(time, move || MemoryBackend::with_clock(clock.clone()))
}

mod cache {
    codex_kv::cache_conformance_tests!(super::memory(), skip: {
        cverb_12: "in process, nothing goes out of service",
    });
}

mod session {
    codex_kv::session_conformance_tests!(super::memory(), skip: {
        sverb_06: "in process, nothing goes out of service",
    });
}
