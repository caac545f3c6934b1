//! Entries in slots that never move.

use std::{mem::take, ops::Range, time::Duration};

use crate::{
    deadline::Deadline,
    entry::Entry,
    keys::{self, Keys},
    value::Value,
};

/// Slots in a block: as many as a word has bits.
pub(crate) const BLOCK: usize = 64;

/// 64 slots, and what is known of them without looking at them: 64 bytes.
#[derive(Debug)]
struct Block {
    /// A bit for each slot that is taken.
    taken: u64,
    /// No entry here ends before this.
    earliest: Deadline,
    /// Grows with the first entries.
    places: Box<[Option<Entry>]>,
    keys: Keys,
}

/// A list of slots. An entry stays in its slot from insertion to removal: a walk over the slots in order therefore meets every
/// entry that is there all along, exactly once, whatever else comes and goes. The memory comes and goes in blocks, so that nothing large is ever
/// copied or freed at once.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    blocks: Vec<Block>,
    /// No block before this one has a free slot.
    first_free: usize,
    /// What the blocks have asked of the allocator.
    block_bytes: usize,
}

impl Block {
    const EMPTY: fn() -> Self = || Self {
        taken: 0,
        earliest: Deadline::NEVER,
        places: Box::default(),
        keys: Keys::default(),
    };

    fn has_room(&self) -> bool {
        self.taken != u64::MAX && self.keys.has_room()
    }

    fn insert(&mut self, tag: u32, key: &[u8], value: Value, deadline: Deadline) -> usize {
        let bit = self.taken.trailing_ones() as usize;
        if bit == self.places.len() {
            let mut places = take(&mut self.places).into_vec();
            places.reserve_exact(bit.max(4));
            places.resize_with(places.capacity().min(BLOCK), || None);
            self.places = places.into_boxed_slice();
        }
        if !self.keys.fits(key) && self.keys.is_sparse() {
            self.gather_keys(keys::footprint(key.len()));
        }
        let key_at = self.keys.push(key);
        self.places[bit] = Some(Entry::new(value, deadline, tag, key_at));
        self.taken |= 1 << bit;
        self.earliest = self.earliest.min(deadline);
        if self.taken == u64::MAX {
            self.keys.shrink();
        }
        bit
    }

    fn remove(&mut self, bit: usize) -> Option<(Entry, usize)> {
        let entry = self.places.get_mut(bit)?.take()?;
        let key_len = self.keys.get(entry.key_at()).len();
        self.keys.forget(entry.key_at());
        self.taken &= !(1 << bit);
        if self.taken == 0 {
            self.keys.clear();
        } else if self.keys.is_sparse() && self.keys.capacity() > 1024 {
            self.gather_keys(0);
        }
        Some((entry, keys::footprint(key_len)))
    }

    /// Copies the keys that are left, in the order of their slots, into as much memory as they and `more` bytes need.
    fn gather_keys(&mut self, more: usize) {
        let mut keys = Keys::with_capacity(self.keys.live() + more);
        for entry in self.places.iter_mut().flatten() {
            entry.move_key(keys.push(self.keys.get(entry.key_at())));
        }
        self.keys = keys;
    }

    fn footprint(&self) -> usize {
        size_of_val(&*self.places) + self.keys.capacity()
    }
}

impl Slots {
    /// The number of slots, free ones too.
    pub(crate) fn count(&self) -> usize {
        let last = self.blocks.last().map_or(0, |block| block.places.len());
        self.blocks.len().saturating_sub(1) * BLOCK + last
    }

    pub(crate) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Entry> {
        let block = self.blocks.get(slot as usize / BLOCK)?;
        block.places.get(slot as usize % BLOCK)?.as_ref()
    }

    /// The entry in a slot, where its key is `key`.
    #[inline]
    pub(crate) fn of_key(&self, slot: u32, key: &[u8]) -> Option<&Entry> {
        let block = self.blocks.get(slot as usize / BLOCK)?;
        let entry = block.places.get(slot as usize % BLOCK)?.as_ref()?;
        block.keys.is(entry.key_at(), key).then_some(entry)
    }

    /// The key of the entry in a slot.
    pub(crate) fn key(&self, slot: u32) -> Option<&[u8]> {
        let entry = self.get(slot)?;
        Some(self.blocks.get(slot as usize / BLOCK)?.keys.get(entry.key_at()))
    }

    /// Puts an entry into the first free slot: what is left after many removals then gathers at the front, and the end can be given back.
    ///
    /// # Panics
    ///
    /// Where there would be more than `u32::MAX` slots, which no machine's memory holds.
    pub(crate) fn insert(&mut self, tag: u32, key: &[u8], value: Value, deadline: Deadline) -> u32 {
        while self.blocks.get(self.first_free).is_some_and(|block| !block.has_room()) {
            self.first_free += 1;
        }
        if self.first_free == self.blocks.len() {
            self.blocks.push(Block::EMPTY());
        }
        let block = &mut self.blocks[self.first_free];
        let before = block.footprint();
        let bit = block.insert(tag, key, value, deadline);
        self.block_bytes = self.block_bytes + block.footprint() - before;
        let slot = self.first_free * BLOCK + bit;
        u32::try_from(slot).unwrap_or_else(|_| unreachable!("four thousand million entries in one shard"))
    }

    /// Gives what is in a slot another end, and hands out the old one.
    #[inline]
    pub(crate) fn end_at(&mut self, slot: u32, deadline: Deadline) -> Option<(&mut Entry, Deadline)> {
        let block = self.blocks.get_mut(slot as usize / BLOCK)?;
        let entry = block.places.get_mut(slot as usize % BLOCK)?.as_mut()?;
        block.earliest = block.earliest.min(deadline);
        let old = std::mem::replace(&mut entry.deadline, deadline);
        Some((entry, old))
    }

    /// Takes an entry out, and says what its key took.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<(Entry, usize)> {
        let at = slot as usize / BLOCK;
        let block = self.blocks.get_mut(at)?;
        let before = block.footprint();
        let removed = block.remove(slot as usize % BLOCK)?;
        if block.taken == 0 && at > 0 {
            *block = Block::EMPTY();
        }
        self.block_bytes = self.block_bytes + block.footprint() - before;
        self.first_free = self.first_free.min(at);
        while self.blocks.len() > 1 && self.blocks.last().is_some_and(|block| block.taken == 0) {
            self.blocks.pop();
        }
        if self.blocks.capacity() > 16 && self.blocks.len() < self.blocks.capacity() / 4 {
            self.blocks.shrink_to(self.blocks.len() * 2);
        }
        Some(removed)
    }

    /// Whether an entry of this block may have ended by `now`.
    pub(crate) fn may_have_ended(&self, block: usize, now: Duration) -> bool {
        self.blocks.get(block).is_some_and(|block| block.earliest.is_past(now))
    }

    /// The slots of a block whose entries have ended by `now`, as bits; and learns when the next one of the others will.
    pub(crate) fn ended_in(&mut self, block: usize, now: Duration) -> u64 {
        let Some(block) = self.blocks.get_mut(block) else {
            return 0;
        };
        let mut ended = 0;
        let mut earliest = Deadline::NEVER;
        for (bit, place) in block.places.iter().enumerate() {
            let Some(entry) = place else { continue };
            if entry.deadline.is_past(now) {
                ended |= 1 << bit;
            } else {
                earliest = earliest.min(entry.deadline);
            }
        }
        block.earliest = earliest;
        ended
    }

    /// The earliest of the ends that the blocks know.
    pub(crate) fn earliest(&self) -> Deadline {
        let ends = self.blocks.iter().map(|block| block.earliest);
        ends.min().unwrap_or(Deadline::NEVER)
    }

    /// The entries in these slots, with their keys.
    pub(crate) fn entries_in(&self, slots: Range<usize>) -> impl Iterator<Item = (&[u8], &Entry)> {
        let blocks = slots.start / BLOCK..slots.end.div_ceil(BLOCK).min(self.blocks.len());
        let first = blocks.start * BLOCK;
        let blocks = self.blocks.get(blocks).unwrap_or_default();
        blocks.iter().enumerate().flat_map(move |(number, block)| {
            let start = first + number * BLOCK;
            let part = slots.start.saturating_sub(start)..slots.end.saturating_sub(start).min(block.places.len());
            let places = block.places.get(part).unwrap_or_default();
            places
                .iter()
                .flatten()
                .map(|entry| (block.keys.get(entry.key_at()), entry))
        })
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>() + self.block_bytes
    }
}
