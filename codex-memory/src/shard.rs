//! One shard: entries in their slots, and what finds them.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    clock::Reading,
    deadline::Deadline,
    entry::Entry,
    index::Index,
    queues::Queues,
    slots::{BLOCK, Slots},
    value::Value,
};

/// How many blocks one step of a sweep looks at: their ends are a page of memory.
const BLOCKS_PER_STEP: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Shard {
    index: Index,
    slots: Slots,
    /// Only where something can be evicted.
    queues: Option<Box<Queues>>,
    /// The sum of the values' footprints.
    value_bytes: usize,
    /// How many entries have an end.
    mortal: usize,
    /// No entry ends before this.
    earliest: Deadline,
    /// The block that the next write sweeps, where nobody else does.
    hand: usize,
}

/// An entry that is no more. To be dropped after the lock: a value's owner may have a `Drop` of its own.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) value: Bytes,
    pub(crate) deadline: Deadline,
    /// What its key and its value took.
    pub(crate) footprint: usize,
}

impl Shard {
    pub(crate) fn evicting() -> Self {
        Self {
            queues: Some(Box::new(Queues::new())),
            ..Self::default()
        }
    }

    /// The slot of `key`, expired or not.
    #[inline]
    pub(crate) fn find(&self, tag: u32, key: &str) -> Option<u32> {
        let is_it = |slot| self.slots.of_key(slot, key.as_bytes()).is_some();
        self.index.find(tag, is_it)
    }

    /// The entry in `slot`, where it has not expired.
    #[inline]
    pub(crate) fn live_at(&self, slot: u32, reading: Reading<'_>) -> Option<&Entry> {
        self.slots.get(slot).filter(|entry| !reading.is_past(entry.deadline))
    }

    /// The entry of `key`, where it is there and has not expired.
    #[inline]
    pub(crate) fn live(&self, tag: u32, key: &str, reading: Reading<'_>) -> Option<&Entry> {
        let mut found = None;
        let slot = self.index.find(tag, |slot| {
            found = self.slots.of_key(slot, key.as_bytes());
            found.is_some()
        })?;
        let entry = found.filter(|entry| !reading.is_past(entry.deadline))?;
        if let Some(queues) = &self.queues {
            queues.visit(slot);
        }
        Some(entry)
    }

    /// What the value in `slot` takes.
    pub(crate) fn value_footprint_at(&self, slot: u32) -> usize {
        self.slots.get(slot).map_or(0, Entry::value_footprint)
    }

    /// Adds an entry whose key is not there.
    pub(crate) fn insert(&mut self, tag: u32, key: &str, value: Value, deadline: Deadline) {
        self.value_bytes += value.footprint();
        self.mortal += usize::from(!deadline.is_never());
        self.earliest = self.earliest.min(deadline);
        let slot = self.slots.insert(tag, key.as_bytes(), value, deadline);
        self.index.insert(tag, slot);
        if let Some(queues) = &mut self.queues {
            queues.enter(slot, tag);
        }
    }

    /// Puts another value and end into a slot. The old value comes back in the place of the new one, for the caller to drop after the lock: its
    /// owner may have a `Drop` of its own.
    #[inline]
    pub(crate) fn replace(&mut self, slot: u32, value: &mut Value, deadline: Deadline) {
        if let Some(queues) = &self.queues {
            queues.visit(slot);
        }
        if let Some(entry) = self.end_at(slot, deadline) {
            entry.swap(value);
            let after = entry.value_footprint();
            self.value_bytes = self.value_bytes + after - value.footprint();
        }
    }

    /// Gives what is in a slot another end.
    pub(crate) fn set_deadline(&mut self, slot: u32, deadline: Deadline) {
        self.end_at(slot, deadline);
    }

    #[inline]
    fn end_at(&mut self, slot: u32, deadline: Deadline) -> Option<&mut Entry> {
        let (entry, old) = self.slots.end_at(slot, deadline)?;
        self.earliest = self.earliest.min(deadline);
        self.mortal = self.mortal + usize::from(!deadline.is_never()) - usize::from(!old.is_never());
        Some(entry)
    }

    /// Removes what is in `slot`, expired or not.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Removed> {
        let (entry, key_footprint) = self.slots.remove(slot)?;
        let value_footprint = entry.value_footprint();
        self.index.remove(entry.tag, slot);
        self.value_bytes -= value_footprint;
        self.mortal -= usize::from(!entry.deadline.is_never());
        if let Some(queues) = &mut self.queues {
            queues.leave(slot);
        }
        if self.index.len() == 0 {
            self.earliest = Deadline::NEVER;
        }
        Some(Removed {
            deadline: entry.deadline,
            footprint: key_footprint + value_footprint,
            value: entry.into_value(),
        })
    }

    /// Removes the entry that can best be spared, and says what its key was.
    pub(crate) fn evict(&mut self, reading: Reading<'_>) -> Option<(Removed, String)> {
        let queues = self.queues.as_mut()?;
        let slot = queues.victim(&self.slots, |end| reading.is_past(end))?;
        let key = key_text(self.slots.key(slot)?);
        Some((self.remove(slot)?, key))
    }

    /// One step of a sweep: removes what has expired in the first block, from `from` on, where that may be; at most 64 entries, so that
    /// nobody waits long for the lock. Answers the block to go on with, or `None` at the end.
    pub(crate) fn sweep(&mut self, from: usize, reading: Reading<'_>, removed: &mut Vec<Removed>) -> Option<usize> {
        if self.mortal == 0 || !reading.is_past(self.earliest) {
            return None;
        }
        let now = reading.now();
        let to = self.slots.block_count().min(from.saturating_add(BLOCKS_PER_STEP));
        let due = (from..to).find(|&block| self.slots.may_have_ended(block, now));
        if let Some(block) = due {
            let mut ended = self.slots.ended_in(block, now);
            while ended != 0 {
                let slot = u32::try_from(block * BLOCK).ok()? + ended.trailing_zeros();
                removed.extend(self.remove(slot));
                ended &= ended - 1;
            }
        }
        let next = due.map_or(to, |block| block + 1);
        if next < self.slots.block_count() {
            return Some(next);
        }
        self.earliest = self.slots.earliest();
        None
    }

    /// Sweeps one block, another each time.
    pub(crate) fn sweep_next(&mut self, reading: Reading<'_>, removed: &mut Vec<Removed>) {
        self.hand = self.sweep(self.hand, reading, removed).unwrap_or(0);
    }

    /// No entry ends before this.
    pub(crate) fn earliest(&self) -> Deadline {
        self.earliest
    }

    /// Whether any entry has an end.
    pub(crate) fn has_mortals(&self) -> bool {
        self.mortal > 0
    }

    /// How many entries there are, expired ones too.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many slots there are, free ones too.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.count()
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let queues = self
            .queues
            .as_ref()
            .map_or(0, |queues| size_of::<Queues>() + queues.footprint());
        self.value_bytes + self.index.footprint() + self.slots.footprint() + queues
    }

    /// The live entries in `slots`, with their keys.
    pub(crate) fn entries_in(
        &self,
        slots: Range<usize>,
        reading: Reading<'_>,
    ) -> impl Iterator<Item = (&[u8], &Entry)> {
        let entries = self.slots.entries_in(slots);
        entries.filter(move |(_, entry)| !reading.is_past(entry.deadline))
    }
}

/// A key as text. It came in as a `str`, so nothing is ever replaced.
pub(crate) fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
