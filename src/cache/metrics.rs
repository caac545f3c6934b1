//! The counters of a cache, reported through the `metrics` facade.
//!
//! The recorder may be set at any time, and tests set a recorder per thread, so each call looks it
//! up. The metric keys are built once per cache.

use metrics::{Key, Label, Level, Metadata, with_recorder};

use super::stats::Event;

const READS: &str = "codex.cache.reads";
const COMPUTATIONS: &str = "codex.cache.computations";
const COALESCED: &str = "codex.cache.coalesced";
const REFUSED_FILLS: &str = "codex.cache.refused_fills";
const ERRORS: &str = "codex.cache.errors";
const OUTAGE_READS: &str = "codex.cache.outage_reads";
const COMPUTE_DURATION: &str = "codex.cache.compute.duration";

static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

pub(super) struct Metrics {
    hit: Key,
    stale: Key,
    miss: Key,
    computations: Key,
    coalesced: Key,
    refused_fills: Key,
    errors: Key,
    outage_reads: Key,
    compute_duration: Key,
}

impl Metrics {
    pub(super) fn new(cache: &str) -> Self {
        let label = || Label::new("cache", cache.to_owned());
        let read = |result| Key::from_parts(READS, vec![label(), Label::from_static_parts("result", result)]);
        let key = |name| Key::from_parts(name, vec![label()]);
        Self {
            hit: read("hit"),
            stale: read("stale"),
            miss: read("miss"),
            computations: key(COMPUTATIONS),
            coalesced: key(COALESCED),
            refused_fills: key(REFUSED_FILLS),
            errors: key(ERRORS),
            outage_reads: key(OUTAGE_READS),
            compute_duration: key(COMPUTE_DURATION),
        }
    }

    pub(super) fn count(&self, event: Event) {
        let key = match event {
            Event::Hit => &self.hit,
            Event::StaleHit => &self.stale,
            Event::Miss => &self.miss,
            Event::Computed(_) => &self.computations,
            Event::Coalesced => &self.coalesced,
            Event::RefusedFill => &self.refused_fills,
            Event::Error => &self.errors,
            Event::OutageRead => &self.outage_reads,
        };
        with_recorder(|recorder| {
            recorder.register_counter(key, &METADATA).increment(1);
            if let Event::Computed(took) = event {
                recorder
                    .register_histogram(&self.compute_duration, &METADATA)
                    .record(took.as_secs_f64());
            }
        });
    }
}
