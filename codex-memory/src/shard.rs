//! One shard: its entries, and what is known of them together.

use bytes::Bytes;

use crate::{
    block::BLOCK,
    clock::Reading,
    deadline::Deadline,
    entry::Entry,
    queues::Queues,
    swept::Swept,
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

/// An entry that is no more. To be dropped after the lock: a value's owner may have a `Drop` of its
/// own.
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

    /// Puts another value and end into a slot. The old value comes back in the place of the new
    /// one, for the caller to drop after the lock: its owner may have a `Drop` of its own.
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
        self.forget(&entry);
        Some(Removed {
            deadline: entry.deadline,
            footprint: entry.footprint(),
            value: entry.into_value(),
        })
    }

    /// Takes an entry that the table has no more out of the books.
    fn forget(&mut self, entry: &Entry) {
        self.entry_bytes -= entry.footprint();
        self.mortal -= usize::from(!entry.deadline.is_never());
        if let Some(queues) = &mut self.queues {
            queues.leave(entry.seat());
        }
        if self.table.len() == 0 {
            self.earliest = Deadline::NEVER;
        }
    }

    /// Removes the entry that can best be spared, and says what its key was.
    pub(crate) fn evict(&mut self, reading: Reading<'_>) -> Option<(Removed, String)> {
        let queues = self.queues.as_mut()?;
        let slot = queues.victim(&self.table, |end| reading.is_past(end))?;
        let key = key_text(self.table.get(slot)?.key());
        Some((self.remove(slot)?, key))
    }

    /// One step of a sweep: removes what has expired in a few blocks, from the hash `from` on. Less
    /// than twice as much as a block holds, so that nobody waits long for the lock. Answers the
    /// hash to go on with, or `None` at the end.
    pub(crate) fn sweep(&mut self, from: u32, reading: Reading<'_>, swept: &mut Swept) -> Option<u32> {
        if self.mortal == 0 || !reading.is_past(self.earliest) {
            return None;
        }
        let now = reading.now();
        let mut from = from;
        for _ in 0..BLOCKS_PER_STEP {
            let (block, next) = self.table.at(from);
            if block.earliest.is_past(now) {
                let before = swept.entries.len();
                self.table.remove_ended(from, |end| end.is_past(now), swept);
                for entry in &swept.entries[before..] {
                    self.forget(entry);
                }
            }
            let Some(next) = next else {
                self.earliest = self.table.earliest();
                return None;
            };
            from = next;
            if swept.entries.len() >= BLOCK {
                break;
            }
        }
        Some(from)
    }

    /// Sweeps a few blocks, others each time.
    pub(crate) fn sweep_next(&mut self, reading: Reading<'_>, swept: &mut Swept) {
        self.hand = self.sweep(self.hand, reading, swept).unwrap_or(0);
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;

    const NOW: Reading<'_> = Reading::Taken(Duration::from_secs(10));

    fn at(seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds), Duration::ZERO)
    }

    /// Spread as hashes are.
    fn tag(number: u32) -> u32 {
        number.wrapping_mul(0x9E37_79B9)
    }

    fn insert(shard: &mut Shard, number: u32, deadline: Deadline) {
        shard.insert(tag(number), &number.to_string(), Value::packed(b"v"), deadline);
    }

    fn find(shard: &Shard, number: u32) -> Slot {
        shard.find(tag(number), &number.to_string()).unwrap()
    }

    #[test]
    fn the_books_are_those_of_what_is_there() {
        for evicting in [false, true] {
            let mut shard = if evicting { Shard::evicting() } else { Shard::default() };
            let mut held: BTreeMap<u32, (usize, Deadline)> = BTreeMap::new();
            for step in 0..3000 {
                let (number, len) = (tag(step) % 97, (step % 700) as usize);
                let deadline = if step % 3 == 0 {
                    Deadline::NEVER
                } else {
                    at(u64::from(step))
                };
                let bytes = Bytes::from(vec![b'v'; len]);
                let kept = held.contains_key(&number);
                match step % 5 {
                    0 | 1 if !kept => shard.insert(tag(number), &number.to_string(), Value::packed(&bytes), deadline),
                    0 | 1 => {
                        // Shared with this test, and so kept as it is.
                        let mut value = Value::of(bytes.clone());
                        let slot = find(&shard, number);
                        shard.replace(slot, &mut value, deadline);
                        assert_eq!(value.bytes.len(), held[&number].0);
                    }
                    2 if kept => {
                        let slot = find(&shard, number);
                        shard.set_deadline(slot, deadline);
                    }
                    3 if kept => {
                        let slot = find(&shard, number);
                        let footprint = shard.value_footprint_at(slot);
                        let removed = shard.remove(slot).unwrap();
                        let (len, deadline) = held.remove(&number).unwrap();
                        assert_eq!((removed.footprint, removed.deadline), (footprint, deadline));
                        assert!(removed.value.len() == len && footprint >= len);
                        continue;
                    }
                    _ => continue,
                }
                let len = if step % 5 == 2 { held[&number].0 } else { len };
                held.insert(number, (len, deadline));

                let value_bytes: usize = held
                    .keys()
                    .map(|&number| shard.value_footprint_at(find(&shard, number)))
                    .sum();
                let queues = shard
                    .queues
                    .as_ref()
                    .map_or(0, |queues| size_of::<Queues>() + queues.footprint());
                assert_eq!(shard.footprint(), value_bytes + shard.table.footprint() + queues);
                assert_eq!(shard.len(), held.len());
                assert_eq!(shard.has_mortals(), held.values().any(|(_, end)| !end.is_never()));
                assert!(held.values().all(|&(_, end)| shard.earliest() <= end));
            }
            assert!(shard.len() > 10);
            for number in held.into_keys() {
                let slot = find(&shard, number);
                shard.remove(slot);
            }
            assert!(!shard.has_mortals() && shard.earliest().is_never() && shard.entry_bytes == 0);
        }
    }

    #[test]
    fn what_has_ended_is_not_live() {
        let mut shard = Shard::default();
        for (number, deadline, is_live) in [(1, at(10), false), (2, at(11), true), (3, Deadline::NEVER, true)] {
            insert(&mut shard, number, deadline);
            let slot = find(&shard, number);
            assert_eq!(shard.live_at(slot, NOW).is_some(), is_live);
            assert_eq!(shard.live(tag(number), &number.to_string(), NOW).is_some(), is_live);
        }
    }

    #[test]
    fn a_sweep_takes_what_has_ended_a_little_at_a_time() {
        let mut shard = Shard::default();
        for number in 0..3000 {
            insert(&mut shard, number, at(10 + u64::from(number % 2)));
        }
        let mut swept = Swept::default();
        assert_eq!(shard.sweep(0, Reading::Taken(Duration::from_secs(9)), &mut swept), None);
        assert!(swept.entries.is_empty() && shard.earliest() == at(10));
        let (mut next, mut count, mut steps) = (Some(0), 0, 0);
        while let Some(from) = next {
            swept = Swept::with_room();
            let rooms = [swept.entries.capacity(), swept.rooms.capacity()];
            next = shard.sweep(from, NOW, &mut swept);
            assert_eq!([swept.entries.capacity(), swept.rooms.capacity()], rooms);
            let removed = swept.entries.len();
            assert!(removed < 2 * BLOCK && swept.entries.iter().all(|entry| entry.deadline == at(10)));
            assert!(removed >= BLOCK || next.is_none());
            count += removed;
            steps += 1;
        }
        assert_eq!((count, shard.len(), shard.earliest()), (1500, 1500, at(11)));
        assert!(
            (1500 / (2 * BLOCK)..=1500 / BLOCK + 1).contains(&steps),
            "{steps} steps"
        );
        // Everything has ended: the hand goes round.
        while shard.len() > 0 {
            swept = Swept::default();
            shard.sweep_next(Reading::Taken(Duration::from_secs(11)), &mut swept);
            assert!(!swept.entries.is_empty());
        }
        assert_eq!(shard.hand, 0);
    }

    #[test]
    fn a_sweep_looks_at_a_few_blocks_at_a_time() {
        let mut shard = Shard::default();
        for number in 0..6000 {
            insert(
                &mut shard,
                number,
                if tag(number) > u32::MAX - 1_000_000 {
                    at(10)
                } else {
                    at(20)
                },
            );
        }
        let blocks = {
            let (mut from, mut count) = (Some(0), 0);
            while let Some(hash) = from {
                from = shard.page(hash).next;
                count += 1;
            }
            count
        };
        let (mut next, mut steps, mut swept) = (Some(0), 0, Swept::default());
        while let Some(from) = next {
            assert!(swept.entries.is_empty());
            next = shard.sweep(from, NOW, &mut swept);
            steps += 1;
        }
        assert!(!swept.entries.is_empty());
        assert!(blocks > 2 * BLOCKS_PER_STEP);
        assert_eq!(steps, blocks.div_ceil(BLOCKS_PER_STEP));
    }
}
