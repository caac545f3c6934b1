//! The counts of a near cache.

use crate::striped::Striped;

/// The counts of a near cache and its clones since it was built.
///
/// With the feature `metrics`, the recorder of the `metrics` crate receives the same counts with
/// each renewal of a lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearStats {
    /// The number of reads of a key that were answered from memory, including cached misses.
    pub hits: u64,
    /// The number of reads of a key that went to the store.
    pub misses: u64,
    /// The number of changes of keys that the store reported.
    pub invalidations: u64,
    /// The number of answers that were not cached: the key changed while it was read, a write to it
    /// was unresolved, or nothing would have reported a change.
    pub refused_fills: u64,
    /// The number of times that all answers of a node were dropped: its stream opened or ended, or
    /// the store reported that every key may have changed. Each `del_matching` through this cache
    /// counts too, because it drops the answers of all nodes.
    pub flushes: u64,
    /// The current size of the cached answers in bytes, including keys and overhead.
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    Hit = 0,
    Miss = 1,
    Invalidation = 2,
    RefusedFill = 3,
    Flush = 4,
}

const COUNTERS: usize = 5;

#[derive(Debug, Default)]
pub(super) struct Counters(Striped<COUNTERS>);

impl Counters {
    #[inline]
    pub(super) fn count(&self, event: Event) {
        self.0.add(event as usize, 1);
    }

    pub(super) fn read(&self, bytes: usize) -> NearStats {
        let sum = |event: Event| self.0.sum(event as usize);
        NearStats {
            hits: sum(Event::Hit),
            misses: sum(Event::Miss),
            invalidations: sum(Event::Invalidation),
            refused_fills: sum(Event::RefusedFill),
            flushes: sum(Event::Flush),
            bytes: bytes as u64,
        }
    }
}
