//! The monotonic clock of the standard library, for systems other than Linux.

use std::time::Instant;

#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        let origin = Instant::now();
        Self { origin }
    }

    pub(super) fn exact(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn coarse(&self) -> u64 {
        self.exact()
    }
}
