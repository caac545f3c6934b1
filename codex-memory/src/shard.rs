//! One shard: entries in slots that never move, and an index from key to slot.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::Pattern;
use hashbrown::HashTable;

use crate::clock::Reading;

/// A key with its value and its end.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<str>,
    pub(crate) value: Bytes,
    /// On the store's clock; `None` is never.
    pub(crate) deadline: Option<Duration>,
}

impl Entry {
    pub(crate) fn is_live(&self, reading: Reading) -> bool {
        self.deadline.is_none_or(|deadline| reading.now() < deadline)
    }
}

#[derive(Debug)]
enum Slot {
    Taken(Entry),
    /// Free, with the next free slot after it.
    Free(Option<u32>),
}

/// Entries stay in their slot from insertion to removal: a scan that walks the slots in order therefore meets every entry that is
/// there all along, exactly once, whatever else comes and goes.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    index: HashTable<u32>,
    slots: Vec<Slot>,
    first_free: Option<u32>,
    /// How many entries have a deadline: without one there is nothing to sweep.
    mortal: usize,
    /// The slot that the next write looks at for something to sweep.
    hand: usize,
}

impl Shard {
    fn find(&self, hash: u64, key: &str) -> Option<u32> {
        let same = |&slot: &u32| self.entry(slot).is_some_and(|entry| *entry.key == *key);
        self.index.find(hash, same).copied()
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        match self.slots.get(slot as usize) {
            Some(Slot::Taken(entry)) => Some(entry),
            _ => None,
        }
    }

    /// The entry of `key`, where it is there and has not expired.
    pub(crate) fn live(&self, hash: u64, key: &str, reading: Reading) -> Option<&Entry> {
        let entry = self.entry(self.find(hash, key)?)?;
        entry.is_live(reading).then_some(entry)
    }

    /// Writes value and deadline. What is returned is for the caller to drop after the lock: a value's owner may have a `Drop`
    /// of its own.
    ///
    /// # Panics
    ///
    /// Where a shard would hold more than `u32::MAX` entries, which no machine's memory does.
    pub(crate) fn put(
        &mut self,
        hash: u64,
        key: &str,
        value: Bytes,
        deadline: Option<Duration>,
        hasher: impl Fn(&str) -> u64,
    ) -> Option<Bytes> {
        self.mortal += usize::from(deadline.is_some());
        if let Some(slot) = self.find(hash, key)
            && let Some(Slot::Taken(entry)) = self.slots.get_mut(slot as usize)
        {
            self.mortal -= usize::from(entry.deadline.is_some());
            entry.deadline = deadline;
            return Some(std::mem::replace(&mut entry.value, value));
        }
        let entry = Entry {
            key: key.into(),
            value,
            deadline,
        };
        let slot = self.fill(entry);
        let slots = &self.slots;
        self.index
            .insert_unique(hash, slot, |&slot| match &slots[slot as usize] {
                Slot::Taken(entry) => hasher(&entry.key),
                Slot::Free(_) => unreachable!("the index holds taken slots only"),
            });
        None
    }

    fn fill(&mut self, entry: Entry) -> u32 {
        if let Some(free) = self.first_free
            && let Some(slot) = self.slots.get_mut(free as usize)
            && let Slot::Free(next) = *slot
        {
            *slot = Slot::Taken(entry);
            self.first_free = next;
            return free;
        }
        assert!(
            self.slots.len() < u32::MAX as usize,
            "a shard holds at most 2^32 - 1 entries"
        );
        #[expect(clippy::cast_possible_truncation, reason = "asserted in the line above")]
        let slot = self.slots.len() as u32;
        self.slots.push(Slot::Taken(entry));
        slot
    }

    /// Changes the deadline alone; the key must be live.
    pub(crate) fn set_deadline(&mut self, hash: u64, key: &str, deadline: Option<Duration>) {
        if let Some(slot) = self.find(hash, key)
            && let Some(Slot::Taken(entry)) = self.slots.get_mut(slot as usize)
        {
            self.mortal -= usize::from(entry.deadline.is_some());
            self.mortal += usize::from(deadline.is_some());
            entry.deadline = deadline;
        }
    }

    /// Removes `key`, expired or not.
    pub(crate) fn remove(&mut self, hash: u64, key: &str) -> Option<Entry> {
        let same = |&slot: &u32| matches!(&self.slots[slot as usize], Slot::Taken(entry) if *entry.key == *key);
        let (slot, _) = self.index.find_entry(hash, same).ok()?.remove();
        let freed = Slot::Free(self.first_free.replace(slot));
        let Slot::Taken(entry) = std::mem::replace(&mut self.slots[slot as usize], freed) else {
            unreachable!("the index holds taken slots only");
        };
        self.mortal -= usize::from(entry.deadline.is_some());
        if self.index.is_empty() {
            // Gives the memory back. No scan can miss a key by it: none was there all along.
            *self = Self::default();
        }
        Some(entry)
    }

    /// Looks at one slot and removes what has expired there. Each write does so once, so that what expires unread is reclaimed within
    /// as many writes as there are slots, without a task of its own.
    pub(crate) fn sweep_one(&mut self, reading: Reading, hasher: impl Fn(&str) -> u64) -> Option<Entry> {
        if self.mortal == 0 {
            return None;
        }
        self.hand = if self.hand + 1 < self.slots.len() {
            self.hand + 1
        } else {
            0
        };
        let Some(Slot::Taken(entry)) = self.slots.get(self.hand) else {
            return None;
        };
        if entry.is_live(reading) {
            return None;
        }
        let key = entry.key.clone();
        self.remove(hasher(&key), &key)
    }

    /// How many entries there are, expired ones too.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// How many slots there are, free ones too.
    pub(crate) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The live keys in `slots` that match.
    pub(crate) fn keys_in(
        &self,
        slots: std::ops::Range<usize>,
        pattern: &Pattern,
        reading: Reading,
    ) -> impl Iterator<Item = String> {
        self.slots[slots].iter().filter_map(move |slot| match slot {
            Slot::Taken(entry) if pattern.matches(&*entry.key) && entry.is_live(reading) => Some(entry.key.to_string()),
            _ => None,
        })
    }
}
