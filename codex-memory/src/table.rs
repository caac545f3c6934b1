//! From a key's hash to its entry.
//!
//! Extendible hashing: Fagin, Nievergelt, Pippenger, Strong, "Extendible hashing - a fast access
//! method for dynamic files", ACM TODS 4 (3), 1979. A directory says which block a hash belongs to;
//! a full block becomes two, and two that are nearly empty become one. So hardly anything is ever
//! copied that is larger than a block: the directory and the list of blocks are a few bytes for
//! each entry. And a walk in the order of the hashes meets every entry that is there all along
//! exactly once, whatever else comes and goes.

use crate::{
    block::{BLOCK, Block},
    deadline::Deadline,
    entry::Entry,
    range::Range,
    swept::Swept,
};

/// Two blocks that have no more than this between them become one.
const MERGED: usize = BLOCK / 3;

/// The directory has no more cells than this for each block. Hashes that differ as they should need
/// two or four.
const MOST_CELLS: usize = 32;

/// Where an entry is, until the table changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    block: u32,
    at: u32,
}

#[derive(Debug)]
pub(crate) struct Table {
    /// A block for each beginning of a hash; its length is a power of two.
    directory: Vec<u32>,
    /// How many bits of a hash the directory does not look at.
    shift: u32,
    blocks: Vec<Block>,
    /// Which hashes each block is for: apart from it, because finding an entry does not need that.
    ranges: Vec<Range>,
    len: usize,
    /// What the blocks have asked of the allocator.
    block_bytes: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            directory: vec![0],
            shift: 32,
            blocks: vec![Block::default()],
            ranges: vec![Range::ALL],
            len: 0,
            block_bytes: 0,
        }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or_else(|_| unreachable!("four thousand million entries in one shard"))
}

impl Table {
    #[inline]
    fn cell_of(&self, tag: u32) -> usize {
        tag.unbounded_shr(self.shift) as usize
    }

    #[inline]
    fn block_of(&self, tag: u32) -> usize {
        self.directory[self.cell_of(tag)] as usize
    }

    /// The cells of a range that is no smaller than one.
    fn cells(&mut self, range: Range) -> &mut [u32] {
        let cells = self.cell_of(range.first())..=self.cell_of(range.last());
        &mut self.directory[cells]
    }

    #[inline]
    pub(crate) fn find(&self, tag: u32, key: &[u8]) -> Option<Slot> {
        self.slot(tag, |block| block.find(tag, key))
    }

    /// The entry of `key`.
    #[inline]
    pub(crate) fn entry_of(&self, tag: u32, key: &[u8]) -> Option<&Entry> {
        let block = &self.blocks[self.block_of(tag)];
        block.entries().get(block.find(tag, key)?)
    }

    /// The slot of the entry with this seat.
    pub(crate) fn find_seat(&self, tag: u32, seat: u32) -> Option<Slot> {
        self.slot(tag, |block| {
            block.entries().iter().position(|entry| entry.seat() == seat)
        })
    }

    /// The slot that `find` finds in the block of a hash.
    #[inline]
    fn slot(&self, tag: u32, find: impl FnOnce(&Block) -> Option<usize>) -> Option<Slot> {
        let block = self.block_of(tag);
        let at = find(&self.blocks[block])?;
        Some(Slot {
            block: number(block),
            at: number(at),
        })
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.blocks.get(slot.block as usize)?.entries().get(slot.at as usize)
    }

    /// Gives what is in a slot another end, and hands out the old one.
    #[inline]
    pub(crate) fn end_at(&mut self, slot: Slot, deadline: Deadline) -> Option<(&mut Entry, Deadline)> {
        let block = self.blocks.get_mut(slot.block as usize)?;
        block.earliest = block.earliest.min(deadline);
        let entry = block.entry_mut(slot.at as usize)?;
        let old = std::mem::replace(&mut entry.deadline, deadline);
        Some((entry, old))
    }

    /// Adds an entry whose key is not there.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let mut block = self.block_of(entry.tag);
        while self.blocks[block].len() >= BLOCK && self.split(block) {
            block = self.block_of(entry.tag);
        }
        self.change(block, |block| block.push(entry));
    }

    /// Changes what is in one block, and keeps the books.
    fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Block) -> T) -> T {
        let block = &mut self.blocks[at];
        let (len, bytes) = (block.len(), block.footprint());
        let answer = change(block);
        self.len = self.len + block.len() - len;
        self.block_bytes = self.block_bytes + block.footprint() - bytes;
        answer
    }

    /// Makes two blocks of one, by the next bit of the hashes; or answers that this would lead to
    /// nothing, because the hashes have too much in common.
    fn split(&mut self, at: usize) -> bool {
        let Some((low, high)) = self.ranges[at].halves() else {
            return false;
        };
        if high.bits() > 32 - self.shift {
            if self.directory.len() * 2 > MOST_CELLS * self.blocks.len() {
                return false;
            }
            self.directory = self.directory.iter().flat_map(|&block| [block; 2]).collect();
            self.shift -= 1;
        }
        let block = &mut self.blocks[at];
        let before = block.footprint();
        let mut other = Block::default();
        block.move_to(&mut other, |entry| entry.tag >= high.first());
        self.block_bytes = self.block_bytes + block.footprint() + other.footprint() - before;
        let new = number(self.blocks.len());
        self.cells(high).fill(new);
        if self.blocks.len() == self.blocks.capacity() {
            let more = self.blocks.len() / 8 + 1;
            self.blocks.reserve_exact(more);
            self.ranges.reserve_exact(more);
        }
        self.blocks.push(other);
        self.ranges[at] = low;
        self.ranges.push(high);
        true
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let tag = self.get(slot)?.tag;
        let removed = self.change(slot.block as usize, |block| {
            let removed = block.remove(slot.at as usize);
            drop(block.tidy());
            removed
        });
        while self.merge(self.block_of(tag)) {}
        removed
    }

    /// Makes one of a block and the one that it was split from, where both are nearly empty.
    fn merge(&mut self, at: usize) -> bool {
        let len = self.blocks[at].len();
        let Some((whole, other)) = self.ranges[at].whole().filter(|_| len <= MERGED) else {
            return false;
        };
        let from = self.block_of(other.first());
        if self.ranges[from] != other || len + self.blocks[from].len() > MERGED {
            return false;
        }
        let mut gone = std::mem::take(&mut self.blocks[from]);
        let block = &mut self.blocks[at];
        let before = gone.footprint() + block.footprint();
        gone.move_to(block, |_| true);
        self.ranges[at] = whole;
        self.block_bytes = self.block_bytes + block.footprint() - before;
        self.cells(whole).fill(number(at));
        // The last block moves to where there is none any more.
        self.blocks.swap_remove(from);
        self.ranges.swap_remove(from);
        if let Some(&moved) = self.ranges.get(from) {
            self.cells(moved).fill(number(from));
        }
        if self.blocks.capacity() > 16 && self.blocks.len() < self.blocks.capacity() / 4 {
            self.blocks.shrink_to(self.blocks.len() * 2);
            self.ranges.shrink_to(self.blocks.len() * 2);
        }
        self.shrink_directory();
        true
    }

    /// Looks at a bit less of the hashes, as long as no block needs it.
    fn shrink_directory(&mut self) {
        let has_twins = |directory: &[u32]| directory.as_chunks().0.iter().all(|[one, other]| one == other);
        while self.directory.len() > 1 && has_twins(&self.directory) {
            self.directory = self.directory.iter().copied().step_by(2).collect();
            self.shift += 1;
        }
    }

    /// The block that has the hash `from`, and the first hash behind that block; `None` where it is
    /// the last.
    pub(crate) fn at(&self, from: u32) -> (&Block, Option<u32>) {
        let at = self.block_of(from);
        (&self.blocks[at], self.ranges[at].last().checked_add(1))
    }

    /// Takes out of the block that has the hash `from` what has ended.
    pub(crate) fn remove_ended(&mut self, from: u32, is_past: impl Fn(Deadline) -> bool, swept: &mut Swept) {
        self.change(self.block_of(from), |block| {
            // From the end, for what moves into the place of one that is removed has been looked
            // at.
            for at in (0..block.len()).rev() {
                if block.entries().get(at).is_some_and(|entry| is_past(entry.deadline)) {
                    swept.entries.extend(block.remove(at));
                }
            }
            swept.rooms.extend(block.tidy());
            block.look_for_earliest();
        });
        while self.merge(self.block_of(from)) {}
    }

    /// The earliest of the ends that the blocks know.
    pub(crate) fn earliest(&self) -> Deadline {
        let ends = self.blocks.iter().map(|block| block.earliest);
        ends.min().unwrap_or(Deadline::NEVER)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let block = self.blocks.capacity() * size_of::<Block>() + self.ranges.capacity() * size_of::<Range>();
        self.directory.capacity() * size_of::<u32>() + block + self.block_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::value::Value;

    fn entry(tag: u32, key: &str, deadline: Deadline) -> Entry {
        Entry::new(tag, key, Value::packed(key.as_bytes()), deadline, tag)
    }

    fn filled(keys: &BTreeMap<String, u32>) -> Table {
        let mut table = Table::default();
        for (key, &tag) in keys {
            assert_eq!(table.find(tag, key.as_bytes()), None);
            table.insert(entry(tag, key, Deadline::NEVER));
            assert!(table.directory.len() <= MOST_CELLS * table.blocks.len());
            let most = table.blocks.len() + table.blocks.len() / 8 + 1;
            assert!(table.blocks.capacity() <= most && table.ranges.capacity() <= most);
            assert_sound(&table);
        }
        table
    }

    /// Spread as hashes are.
    fn spread(count: u32) -> BTreeMap<String, u32> {
        let mix = |number: u32| {
            let number = number.wrapping_mul(0x9E37_79B9);
            (number ^ number >> 15).wrapping_mul(0x85EB_CA6B)
        };
        let tags = (0..count).map(|number| mix(number) ^ mix(number) >> 13);
        tags.map(|tag| (format!("key {tag}"), tag)).collect()
    }

    /// Lists of no more than this are not shortened.
    const FEW: usize = 16;

    fn remove(table: &mut Table, key: &str, tag: u32) {
        let slot = table.find(tag, key.as_bytes()).unwrap();
        assert_eq!(table.get(slot).unwrap().key(), key.as_bytes());
        let rooms = |table: &Table| [table.blocks.capacity(), table.ranges.capacity()];
        let before = rooms(table);
        assert_eq!(table.remove(slot).unwrap().key(), key.as_bytes());
        for (before, after) in before.into_iter().zip(rooms(table)) {
            // Given back when it is four times what is needed, and then half of it is kept.
            assert!(after == before || (before > FEW && after / 2 < before / 4 && after >= 2 * table.blocks.len()));
            assert!(after <= FEW || table.blocks.len() >= after / 4);
        }
        assert_eq!(table.find(tag, key.as_bytes()), None);
        assert_sound(table);
    }

    fn assert_sound(table: &Table) {
        assert_eq!(table.directory.len(), 1 << (32 - table.shift));
        assert_eq!(table.blocks.len(), table.ranges.len());
        let deepest = table.ranges.iter().map(|range| range.bits()).max();
        assert_eq!(deepest, Some(32 - table.shift));
        let (mut len, mut bytes, mut cells) = (0, 0, 0);
        for (at, (block, range)) in table.blocks.iter().zip(&table.ranges).enumerate() {
            for cell in table.cell_of(range.first())..=table.cell_of(range.last()) {
                assert_eq!(table.directory[cell] as usize, at);
                cells += 1;
            }
            if let Some((_, other)) = range.whole() {
                let from = table.block_of(other.first());
                assert!(table.ranges[from] != other || block.len() + table.blocks[from].len() > 10);
            }
            for entry in block.entries() {
                assert!((range.first()..=range.last()).contains(&entry.tag));
                assert!(block.earliest <= entry.deadline);
            }
            len += block.len();
            bytes += block.footprint();
        }
        assert_eq!(
            (table.len, table.block_bytes, table.directory.len()),
            (len, bytes, cells)
        );
        let lists = table.directory.capacity() * 4 + table.blocks.capacity() * 64 + table.ranges.capacity() * 4;
        assert_eq!(table.footprint(), lists + bytes);
    }

    /// The keys in the order of a walk, block by block.
    fn walk(table: &Table) -> Vec<String> {
        let (mut keys, mut from) = (Vec::new(), Some(0));
        while let Some(hash) = from {
            let (block, next) = table.at(hash);
            let keys_here = block
                .entries()
                .iter()
                .map(|entry| String::from_utf8_lossy(entry.key()).into_owned());
            keys.extend(keys_here);
            from = next;
        }
        keys.sort();
        keys
    }

    #[test]
    fn a_table_grows_and_shrinks() {
        let mut keys = spread(3000);
        let mut table = filled(&keys);
        // Not so many that the blocks are nearly empty, and none too full.
        assert!(
            (3000 / BLOCK..3000 / 10).contains(&table.blocks.len()),
            "{}",
            table.blocks.len()
        );
        assert!(table.blocks.iter().all(|block| block.len() <= BLOCK));
        assert!(table.blocks.capacity() <= table.blocks.len() * 9 / 8 + 1);
        while let Some((key, tag)) = keys.pop_first() {
            remove(&mut table, &key, tag);
            if keys.len().is_multiple_of(500) {
                assert_eq!(walk(&table), keys.keys().cloned().collect::<Vec<_>>());
                assert!(
                    keys.iter()
                        .all(|(key, &tag)| table.entry_of(tag, key.as_bytes()).is_some())
                );
                assert!(table.blocks.iter().all(|block| block.len() <= BLOCK));
            }
        }
        assert_eq!((table.blocks.len(), table.directory.len(), table.len()), (1, 1, 0));
        assert!(table.footprint() < 4096);
    }

    #[test]
    fn keys_whose_hashes_are_the_same_are_told_apart() {
        for bits in [0, 3, 6] {
            let tags = (0..200_u32).map(|number| 0x7654_3210 ^ number & ((1 << bits) - 1));
            let mut keys: BTreeMap<String, u32> =
                tags.enumerate().map(|(at, tag)| (format!("key {at}"), tag)).collect();
            let mut table = filled(&keys);
            assert!(bits > 0 || table.directory.len() * 2 > MOST_CELLS * table.blocks.len());
            assert!(table.footprint() < 200 * 200, "{}", table.footprint());
            assert_eq!(walk(&table), keys.keys().cloned().collect::<Vec<_>>());
            while let Some((key, tag)) = keys.pop_last() {
                remove(&mut table, &key, tag);
                assert!(keys.iter().all(|(key, &tag)| table.find(tag, key.as_bytes()).is_some()));
            }
            assert_eq!((table.blocks.len(), table.directory.len()), (1, 1));
        }
    }

    #[test]
    fn what_has_ended_is_taken_out_of_a_block_at_once() {
        let second = |seconds| Deadline::after(Duration::from_secs(seconds), Duration::ZERO);
        let mut table = Table::default();
        for number in 0..number(BLOCK) {
            table.insert(entry(
                number << 16,
                &format!("key {number}"),
                second(u64::from(number % 4)),
            ));
        }
        assert_eq!(table.earliest(), second(0));
        let now = Duration::from_secs(1);
        let mut swept = Swept::default();
        table.remove_ended(7, |end| end.is_past(now), &mut swept);
        assert_eq!((swept.entries.len(), swept.rooms.len()), (BLOCK / 2, 0));
        assert!(swept.entries.iter().all(|entry| entry.deadline.is_past(now)));
        assert_sound(&table);
        assert_eq!((table.len(), table.earliest()), (BLOCK / 2, second(2)));
        table.remove_ended(7, |end| end.is_past(now), &mut swept);
        assert_eq!((swept.entries.len(), swept.rooms.len()), (BLOCK / 2, 0));
        table.remove_ended(7, |end| !end.is_never(), &mut swept);
        // What was the block's memory is left to the caller.
        assert_eq!((swept.entries.len(), swept.rooms.len()), (BLOCK, 1));
        assert!(swept.rooms.iter().all(|room| room.is_empty() && room.capacity() > 0));
        assert_eq!(
            (table.len(), table.earliest(), table.block_bytes),
            (0, Deadline::NEVER, 0)
        );
    }

    #[test]
    fn an_entry_is_found_by_its_seat_and_given_another_end() {
        let keys = spread(100);
        let mut table = filled(&keys);
        for (key, &tag) in &keys {
            let slot = table.find(tag, key.as_bytes()).unwrap();
            let seat = table.get(slot).unwrap().seat();
            assert_eq!(table.find_seat(tag, seat), Some(slot));
            assert_eq!(table.find_seat(tag, seat ^ 1), None);
            let (end, other) = (Deadline::after_nanos(5, 5), Deadline::after_nanos(1, 1));
            assert_eq!(table.end_at(slot, end).unwrap().1, Deadline::NEVER);
            assert_eq!(table.end_at(slot, other).unwrap().1, end);
            assert_sound(&table);
        }
    }
}
