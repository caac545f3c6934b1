//! Statistics of a cache.

use std::time::Duration;

#[cfg(feature = "metrics")]
use super::metrics::Metrics;
use crate::striped::Striped;

/// The counters of a cache and of its clones, views, groups and loaders since the cache was built.
///
/// With the feature `metrics`, the same counts go to the recorder of the `metrics` crate, labelled
/// with the cache's [`name`](crate::CacheBuilder::name). They never contain a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Values that were found. For a [`Loader`](crate::Loader), only fresh values count.
    pub hits: u64,
    /// Stale values that a [`Loader`](crate::Loader) returned.
    pub stale_hits: u64,
    /// Keys that were requested and not found.
    pub misses: u64,
    /// Computations that ended, including those that failed.
    pub computations: u64,
    /// Callers that got the value of another caller's computation or, from a
    /// [`Loader`](crate::Loader), its error.
    pub coalesced: u64,
    /// Computed values that were not stored because the key was deleted or replaced meanwhile,
    /// another writer was faster, or the lease had expired.
    pub refused_fills: u64,
    /// Calls that failed because of the backend or a value that could not be written or read, and
    /// failed computations.
    pub errors: u64,
    /// Reads that [`on_outage`](crate::CacheBuilder::on_outage) answered instead of the backend.
    /// Each also counts as an error.
    pub outage_reads: u64,
    /// The total time of all computations.
    pub compute_time: Duration,
}

#[derive(Clone, Copy)]
pub(super) enum Event {
    Hit,
    StaleHit,
    Miss,
    Computed(Duration),
    Coalesced,
    RefusedFill,
    Error,
    OutageRead,
}

/// One counter per event, and one for the total nanoseconds of all computations.
const COUNTERS: usize = 9;
const COMPUTE_NANOS: usize = 8;

impl Event {
    fn index(self) -> usize {
        match self {
            Self::Hit => 0,
            Self::StaleHit => 1,
            Self::Miss => 2,
            Self::Computed(_) => 3,
            Self::Coalesced => 4,
            Self::RefusedFill => 5,
            Self::Error => 6,
            Self::OutageRead => 7,
        }
    }
}

pub(super) struct Stats {
    counters: Striped<COUNTERS>,
    #[cfg(feature = "metrics")]
    metrics: Metrics,
}

impl Stats {
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "only the recorder is told the name")
    )]
    pub(super) fn new(name: &str) -> Self {
        Self {
            counters: Striped::default(),
            #[cfg(feature = "metrics")]
            metrics: Metrics::new(name),
        }
    }

    #[inline]
    pub(super) fn count(&self, event: Event) {
        self.counters.add(event.index(), 1);
        if let Event::Computed(took) = event {
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.counters.add(COMPUTE_NANOS, nanos);
        }
        #[cfg(feature = "metrics")]
        self.metrics.count(event);
    }

    pub(super) fn read(&self) -> CacheStats {
        let of = |event: Event| self.counters.sum(event.index());
        CacheStats {
            hits: of(Event::Hit),
            stale_hits: of(Event::StaleHit),
            misses: of(Event::Miss),
            computations: of(Event::Computed(Duration::ZERO)),
            coalesced: of(Event::Coalesced),
            refused_fills: of(Event::RefusedFill),
            errors: of(Event::Error),
            outage_reads: of(Event::OutageRead),
            compute_time: Duration::from_nanos(self.counters.sum(COMPUTE_NANOS)),
        }
    }
}
