//! Removed entries to drop once the lock is released.

use crate::{index::bucket::BUCKET_CAPACITY, index::entry::Entry};

/// Removed entries, which must be dropped after the lock is released: a value's owner may have its
/// own `Drop`.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    pub(crate) entries: Vec<Entry>,
    /// The memory of buckets that are empty or were merged with another.
    pub(crate) buffers: Vec<Vec<Entry>>,
}

impl Garbage {
    /// Returns a collection with room for a whole step, so that nothing is allocated under the
    /// lock. After much memory was freed, an allocation can take milliseconds in glibc, and longer
    /// if another thread allocates at the same time.
    pub(crate) fn with_room() -> Self {
        Self {
            entries: Vec::with_capacity(2 * BUCKET_CAPACITY),
            buffers: Vec::with_capacity(2 * BUCKET_CAPACITY),
        }
    }

    /// Drops the entries and the buffers, and keeps the room for the next step.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.buffers.clear();
    }
}
