//! The counts of a near cache, through the `metrics` facade.
//!
//! They are published with each renewal of a lease, so that hits do not pay for them.

use std::sync::{Mutex, PoisonError};

use metrics::{Key, Label, Level, Metadata, with_recorder};

use super::stats::NearStats;

const READS: &str = "codex.near.reads";
const INVALIDATIONS: &str = "codex.near.invalidations";
const REFUSED_FILLS: &str = "codex.near.refused_fills";
const FLUSHES: &str = "codex.near.flushes";
const BYTES: &str = "codex.near.bytes";

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The counts that were published last.
#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<NearStats>);

impl Metrics {
    pub(super) fn publish(&self, stats: impl FnOnce() -> NearStats) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Read with the lock held, so that no count decreases between two renewals.
        let now = stats();
        let before = std::mem::replace(&mut *told, now);
        drop(told);
        let read = |result| Key::from_parts(READS, vec![Label::from_static_parts("result", result)]);
        let counts = [
            (read("hit"), before.hits, now.hits),
            (read("miss"), before.misses, now.misses),
            (
                Key::from_static_name(INVALIDATIONS),
                before.invalidations,
                now.invalidations,
            ),
            (
                Key::from_static_name(REFUSED_FILLS),
                before.refused_fills,
                now.refused_fills,
            ),
            (Key::from_static_name(FLUSHES), before.flushes, now.flushes),
        ];
        with_recorder(|recorder| {
            for (key, before, now) in &counts {
                recorder
                    .register_counter(key, &METADATA)
                    .increment(now.saturating_sub(*before));
            }
            #[expect(clippy::cast_precision_loss, reason = "bytes beyond 2^53 are not kept")]
            recorder
                .register_gauge(&Key::from_static_name(BYTES), &METADATA)
                .set(now.bytes as f64);
        });
    }
}
