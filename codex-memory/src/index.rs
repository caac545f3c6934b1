//! From a key's hash to its slot.

use hashbrown::HashTable;

/// Where the entry of a key is: eight bytes, with enough of the hash in them that the table grows without looking at a key, and that the
/// wrong slot is looked at once in four thousand million times.
#[derive(Debug)]
struct Place {
    tag: u32,
    slot: u32,
}

/// The index of one shard.
#[derive(Debug, Default)]
pub(crate) struct Index(HashTable<Place>);

/// The hash of a tag for `hashbrown`, which takes the bucket from the low bits and what it compares first from the seven highest.
#[inline]
pub(crate) fn spread(tag: u32) -> u64 {
    u64::from(tag) << 32 | u64::from(tag)
}

impl Index {
    /// The slot with this tag for which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let place = self.0.find(spread(tag), |place| place.tag == tag && is_it(place.slot));
        place.map(|place| place.slot)
    }

    /// Adds what is not there.
    pub(crate) fn insert(&mut self, tag: u32, slot: u32) {
        self.0
            .insert_unique(spread(tag), Place { tag, slot }, |place| spread(place.tag));
    }

    pub(crate) fn remove(&mut self, tag: u32, slot: u32) {
        if let Ok(place) = self.0.find_entry(spread(tag), |place| place.slot == slot) {
            place.remove();
        }
        if self.0.capacity() > 256 && self.0.len() < self.0.capacity() / 8 {
            self.0.shrink_to(self.0.len() * 2, |place| spread(place.tag));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn footprint(&self) -> usize {
        self.0.allocation_size()
    }
}
