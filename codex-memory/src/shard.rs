//! One shard: entries in their slots, and what finds them.

use std::ops::Range;

use crate::{
    clock::Reading,
    deadline::Deadline,
    entry::Entry,
    index::Index,
    queues::Queues,
    record::Record,
    slots::{BLOCK, Slots},
};

/// How many blocks one step of a sweep looks at: their ends are a page of memory.
const BLOCKS_PER_STEP: usize = 256;

/// Slots that an empty shard keeps, so that a key that comes and goes does not allocate each time.
const KEPT: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Shard {
    index: Index,
    slots: Slots,
    /// Only where something can be evicted.
    queues: Option<Box<Queues>>,
    /// The sum of the records' footprints.
    record_bytes: usize,
    /// How many entries have an end.
    mortal: usize,
    /// No entry ends before this.
    earliest: Deadline,
    /// The block that the next write sweeps, where nobody else does.
    hand: usize,
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
        let is_it = |slot| {
            self.slots
                .get(slot)
                .is_some_and(|entry| entry.record.key() == key.as_bytes())
        };
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
        let entry = self.live_at(self.find(tag, key)?, reading)?;
        if self.queues.is_some() {
            entry.visit();
        }
        Some(entry)
    }

    pub(crate) fn footprint_at(&self, slot: u32) -> usize {
        self.slots.get(slot).map_or(0, |entry| entry.record.footprint())
    }

    /// Adds an entry whose key is not there. Answers as [`replace`](Self::replace) does: with nothing.
    pub(crate) fn insert(&mut self, tag: u32, record: Record, deadline: Deadline) -> Option<Record> {
        self.record_bytes += record.footprint();
        self.mortal += usize::from(!deadline.is_never());
        self.earliest = self.earliest.min(deadline);
        let slot = self.slots.insert(Entry::new(record, deadline, tag));
        self.index.insert(tag, slot);
        if let Some(queues) = &mut self.queues
            && let Some(entry) = self.slots.get_mut(slot)
        {
            queues.enter(slot, entry);
        }
        None
    }

    /// Puts another record and end into a slot. What is returned is for the caller to drop after the lock: a value's owner may have a
    /// `Drop` of its own.
    #[inline]
    pub(crate) fn replace(&mut self, slot: u32, record: Record, deadline: Deadline) -> Option<Record> {
        let is_queued = self.queues.is_some();
        let entry = self.end_at(slot, deadline)?;
        if is_queued {
            entry.visit();
        }
        let after = record.footprint();
        let old = std::mem::replace(&mut entry.record, record);
        self.record_bytes = self.record_bytes + after - old.footprint();
        Some(old)
    }

    /// Gives what is in a slot another end.
    pub(crate) fn set_deadline(&mut self, slot: u32, deadline: Deadline) {
        self.end_at(slot, deadline);
    }

    #[inline]
    fn end_at(&mut self, slot: u32, deadline: Deadline) -> Option<&mut Entry> {
        if !deadline.is_never() {
            self.mortal += 1;
            self.earliest = self.earliest.min(deadline);
            self.slots.note_deadline(slot, deadline);
        }
        let entry = self.slots.get_mut(slot)?;
        self.mortal -= usize::from(!entry.deadline.is_never());
        entry.deadline = deadline;
        Some(entry)
    }

    /// Removes what is in `slot`, expired or not.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.slots.remove(slot)?;
        self.index.remove(entry.tag, slot);
        self.record_bytes -= entry.record.footprint();
        self.mortal -= usize::from(!entry.deadline.is_never());
        if let Some(queues) = &mut self.queues {
            queues.leave(slot, &entry);
        }
        if self.index.len() == 0 {
            self.earliest = Deadline::NEVER;
            if self.slots.capacity() > KEPT {
                self.index = Index::default();
                self.slots = Slots::default();
            }
        }
        Some(entry)
    }

    /// Removes the entry that can best be spared.
    pub(crate) fn evict(&mut self, reading: Reading<'_>) -> Option<Entry> {
        let queues = self.queues.as_mut()?;
        let slot = queues.victim(&mut self.slots, |end| reading.is_past(end))?;
        self.remove(slot)
    }

    /// One step of a sweep: removes what has expired in the first block, from `from` on, where that may be; at most 64 entries, so that
    /// nobody waits long for the lock. Answers the block to go on with, or `None` at the end.
    pub(crate) fn sweep(&mut self, from: usize, reading: Reading<'_>, removed: &mut Vec<Entry>) -> Option<usize> {
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
    pub(crate) fn sweep_next(&mut self, reading: Reading<'_>, removed: &mut Vec<Entry>) {
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
        self.record_bytes + self.index.footprint() + self.slots.footprint() + queues
    }

    /// The live entries in `slots`.
    pub(crate) fn entries_in(&self, slots: Range<usize>, reading: Reading<'_>) -> impl Iterator<Item = &Entry> {
        self.slots
            .entries_in(slots)
            .filter(move |entry| !reading.is_past(entry.deadline))
    }
}
