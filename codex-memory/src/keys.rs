//! The keys of a block of slots, one behind the other.

use std::mem::take;

use crate::entry::LAST_KEY_AT;

/// A key this long or longer has its length in eight bytes more.
const LONG: u8 = u8::MAX;

/// What a key takes here.
#[inline]
pub(crate) fn footprint(len: usize) -> usize {
    if len < LONG as usize { 1 + len } else { 9 + len }
}

/// The bytes of some keys, each behind its length. A walk over the entries of a block finds them next to each other, and a key takes a byte
/// more than its text and no allocation.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    /// How many of the bytes are of keys that are gone.
    dead: usize,
}

impl Keys {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            dead: 0,
        }
    }

    /// The key at `at`.
    #[inline]
    pub(crate) fn get(&self, at: u32) -> &[u8] {
        let at = at as usize;
        match self.bytes[at] {
            LONG => self.get_long(at),
            len => &self.bytes[at + 1..][..usize::from(len)],
        }
    }

    #[cold]
    fn get_long(&self, at: usize) -> &[u8] {
        let mut len = [0; size_of::<usize>()];
        len.copy_from_slice(&self.bytes[at + 1..][..size_of::<usize>()]);
        &self.bytes[at + 9..][..usize::from_ne_bytes(len)]
    }

    /// Whether the key at `at` is `key`.
    #[inline]
    pub(crate) fn is(&self, at: u32, key: &[u8]) -> bool {
        let at = at as usize;
        // The text is looked for where it must be, without waiting for the length that is stored.
        match u8::try_from(key.len()) {
            Ok(len) if len < LONG => {
                let stored = self.bytes.get(at..).and_then(|rest| rest.get(..=key.len()));
                stored.is_some_and(|stored| stored[1..] == *key && stored[0] == len)
            }
            _ => self.bytes[at] == LONG && self.get_long(at) == key,
        }
    }

    /// Whether another key can be put here: where it begins must fit 31 bits.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() <= LAST_KEY_AT as usize
    }

    /// Whether `key` fits without another allocation.
    pub(crate) fn fits(&self, key: &[u8]) -> bool {
        self.bytes.capacity() - self.bytes.len() >= footprint(key.len())
    }

    /// Adds a key and says where. To be asked first whether there is [room](Self::has_room).
    pub(crate) fn push(&mut self, key: &[u8]) -> u32 {
        let at = u32::try_from(self.bytes.len()).unwrap_or_else(|_| unreachable!("has_room was asked"));
        let more = footprint(key.len());
        if !self.fits(key) {
            self.bytes.reserve_exact(more.max(self.bytes.len() / 2));
        }
        match u8::try_from(key.len()) {
            Ok(len) if len < LONG => self.bytes.push(len),
            _ => {
                self.bytes.push(LONG);
                self.bytes.extend(key.len().to_ne_bytes());
                self.bytes.resize(at as usize + 9, 0);
            }
        }
        self.bytes.extend_from_slice(key);
        at
    }

    /// Notes that the key at `at` is gone.
    pub(crate) fn forget(&mut self, at: u32) {
        self.dead += footprint(self.get(at).len());
    }

    /// How many bytes there would be without those of keys that are gone.
    pub(crate) fn live(&self) -> usize {
        self.bytes.len() - self.dead
    }

    /// Whether so many keys are gone that it is worth copying the others.
    pub(crate) fn is_sparse(&self) -> bool {
        self.dead > self.bytes.len() / 4
    }

    /// Forgets all, and keeps a little memory.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 4096;
        self.dead = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            drop(take(&mut self.bytes));
        }
    }

    /// Gives back what is not used, where that is more than a few bytes.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_come_back() {
        let text = "k".repeat(70_000);
        let lens = [0, 1, 32, 253, 254, 255, 256, 65_535, 70_000];
        let mut keys = Keys::default();
        let places: Vec<u32> = lens.iter().map(|&len| keys.push(&text.as_bytes()[..len])).collect();
        for (&at, len) in places.iter().zip(lens) {
            let key = &text.as_bytes()[..len];
            assert!(keys.get(at) == key && keys.is(at, key));
            assert!(
                lens.iter()
                    .all(|&other| other == len || !keys.is(at, &text.as_bytes()[..other]))
            );
        }
        let all: usize = lens.iter().map(|&len| footprint(len)).sum();
        assert_eq!(keys.live(), all);
        keys.forget(places[2]);
        keys.forget(places[7]);
        assert_eq!(keys.live(), all - footprint(32) - footprint(65_535));
        assert!(keys.is_sparse());
        keys.clear();
        assert_eq!((keys.live(), keys.capacity()), (0, 0));
    }
}
