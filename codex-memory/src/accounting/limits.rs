//! Limits on entries and bytes, and the behaviour of a full store.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use codex_traits::{Error, ErrorKind};

use crate::{
    index::value::Content,
    sync::{AtomicU64, AtomicUsize, Ordering},
};

/// The behaviour of a bounded store that has no room for a write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The write fails with [`ErrorKind::Server`] and changes nothing, as Redis's `noeviction`
    /// does. This is the default, because a store can hold sessions, and silently losing a session
    /// logs its user out.
    #[default]
    Refuse,
    /// Entries that were not read recently are evicted (S3-FIFO). Suitable for a cache, whose
    /// values can be computed again.
    Evict,
}

/// A function that is called after each eviction.
pub(crate) type EvictionListener = Box<dyn Fn(&str, Bytes) + Send + Sync>;

/// The limits of one store, and its current usage.
pub(crate) struct Limits {
    max_entries: usize,
    max_bytes: usize,
    when_full: WhenFull,
    listener: Option<EvictionListener>,
    entries: AtomicUsize,
    bytes: AtomicUsize,
    evictions: AtomicU64,
}

impl Limits {
    pub(crate) fn new(
        max_entries: usize,
        max_bytes: usize,
        when_full: WhenFull,
        listener: Option<EvictionListener>,
    ) -> Self {
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

    pub(crate) fn max_entries(&self) -> usize {
        self.max_entries
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    pub(crate) fn evicts(&self) -> bool {
        self.when_full == WhenFull::Evict
    }

    /// Charges `entries` and `bytes`. If there is no room for both, charges nothing and returns
    /// `false`.
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

    /// Returns whether this much fits in addition to the current charges.
    pub(crate) fn has_room(&self, entries: usize, bytes: usize) -> bool {
        let fits = |count: &AtomicUsize, more: usize, most| {
            let sum = count.load(Ordering::Relaxed).checked_add(more);
            sum.is_some_and(|sum| sum <= most)
        };
        fits(&self.entries, entries, self.max_entries) && fits(&self.bytes, bytes, self.max_bytes)
    }

    pub(crate) fn release(&self, entries: usize, bytes: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    /// Counts an eviction and calls the listener. Must not run under a lock.
    pub(crate) fn evicted(&self, key: &str, content: Content) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
        if let Some(listener) = &self.listener
            && let Some(value) = content.share()
        {
            drop(content);
            // A panic in the listener must not fail the write that caused the eviction. The panic
            // hook has already reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| listener(key, value)));
        }
    }

    /// Returns the error of a write for which no room could be made.
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

// `Relaxed` suffices: the counts guard no other memory.
fn add_within(count: &AtomicUsize, more: usize, most: usize) -> bool {
    let add = |held: usize| held.checked_add(more).filter(|&sum| sum <= most || more == 0);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok()
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .field("when_full", &self.when_full)
            .finish_non_exhaustive()
    }
}
