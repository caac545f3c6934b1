//! Some entries whose hashes begin alike, and how one is found among them.

use wide::u8x16;

use crate::{deadline::Deadline, entry::Entry, keys::Keys, range::Range};

/// So many entries a block has at most, as long as their hashes differ.
pub(crate) const BLOCK: usize = 48;

/// Bytes that are compared at once.
const LANES: usize = 16;

/// The memory of a block grows by so many entries.
const STEP: usize = 4;

/// Entries, in no order, with their keys: two cache lines, which are all that is looked at on the way to an entry.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Block {
    /// The lowest byte of the hash of each of the first entries.
    prints: [[u8; LANES]; BLOCK / LANES],
    entries: Vec<Entry>,
    keys: Keys,
    /// No entry here ends before this.
    pub(crate) earliest: Deadline,
    pub(crate) range: Range,
}

#[inline]
fn print(tag: u32) -> u8 {
    tag.to_le_bytes()[0]
}

impl Block {
    pub(crate) fn of(range: Range) -> Self {
        Self {
            range,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn entry_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    pub(crate) fn key(&self, entry: &Entry) -> &[u8] {
        self.keys.get(entry.key_at())
    }

    /// Where the entry of `key` is.
    #[inline]
    pub(crate) fn find(&self, tag: u32, key: &[u8]) -> Option<usize> {
        let is_it = |entry: &Entry| entry.tag == tag && self.keys.is(entry.key_at(), key);
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

    /// A bit for each of the first entries that has this print.
    #[inline]
    fn with_print(&self, print: u8) -> u64 {
        let wanted = u8x16::splat(print);
        let same = |lanes: [u8; LANES]| u64::from(u8x16::new(lanes).simd_eq(wanted).to_bitmask());
        let [first, second, third] = self.prints;
        let alike = same(first) | same(second) << LANES | same(third) << (2 * LANES);
        // What lies behind the last entry is of those that were there.
        alike & !(u64::MAX << self.entries.len().min(BLOCK))
    }

    fn set_print(&mut self, at: usize, tag: u32) {
        if let Some(place) = self.prints.as_flattened_mut().get_mut(at) {
            *place = print(tag);
        }
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, mut entry: Entry, key: &[u8]) {
        if self.keys.is_sparse() {
            self.gather_keys();
        }
        entry.move_key(self.keys.push(key));
        self.adopt(entry);
    }

    /// Takes in an entry whose key is here.
    fn adopt(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(STEP);
        }
        self.set_print(self.entries.len(), entry.tag);
        self.earliest = self.earliest.min(entry.deadline);
        self.entries.push(entry);
    }

    /// Takes an entry out, and says what its key took. The last one moves into its place. To be [tidied](Self::tidy) afterwards.
    pub(crate) fn remove(&mut self, at: usize) -> Option<(Entry, usize)> {
        if at >= self.entries.len() {
            return None;
        }
        let entry = self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.set_print(at, moved.tag);
        }
        let key_footprint = self.keys.forget(entry.key_at());
        Some((entry, key_footprint))
    }

    /// Gives back what removals have left unused, where that is more than a little.
    pub(crate) fn tidy(&mut self) {
        if self.entries.is_empty() {
            *self = Self::of(self.range);
            return;
        }
        if self.keys.is_sparse() {
            self.gather_keys();
        }
        if self.entries.len() + 2 * STEP <= self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() + STEP / 2);
        }
    }

    /// Copies the keys that are left into as much memory as they need.
    fn gather_keys(&mut self) {
        let mut keys = self.keys.like();
        for entry in &mut self.entries {
            entry.move_key(keys.take_over(&mut self.keys, entry.key_at()));
        }
        self.keys = keys;
    }

    /// Moves the entries for which `is_it` holds to another block.
    pub(crate) fn move_to(&mut self, other: &mut Self, is_it: impl Fn(&Entry) -> bool) {
        let mut old = std::mem::replace(self, Self::of(self.range));
        for mut entry in std::mem::take(&mut old.entries) {
            let block = if is_it(&entry) { &mut *other } else { &mut *self };
            entry.move_key(block.keys.take_over(&mut old.keys, entry.key_at()));
            block.adopt(entry);
        }
    }

    /// Sets `earliest` to what it is.
    pub(crate) fn look_for_earliest(&mut self) {
        let ends = self.entries.iter().map(|entry| entry.deadline);
        self.earliest = ends.min().unwrap_or(Deadline::NEVER);
    }

    /// How many bytes have been asked of the allocator, beside the block itself.
    pub(crate) fn footprint(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.keys.footprint()
    }
}
