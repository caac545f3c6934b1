//! Tests of near caches on a simulated store.

use std::time::{Duration, SystemTime};

use codex_kv::{Result, memory::Clock, near::NearBackend};
use codex_testkit::{
    doubles::TrackingStore,
    near::{Disturbance, NearHarness},
};
use tokio::time::Instant;

/// Tokio's clock, which a test can pause.
#[derive(Debug)]
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Duration {
        // Never zero, which can mean "never".
        self.0.elapsed() + Duration::from_secs(1)
    }

    fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + self.now()
    }
}

pub(crate) const MAX_STALENESS: Duration = Duration::from_millis(300);
pub(crate) const MAX_VALUE_BYTES: usize = 4096;
const MAX_BYTES: usize = 256 << 10;

pub(crate) struct Simulated {
    store: TrackingStore,
}

impl Simulated {
    pub(crate) fn one_node() -> Self {
        Self {
            store: TrackingStore::new(1),
        }
    }

    pub(crate) fn cluster() -> Self {
        Self {
            store: TrackingStore::cluster(3, 1),
        }
    }
}

impl NearHarness for Simulated {
    type Near = NearBackend<TrackingStore>;
    type Bare = TrackingStore;

    async fn near(&self) -> Result<Self::Near> {
        NearBackend::builder(self.store.another())
            .max_staleness(MAX_STALENESS)
            .max_value_bytes(MAX_VALUE_BYTES)
            .max_bytes(MAX_BYTES)
            .clock(TokioClock::start())
            .build()
            .await
    }

    fn bare(&self) -> TrackingStore {
        self.store.outside()
    }

    fn below(&self, near: &Self::Near) -> Option<TrackingStore> {
        Some(near.inner().clone())
    }

    fn max_staleness(&self) -> Duration {
        MAX_STALENESS
    }

    fn push_time(&self) -> Duration {
        Duration::from_millis(10)
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(2)
    }

    async fn disturb(&self, disturbance: Disturbance<'_>) -> bool {
        self.store.disturb(disturbance)
    }

    fn reads(&self) -> Option<u64> {
        Some(self.store.requests())
    }

    fn memory(&self, near: &Self::Near) -> Option<(u64, u64)> {
        Some((near.stats().bytes, MAX_BYTES as u64))
    }

    fn max_value_bytes(&self) -> Option<usize> {
        Some(MAX_VALUE_BYTES)
    }
}
