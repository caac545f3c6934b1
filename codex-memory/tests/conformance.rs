//! Every clause of the contract, on the memory backend alone and behind `AnyBackend`.

use std::time::{Duration, SystemTime};

use codex_memory::{ManualClock, MemoryBackend, WhenFull};
use codex_testkit::{Harness, Time, VirtualTime, WallShift};
use codex_traits::AnyBackend;

/// A harness whose stores run on a manual clock or on the system's clock.
#[derive(Default)]
struct Memory {
    clock: Option<ManualClock>,
    /// Whether stores have limits, which are too wide to evict anything.
    is_bounded: bool,
}

impl Memory {
    fn under_virtual_time() -> Self {
        Self {
            clock: Some(ManualClock::new()),
            is_bounded: false,
        }
    }

    fn bounded() -> Self {
        Self {
            is_bounded: true,
            ..Self::under_virtual_time()
        }
    }
}

impl Harness for Memory {
    type Backend = MemoryBackend;

    async fn fresh(&self) -> MemoryBackend {
        match &self.clock {
            Some(clock) if self.is_bounded => {
                let builder = MemoryBackend::builder().max_entries(10_000_000).max_bytes(10 << 30);
                let builder = builder.when_full(WhenFull::Evict).clock(clock.clone());
                builder
                    .build()
                    .unwrap_or_else(|error| unreachable!("the limits are not zero: {error}"))
            }
            Some(clock) => MemoryBackend::with_clock(clock.clone()),
            None => MemoryBackend::new(),
        }
    }

    fn time(&self) -> Time {
        let Some(clock) = self.clock.clone() else {
            return Time::Real {
                granularity: Duration::from_millis(1),
            };
        };
        let wall = clock.clone();
        Time::Virtual(VirtualTime::from_fns(
            move |by| clock.advance(by),
            move |shift| wall.set_system_time(shifted(wall.system_time(), shift)),
        ))
    }

    fn reopen(&self, backend: &MemoryBackend) -> Option<MemoryBackend> {
        Some(backend.clone())
    }
}

fn shifted(time: SystemTime, shift: WallShift) -> SystemTime {
    match shift {
        WallShift::Forward(by) => time + by,
        WallShift::Back(by) => time - by,
    }
}

struct Erased(Memory);

impl Harness for Erased {
    type Backend = AnyBackend;

    async fn fresh(&self) -> AnyBackend {
        AnyBackend::new(self.0.fresh().await)
    }

    fn time(&self) -> Time {
        self.0.time()
    }

    fn reopen(&self, backend: &AnyBackend) -> Option<AnyBackend> {
        Some(backend.clone())
    }
}

mod virtual_time {
    codex_testkit::conformance_tests!(super::Memory::under_virtual_time(), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        get_06: "the store holds nothing but plain values",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
    });
}

mod bounded {
    codex_testkit::conformance_tests!(super::Memory::bounded(), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        get_06: "the store holds nothing but plain values",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
    });
}

mod system_time {
    codex_testkit::conformance_tests!(super::Memory::default(), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        exp_12: "the system's clock cannot be moved",
        get_06: "the store holds nothing but plain values",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
    });
}

mod any_backend {
    codex_testkit::conformance_tests!(super::Erased(super::Memory::under_virtual_time()), skip: {
        dur_01: "the store ends with its process",
        dur_02: "the store ends with its process",
        get_06: "the store holds nothing but plain values",
        life_01: "in process, nothing goes out of service",
        life_02: "in process, nothing goes out of service",
        life_03: "in process, nothing goes out of service",
        life_05: "in process, no answer is lost",
        life_11: "in process, nothing goes out of service",
        life_12: "in process, there are no connections",
        life_13: "in process, there are no connections",
        life_14: "in process, there are no connections",
        many_06: "the store holds nothing but plain values",
        scan_09: "keys are text",
        scan_10: "one node",
    });
}
