//! Some entries whose hashes begin alike, and how one is found among them.

use wide::u8x16;

use crate::{deadline::Deadline, entry::Entry};

/// So many entries a block has at most, as long as their hashes differ.
pub(crate) const BLOCK: usize = 32;

/// Bytes that are compared at once.
const LANES: usize = 16;

/// The memory of a block grows by so many entries.
const STEP: usize = 4;

/// Entries, in no order: one cache line, which is all that is looked at on the way to an entry.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Block {
    /// The lowest byte of the hash of each of the first entries.
    prints: [[u8; LANES]; BLOCK / LANES],
    entries: Vec<Entry>,
    /// No entry here ends before this.
    pub(crate) earliest: Deadline,
}

#[inline]
fn print(tag: u32) -> u8 {
    tag.to_le_bytes()[0]
}

impl Block {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    /// Where the entry of `key` is.
    #[inline]
    pub(crate) fn find(&self, tag: u32, key: &[u8]) -> Option<usize> {
        let is_it = |entry: &Entry| entry.tag == tag && entry.key() == key;
        let mut alike = self.with_print(print(tag));
        while alike != 0 {
            let at = alike.trailing_zeros() as usize;
            if self.entries.get(at).is_some_and(is_it) {
                return Some(at);
            }
            alike &= alike - 1;
        }
        if self.entries.len() <= BLOCK {
            return None;
        }
        self.entries.iter().position(is_it)
    }

    /// A bit for each of the first entries that has this print, and perhaps some behind the last
    /// entry: of those that were there.
    #[inline]
    fn with_print(&self, print: u8) -> u32 {
        let wanted = u8x16::splat(print);
        let same = |lanes: [u8; LANES]| u8x16::new(lanes).simd_eq(wanted).to_bitmask();
        let [first, second] = self.prints;
        same(first) | same(second) << LANES
    }

    fn set_print(&mut self, at: usize, tag: u32) {
        if let Some(place) = self.prints.as_flattened_mut().get_mut(at) {
            *place = print(tag);
        }
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(STEP);
        }
        self.set_print(self.entries.len(), entry.tag);
        self.earliest = self.earliest.min(entry.deadline);
        self.entries.push(entry);
    }

    /// Takes an entry out. The last one moves into its place. To be [tidied](Self::tidy)
    /// afterwards.
    pub(crate) fn remove(&mut self, at: usize) -> Option<Entry> {
        if at >= self.entries.len() {
            return None;
        }
        let entry = self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.set_print(at, moved.tag);
        }
        Some(entry)
    }

    /// Gives back what removals have left unused, where that is more than a little. What an empty
    /// block had is handed out, to be dropped.
    pub(crate) fn tidy(&mut self) -> Option<Vec<Entry>> {
        if self.entries.is_empty() {
            return Some(std::mem::take(self).entries);
        }
        if self.entries.len() + 2 * STEP <= self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() + STEP / 2);
        }
        None
    }

    /// Moves the entries for which `is_it` holds to another block.
    pub(crate) fn move_to(&mut self, other: &mut Self, is_it: impl Fn(&Entry) -> bool) {
        for entry in std::mem::take(self).entries {
            let block = if is_it(&entry) { &mut *other } else { &mut *self };
            block.push(entry);
        }
    }

    /// Sets `earliest` to what it is.
    pub(crate) fn look_for_earliest(&mut self) {
        let ends = self.entries.iter().map(|entry| entry.deadline);
        self.earliest = ends.min().unwrap_or(Deadline::NEVER);
    }

    /// How many bytes have been asked of the allocator, beside the block itself and what its keys
    /// and values take.
    pub(crate) fn footprint(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn entry(tag: u32) -> Entry {
        Entry::new(tag, &format!("key {tag}"), Value::packed(b"v"), Deadline::NEVER, 0)
    }

    #[test]
    fn memory_comes_and_goes_by_a_few_entries() {
        let mut block = Block::default();
        for tag in 1..=32 {
            block.push(entry(tag));
            assert_eq!(
                block.footprint(),
                block.len().next_multiple_of(STEP) * size_of::<Entry>()
            );
        }
        let mut room = BLOCK;
        while block.remove(0).is_some() {
            block.tidy();
            if block.len() + 8 == room {
                room = block.len() + 2;
            }
            assert!(block.len() + 8 > room);
            let room = if block.len() == 0 { 0 } else { room };
            assert_eq!(block.footprint(), room * size_of::<Entry>());
        }
    }

    #[test]
    fn prints_that_are_alike_are_told_apart() {
        let mut block = Block::default();
        let tags: Vec<u32> = (0..40_u32).map(|number| (number << 8) | (number % 3)).collect();
        for &tag in &tags {
            block.push(entry(tag));
        }
        for (at, &tag) in tags.iter().enumerate() {
            assert_eq!(block.find(tag, format!("key {tag}").as_bytes()), Some(at));
            assert_eq!(block.find(tag, b"another key"), None);
            assert_eq!(block.find(tag ^ 1 << 31, format!("key {tag}").as_bytes()), None);
        }
        // The last one moves, from behind the prints too.
        for &tag in &tags {
            let at = block.find(tag, format!("key {tag}").as_bytes());
            assert_eq!(at.and_then(|at| block.remove(at)).map(|entry| entry.tag), Some(tag));
        }
        assert_eq!((block.len(), block.remove(0).is_none()), (0, true));
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_block_is_one_cache_line() {
        assert_eq!(size_of::<Block>(), 64);
    }
}
