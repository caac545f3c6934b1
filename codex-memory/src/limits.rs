//! How much a store may hold, and what happens when it is full.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use codex_traits::{Error, ErrorKind};

use crate::sync::{AtomicU64, AtomicUsize, Ordering};

/// What a bounded store does with a write that it has no room for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The write fails with [`ErrorKind::Server`] and changes nothing, as Redis's `noeviction`
    /// does. The default, because a store can hold sessions, and a session that silently vanishes
    /// logs its user out.
    #[default]
    Refuse,
    /// Entries that were not read lately make room (S3-FIFO): for what can be computed again, which
    /// is what a cache holds.
    Evict,
}

/// Told of each eviction.
pub(crate) type Listener = Box<dyn Fn(&str, Bytes) + Send + Sync>;

/// The limits of one store, and how far they are used.
pub(crate) struct Limits {
    pub(crate) max_entries: usize,
    pub(crate) max_bytes: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) listener: Option<Listener>,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    evictions: AtomicU64,
}

/// What an entry takes beside its value and a long key: itself (96 bytes, and a sixth unused), its
/// part of a block's 68 and of the directory, its seat in a queue (16, and an eighth unused) and
/// its ghost (13, at 7/16 full).
const OVERHEAD: usize = 112 + 6 + 18 + 30;

/// What is counted against `max_bytes` for an entry.
pub(crate) fn charge(footprint: usize) -> usize {
    footprint + OVERHEAD
}

impl Limits {
    pub(crate) fn new(max_entries: usize, max_bytes: usize, when_full: WhenFull, listener: Option<Listener>) -> Self {
        Self {
            max_entries,
            max_bytes,
            when_full,
            listener,
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            evictions: AtomicU64::new(0),
        }
    }

    /// Books one entry more, or none, and `bytes`; or nothing, where there is no room for both.
    pub(crate) fn reserve(&self, entries: usize, bytes: usize) -> bool {
        if !add_within(&self.entries, entries, self.max_entries) {
            return false;
        }
        if !add_within(&self.bytes, bytes, self.max_bytes) {
            self.entries.fetch_sub(entries, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Whether so much more can be written without a refusal.
    pub(crate) fn has_room(&self, entries: usize, bytes: usize) -> bool {
        let fits = |count: &AtomicUsize, more: usize, most| {
            let sum = count.load(Ordering::Relaxed).checked_add(more);
            sum.is_some_and(|sum| sum <= most)
        };
        self.when_full == WhenFull::Evict
            || (fits(&self.entries, entries, self.max_entries) && fits(&self.bytes, bytes, self.max_bytes))
    }

    pub(crate) fn release(&self, entries: usize, bytes: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Counts an eviction and tells of it. No lock is held here.
    pub(crate) fn evicted(&self, key: &str, value: Bytes) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            // A panic of the listener is not to fail the write that came upon the eviction. The
            // panic hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(key, value)));
        }
    }

    /// The error of a write for which no room could be made.
    pub(crate) fn full(&self, operation: &'static str) -> Error {
        Error::new(
            ErrorKind::Server,
            operation,
            format!(
                "no room in the memory store: it holds at most {} entries and {} bytes",
                Limit(self.max_entries),
                Limit(self.max_bytes)
            ),
        )
        .not_executed()
    }
}

struct Limit(usize);

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            usize::MAX => f.write_str("any number of"),
            limit => limit.fmt(f),
        }
    }
}

// The counts guard no other memory, so relaxed will do.
fn add_within(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let add = |held: usize| held.checked_add(more).filter(|&sum| sum <= most || more == 0);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

// By hand: a listener has no `Debug`.
impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_charged_what_the_docs_of_max_bytes_say() {
        assert_eq!((charge(0), charge(1000)), (166, 1166));
    }
}
