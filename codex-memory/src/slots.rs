//! Entries in slots that never move.

use std::{ops::Range, time::Duration};

use crate::{deadline::Deadline, entry::Entry};

/// Slots in a block: as many as a word has bits.
pub(crate) const BLOCK: usize = 64;

/// What is known of 64 slots without looking at them.
#[derive(Debug)]
struct Block {
    /// A bit for each slot that is taken.
    taken: u64,
    /// No entry here ends before this.
    earliest: Deadline,
}

/// A list of slots. An entry stays in its slot from insertion to removal: a walk over the slots in order therefore meets every
/// entry that is there all along, exactly once, whatever else comes and goes.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    places: Vec<Option<Entry>>,
    blocks: Vec<Block>,
    /// No block before this one has a free slot.
    first_free: usize,
}

impl Slots {
    /// The number of slots, free ones too.
    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    /// The number of slots that there is memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Entry> {
        self.places.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    /// Puts the entry into the first free slot: what is left after many removals then gathers at the front, and the end can be given back.
    ///
    /// # Panics
    ///
    /// Where there would be more than `u32::MAX` slots, which no machine's memory holds.
    pub(crate) fn insert(&mut self, entry: Entry) -> u32 {
        while self
            .blocks
            .get(self.first_free)
            .is_some_and(|block| block.taken == u64::MAX)
        {
            self.first_free += 1;
        }
        if self.first_free == self.blocks.len() {
            self.blocks.push(Block {
                taken: 0,
                earliest: Deadline::NEVER,
            });
        }
        let block = &mut self.blocks[self.first_free];
        let bit = block.taken.trailing_ones() as usize;
        block.taken |= 1 << bit;
        block.earliest = block.earliest.min(entry.deadline);
        let slot = self.first_free * BLOCK + bit;
        if slot < self.places.len() {
            self.places[slot] = Some(entry);
        } else {
            if self.places.len() == self.places.capacity() {
                // By an eighth, not by doubling: at a million entries that is six percent of slots unused instead of up to half.
                self.places.reserve_exact((self.places.len() / 8).max(4));
            }
            self.places.push(Some(entry));
        }
        u32::try_from(slot).unwrap_or_else(|_| unreachable!("four thousand million entries in one shard"))
    }

    /// To be told of every new end.
    pub(crate) fn note_deadline(&mut self, slot: u32, deadline: Deadline) {
        if let Some(block) = self.blocks.get_mut(slot as usize / BLOCK) {
            block.earliest = block.earliest.min(deadline);
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.places.get_mut(slot as usize)?.take()?;
        let (block, bit) = (slot as usize / BLOCK, slot as usize % BLOCK);
        self.blocks[block].taken &= !(1 << bit);
        self.first_free = self.first_free.min(block);
        while self.blocks.last().is_some_and(|block| block.taken == 0) {
            self.blocks.pop();
            self.places.truncate(self.blocks.len() * BLOCK);
        }
        if self.places.capacity() > 2 * BLOCK && self.places.len() < self.places.capacity() / 4 {
            self.places.shrink_to(self.places.len() * 2);
            self.blocks.shrink_to(self.blocks.len() * 2);
        }
        Some(entry)
    }

    /// Whether an entry of this block may have ended by `now`.
    pub(crate) fn may_have_ended(&self, block: usize, now: Duration) -> bool {
        self.blocks.get(block).is_some_and(|block| block.earliest.is_past(now))
    }

    /// The slots of a block whose entries have ended by `now`, as bits; and learns when the next one of the others will.
    pub(crate) fn ended_in(&mut self, block: usize, now: Duration) -> u64 {
        let mut ended = 0;
        let mut earliest = Deadline::NEVER;
        let from = block * BLOCK;
        for (bit, slot) in self.places[from..].iter().take(BLOCK).enumerate() {
            let Some(entry) = slot else { continue };
            if entry.deadline.is_past(now) {
                ended |= 1 << bit;
            } else {
                earliest = earliest.min(entry.deadline);
            }
        }
        self.blocks[block].earliest = earliest;
        ended
    }

    /// The earliest of the ends that the blocks know.
    pub(crate) fn earliest(&self) -> Deadline {
        let ends = self.blocks.iter().map(|block| block.earliest);
        ends.min().unwrap_or(Deadline::NEVER)
    }

    /// The entries in these slots.
    pub(crate) fn entries_in(&self, slots: Range<usize>) -> impl Iterator<Item = &Entry> {
        self.places[slots].iter().flatten()
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        self.places.capacity() * size_of::<Option<Entry>>() + self.blocks.capacity() * size_of::<Block>()
    }
}
