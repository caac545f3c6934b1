//! Over the memory backend, under virtual time.

use codex_kv::{
    memory::{ManualClock, MemoryBackend},
    testkit::{Harness, Time, VirtualTime},
};

#[derive(Default)]
struct Memory(ManualClock);

impl Harness for Memory {
    type Backend = MemoryBackend;

    async fn fresh(&self) -> MemoryBackend {
        MemoryBackend::with_clock(self.0.clone())
    }

    fn time(&self) -> Time {
        let clock = self.0.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }
}

mod cache {
    codex_kv::cache_conformance_tests!(super::Memory::default(), skip: {
        cverb_12: "in process, nothing goes out of service",
    });
}

mod session {
    codex_kv::session_conformance_tests!(super::Memory::default(), skip: {
        sverb_06: "in process, nothing goes out of service",
    });
}
