//! The harness for simple near caches on a simulated store, under a paused clock.

use std::time::Duration;

use codex_testkit::{
    doubles::{TrackingDefect, TrackingStore},
    near::{Disturbance, NearHarness},
};
use codex_traits::Result;

use crate::cache::{Flaw, SimpleNear};

pub(crate) struct SimulatedHarness {
    store: TrackingStore,
    flaw: Option<Flaw>,
}

impl SimulatedHarness {
    pub(crate) fn sound() -> Self {
        Self::new(TrackingStore::new(1), None)
    }

    pub(crate) fn sound_cluster() -> Self {
        Self::new(
            TrackingStore::cluster(3, 1).with_defect(TrackingDefect::IgnoresEpoch),
            None,
        )
    }

    pub(crate) fn new(store: TrackingStore, flaw: Option<Flaw>) -> Self {
        Self { store, flaw }
    }
}

impl NearHarness for SimulatedHarness {
    type Near = SimpleNear;
    type Bare = TrackingStore;

    async fn near(&self) -> Result<SimpleNear> {
        SimpleNear::new(self.store.another(), self.max_staleness(), self.flaw).await
    }

    fn bare(&self) -> TrackingStore {
        self.store.outside()
    }

    fn below(&self, near: &SimpleNear) -> Option<TrackingStore> {
        Some(near.store().clone())
    }

    fn max_staleness(&self) -> Duration {
        Duration::from_millis(300)
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
}
