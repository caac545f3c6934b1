//! What a step of a sweep takes out.

use crate::{block::BLOCK, entry::Entry};

/// To be dropped after the lock: a value's owner may have a `Drop` of its own.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    pub(crate) entries: Vec<Entry>,
    /// The memory of blocks that are empty now.
    pub(crate) rooms: Vec<Vec<Entry>>,
}

impl Swept {
    /// With room for all of a step, so that it asks the allocator for nothing under the lock. After
    /// much was freed, glibc can take milliseconds to answer, and longer where another thread has
    /// asked it at the same time.
    pub(crate) fn with_room() -> Self {
        Self {
            entries: Vec::with_capacity(2 * BLOCK),
            rooms: Vec::with_capacity(BLOCK),
        }
    }
}
