//! Every clause, on each double around a memory backend.

use std::{sync::Arc, time::SystemTime};

use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{
    Harness, Time, VirtualTime, WallShift,
    doubles::{FaultyBackend, MockBackend, RecordingBackend, Redaction},
};
use codex_traits::KvBackend;

/// A way to wrap a backend, and to discard the wrapper's own data.
trait Wrap: Send + Sync + 'static {
    type Backend: KvBackend;

    fn wrap(inner: MemoryBackend) -> Self::Backend;

    fn reopen(backend: &Self::Backend) -> Option<Self::Backend>;

    fn forget(_: &Self::Backend) {}
}

struct Faulty;

impl Wrap for Faulty {
    type Backend = FaultyBackend<MemoryBackend>;

    fn wrap(inner: MemoryBackend) -> Self::Backend {
        FaultyBackend::new(inner)
    }

    fn reopen(backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }
}

struct Recording;

impl Wrap for Recording {
    type Backend = RecordingBackend<MemoryBackend>;

    fn wrap(inner: MemoryBackend) -> Self::Backend {
        RecordingBackend::with_redaction(inner, Redaction::Values)
    }

    fn reopen(backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }

    fn forget(backend: &Self::Backend) {
        backend.clear();
    }
}

struct Mocked;

impl Wrap for Mocked {
    type Backend = Arc<MockBackend>;

    fn wrap(inner: MemoryBackend) -> Self::Backend {
        let mut mock = MockBackend::new();
        mock.fall_back_to(inner);
        Arc::new(mock)
    }

    fn reopen(backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }
}

struct Doubled<W> {
    clock: ManualClock,
    wrap: std::marker::PhantomData<W>,
}

impl<W> Doubled<W> {
    fn new() -> Self {
        Self {
            clock: ManualClock::new(),
            wrap: std::marker::PhantomData,
        }
    }
}

impl<W: Wrap> Harness for Doubled<W> {
    type Backend = W::Backend;

    async fn fresh(&self) -> W::Backend {
        W::wrap(MemoryBackend::with_clock(self.clock.clone()))
    }

    fn time(&self) -> Time {
        let (clock, wall) = (self.clock.clone(), self.clock.clone());
        Time::Virtual(VirtualTime::from_fns(
            move |by| clock.advance(by),
            move |shift| wall.set_system_time(shifted(wall.system_time(), shift)),
        ))
    }

    fn reopen(&self, backend: &W::Backend) -> Option<W::Backend> {
        W::reopen(backend)
    }

    /// Clears the log, which is expected to grow, and returns the resident memory of this process
    /// (proc(5)).
    async fn memory_in_use(&self, backend: &W::Backend) -> Option<u64> {
        W::forget(backend);
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }
}

fn shifted(time: SystemTime, shift: WallShift) -> SystemTime {
    match shift {
        WallShift::Forward(by) => time + by,
        WallShift::Back(by) => time - by,
    }
}

mod faulty {
    codex_testkit::conformance_tests!(super::Doubled::<super::Faulty>::new(), skip: {
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

mod recording {
    codex_testkit::conformance_tests!(super::Doubled::<super::Recording>::new(), skip: {
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

mod mocked {
    codex_testkit::conformance_tests!(super::Doubled::<super::Mocked>::new(), skip: {
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
