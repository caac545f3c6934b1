//! Disturbances of the simulated store, for the clauses and histories of near caches.

use std::time::Duration;

use tokio::time::sleep;

use super::TrackingStore;
use crate::near::Disturbance;

impl TrackingStore {
    /// Disturbs the store or its network as
    /// [`NearHarness::disturb`](crate::near::NearHarness::disturb) specifies. Returns `false` if
    /// the store cannot do so: a store with a single node cannot move keys.
    pub fn disturb(&self, disturbance: Disturbance<'_>) -> bool {
        match disturbance {
            Disturbance::Cut => self.cut(),
            Disturbance::HoldStreams => self.hold_streams(),
            Disturbance::BlackHole => self.black_hole(),
            Disturbance::Heal => {
                self.heal();
                self.restore_latency();
            }
            Disturbance::Latency(latency) => self.set_latency(latency, latency),
            Disturbance::FlushAll => self.flush_all(),
            Disturbance::ReportFlush => self.report_flush(),
            Disturbance::WriteInAnotherDatabase(key) => self.write_in_another_database(key),
            Disturbance::FailOver(key) => self.fail_over(key),
            Disturbance::MoveKey(_) if self.nodes() == 1 => return false,
            Disturbance::MoveKey(key) => self.move_key(key),
        }
        true
    }

    /// Disturbs the store once, at a moment and in a way that the seed determines, and heals it.
    /// Takes at most 100 ms.
    pub async fn disturb_and_heal(&self, seed: u64) {
        sleep(Duration::from_millis(seed % 17)).await;
        match seed % 7 {
            0 => self.cut(),
            1 => self.hold_streams(),
            2 => self.black_hole(),
            3 => self.freeze(),
            4 => self.set_latency(Duration::from_millis(1), Duration::from_millis(25)),
            5 => self.report_flush(),
            _ => return,
        }
        sleep(Duration::from_millis(20 + seed % 60)).await;
        self.heal();
        self.restore_latency();
    }

    fn restore_latency(&self) {
        self.set_latency(Duration::from_millis(1), Duration::from_millis(4));
    }
}
