//! What a slot holds.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::{deadline::Deadline, record::Record};

/// A key with its value, its end, and what eviction knows of it: 48 bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) deadline: Deadline,
    /// The part of the key's hash that the index keeps, so that an entry is found there again without looking at its key.
    pub(crate) tag: u32,
    /// Reads since eviction last looked, at most [`MOST_VISITS`].
    visits: AtomicU8,
    /// Which queue of eviction it stands in.
    pub(crate) queue: Queue,
}

/// Where an entry stands when room is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    /// The store is not bounded.
    None,
    /// New, and yet to prove itself.
    Small,
    Main,
}

/// As S3-FIFO has it: two bits.
const MOST_VISITS: u8 = 3;

impl Entry {
    pub(crate) fn new(record: Record, deadline: Deadline, tag: u32) -> Self {
        Self {
            record,
            deadline,
            tag,
            visits: AtomicU8::new(0),
            queue: Queue::None,
        }
    }

    /// Notes a read. Of two at once one may be lost, and a much-read entry's line is not written to.
    #[inline]
    pub(crate) fn visit(&self) {
        let visits = self.visits.load(Ordering::Relaxed);
        if visits < MOST_VISITS {
            self.visits.store(visits + 1, Ordering::Relaxed);
        }
    }

    pub(crate) fn visits(&self) -> u8 {
        self.visits.load(Ordering::Relaxed)
    }

    pub(crate) fn set_visits(&mut self, visits: u8) {
        *self.visits.get_mut() = visits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_slot_has_48_bytes() {
        assert_eq!(size_of::<Option<Entry>>(), 48);
    }
}
