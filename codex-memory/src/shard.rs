//! One shard: its entries, and what is known of them together.

use bytes::Bytes;

use crate::{
    block::BLOCK,
    clock::Reading,
    deadline::Deadline,
    entry::Entry,
    queues::Queues,
    table::{Slot, Table},
    value::Value,
};

/// How many blocks one step of a sweep looks at.
const BLOCKS_PER_STEP: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Shard {
    table: Table,
    /// Only where something can be evicted.
    queues: Option<Box<Queues>>,
    /// The sum of the entries' footprints.
    entry_bytes: usize,
    /// How many entries have an end.
    mortal: usize,
    /// No entry ends before this.
    earliest: Deadline,
    /// The hash from which on the next write sweeps, where nobody else does.
    hand: u32,
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

    /// Where the entry of `key` is, expired or not.
    #[inline]
    pub(crate) fn find(&self, tag: u32, key: &str) -> Option<Slot> {
        self.table.find(tag, key.as_bytes())
    }

    /// The entry in `slot`, where it has not expired.
    #[inline]
    pub(crate) fn live_at(&self, slot: Slot, reading: Reading<'_>) -> Option<&Entry> {
        self.table.get(slot).filter(|entry| !reading.is_past(entry.deadline))
    }

    /// The entry of `key`, where it is there and has not expired.
    #[inline]
    pub(crate) fn live(&self, tag: u32, key: &str, reading: Reading<'_>) -> Option<&Entry> {
        let entry = self.table.entry_of(tag, key.as_bytes());
        let entry = entry.filter(|entry| !reading.is_past(entry.deadline))?;
        if let Some(queues) = &self.queues {
            queues.visit(entry.seat());
        }
        Some(entry)
    }

    /// What the value in `slot` takes.
    pub(crate) fn value_footprint_at(&self, slot: Slot) -> usize {
        self.table.get(slot).map_or(0, Entry::value_footprint)
    }

    /// Adds an entry whose key is not there.
    pub(crate) fn insert(&mut self, tag: u32, key: &str, value: Value, deadline: Deadline) {
        self.mortal += usize::from(!deadline.is_never());
        self.earliest = self.earliest.min(deadline);
        let seat = self.queues.as_mut().map_or(0, |queues| queues.enter(tag));
        let entry = Entry::new(tag, key, value, deadline, seat);
        self.entry_bytes += entry.footprint();
        self.table.insert(entry);
    }

    /// Puts another value and end into a slot. The old value comes back in the place of the new one, for the caller to drop after the lock: its
    /// owner may have a `Drop` of its own.
    #[inline]
    pub(crate) fn replace(&mut self, slot: Slot, value: &mut Value, deadline: Deadline) {
        if let Some(entry) = self.end_at(slot, deadline) {
            entry.swap(value);
            let (seat, after) = (entry.seat(), entry.value_footprint());
            self.entry_bytes = self.entry_bytes + after - value.footprint();
            if let Some(queues) = &self.queues {
                queues.visit(seat);
            }
        }
    }

    /// Gives what is in a slot another end.
    pub(crate) fn set_deadline(&mut self, slot: Slot, deadline: Deadline) {
        self.end_at(slot, deadline);
    }

    #[inline]
    fn end_at(&mut self, slot: Slot, deadline: Deadline) -> Option<&mut Entry> {
        let (entry, old) = self.table.end_at(slot, deadline)?;
        self.earliest = self.earliest.min(deadline);
        self.mortal = self.mortal + usize::from(!deadline.is_never()) - usize::from(!old.is_never());
        Some(entry)
    }

    /// Removes what is in `slot`, expired or not.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Removed> {
        let entry = self.table.remove(slot)?;
        Some(self.removed(entry))
    }

    fn removed(&mut self, entry: Entry) -> Removed {
        let footprint = entry.footprint();
        self.entry_bytes -= footprint;
        self.mortal -= usize::from(!entry.deadline.is_never());
        if let Some(queues) = &mut self.queues {
            queues.leave(entry.seat());
        }
        if self.table.len() == 0 {
            self.earliest = Deadline::NEVER;
        }
        Removed {
            deadline: entry.deadline,
            footprint,
            value: entry.into_value(),
        }
    }

    /// Removes the entry that can best be spared, and says what its key was.
    pub(crate) fn evict(&mut self, reading: Reading<'_>) -> Option<(Removed, String)> {
        let queues = self.queues.as_mut()?;
        let slot = queues.victim(&self.table, |end| reading.is_past(end))?;
        let key = key_text(self.table.get(slot)?.key());
        Some((self.remove(slot)?, key))
    }

    /// One step of a sweep: removes what has expired in a few blocks, from the hash `from` on. Less than twice as much as a block
    /// holds, so that nobody waits long for the lock. Answers the hash to go on with, or `None` at the end.
    pub(crate) fn sweep(&mut self, from: u32, reading: Reading<'_>, removed: &mut Vec<Removed>) -> Option<u32> {
        if self.mortal == 0 || !reading.is_past(self.earliest) {
            return None;
        }
        let now = reading.now();
        let mut from = from;
        for _ in 0..BLOCKS_PER_STEP {
            let (block, next) = self.table.at(from);
            if block.earliest.is_past(now) {
                let ended = self.table.remove_ended(from, |end| end.is_past(now));
                removed.extend(ended.into_iter().map(|entry| self.removed(entry)));
            }
            let Some(next) = next else {
                self.earliest = self.table.earliest();
                return None;
            };
            from = next;
            if removed.len() >= BLOCK {
                break;
            }
        }
        Some(from)
    }

    /// Sweeps a few blocks, others each time.
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
        self.table.len()
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let queues = self
            .queues
            .as_ref()
            .map_or(0, |queues| size_of::<Queues>() + queues.footprint());
        self.entry_bytes + self.table.footprint() + queues
    }

    /// The block that has the hash `from`, from there on.
    pub(crate) fn page(&self, from: u32) -> Page<'_> {
        let (block, next) = self.table.at(from);
        let entries = block.entries();
        Page { entries, from, next }
    }
}

/// Entries that lie together.
pub(crate) struct Page<'a> {
    entries: &'a [Entry],
    from: u32,
    /// The hash to go on with, `None` at the end.
    pub(crate) next: Option<u32>,
}

impl<'a> Page<'a> {
    /// How many entries were looked at, expired ones too.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn live(&self, reading: Reading<'a>) -> impl Iterator<Item = &'a Entry> {
        let from = self.from;
        let entries = self.entries.iter();
        entries.filter(move |entry| entry.tag >= from && !reading.is_past(entry.deadline))
    }
}

/// A key as text. It came in as a `str`, so nothing is ever replaced.
pub(crate) fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
