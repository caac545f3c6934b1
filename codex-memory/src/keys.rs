//! The keys of a block, in one piece of memory.

use std::mem::take;

use crate::entry::LAST_KEY_AT;

/// A key this long or longer is kept by itself.
const LONG: u8 = u8::MAX;

/// What stands for a long key here: this length, and its number.
const STAND_IN: usize = 1 + size_of::<u32>();

/// What a key takes here.
#[inline]
pub(crate) fn footprint(len: usize) -> usize {
    if len < LONG as usize {
        1 + len
    } else {
        STAND_IN + size_of::<Box<[u8]>>() + len
    }
}

/// The bytes of some keys, each behind its length. A walk over the entries of a block finds them next to each other, and a key takes a byte
/// more than its text and no allocation.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    /// Long keys, by number. A pointer of its own, because hardly anybody has any.
    long: Option<Box<Vec<Box<[u8]>>>>,
    /// How many of the bytes are of keys that are gone.
    dead: u32,
}

impl Keys {
    /// The key at `at`.
    #[inline]
    pub(crate) fn get(&self, at: u32) -> &[u8] {
        let at = at as usize;
        match self.bytes[at] {
            LONG => self.get_long(at),
            len => &self.bytes[at + 1..][..usize::from(len)],
        }
    }

    fn number(&self, at: usize) -> usize {
        let mut number = [0; size_of::<u32>()];
        number.copy_from_slice(&self.bytes[at + 1..][..size_of::<u32>()]);
        u32::from_ne_bytes(number) as usize
    }

    #[cold]
    fn get_long(&self, at: usize) -> &[u8] {
        let number = self.number(at);
        self.long
            .as_ref()
            .and_then(|long| long.get(number))
            .map_or(&[], |key| key)
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

    /// Makes room for keys of so many bytes, and no more than that.
    fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve_exact(bytes);
    }

    /// Adds a key and says where.
    ///
    /// # Panics
    ///
    /// Where it would begin behind two gigabytes of other keys. A block has 48, of at most 255 bytes here.
    pub(crate) fn push(&mut self, key: &[u8]) -> u32 {
        match u8::try_from(key.len()) {
            Ok(len) if len < LONG => {
                let at = self.begin(1 + key.len());
                self.bytes.push(len);
                self.bytes.extend_from_slice(key);
                at
            }
            _ => self.push_long(key.into()),
        }
    }

    fn push_long(&mut self, key: Box<[u8]>) -> u32 {
        let at = self.begin(STAND_IN);
        let long = self.long.get_or_insert_default();
        let number =
            u32::try_from(long.len()).unwrap_or_else(|_| unreachable!("a block of four thousand million keys"));
        long.reserve_exact(1);
        long.push(key);
        self.bytes.push(LONG);
        self.bytes.extend(number.to_ne_bytes());
        at
    }

    /// Where the next key begins, with room for it.
    fn begin(&mut self, len: usize) -> u32 {
        if self.bytes.capacity() - self.bytes.len() < len {
            self.reserve(len.max(self.bytes.len() / 4));
        }
        let at = u32::try_from(self.bytes.len()).ok().filter(|&at| at <= LAST_KEY_AT);
        at.unwrap_or_else(|| unreachable!("two gigabytes of short keys in one block"))
    }

    /// Takes the key at `at` over from another block, which is not to look at it again.
    pub(crate) fn take_over(&mut self, from: &mut Self, at: u32) -> u32 {
        if from.bytes[at as usize] != LONG {
            return self.push(from.get(at));
        }
        let number = from.number(at as usize);
        let key = from.long.as_mut().and_then(|long| long.get_mut(number));
        self.push_long(key.map(take).unwrap_or_default())
    }

    /// Lets the key at `at` go, and says what it took.
    pub(crate) fn forget(&mut self, at: u32) -> usize {
        let key_len = self.get(at).len();
        let is_long = self.bytes[at as usize] == LONG;
        let here = if is_long { STAND_IN } else { 1 + key_len };
        self.dead += u32::try_from(here).unwrap_or(u32::MAX);
        if is_long {
            let number = self.number(at as usize);
            if let Some(key) = self.long.as_mut().and_then(|long| long.get_mut(number)) {
                *key = Box::default();
            }
        }
        footprint(key_len)
    }

    /// Whether so many keys are gone that it is worth copying the others.
    pub(crate) fn is_sparse(&self) -> bool {
        self.dead as usize > self.bytes.len() / 4
    }

    /// Room for the keys that are left here, and none of them yet.
    pub(crate) fn like(&self) -> Self {
        let mut keys = Self::default();
        keys.reserve(self.bytes.len() - self.dead as usize);
        keys
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let long = self.long.as_ref().map_or(0, |long| {
            let keys: usize = long.iter().map(|key| key.len()).sum();
            size_of::<Vec<Box<[u8]>>>() + long.capacity() * size_of::<Box<[u8]>>() + keys
        });
        self.bytes.capacity() + long
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
        let mut moved = keys.like();
        for (&at, len) in places.iter().zip(lens) {
            let key = &text.as_bytes()[..len];
            assert!(keys.get(at) == key && keys.is(at, key));
            assert!(
                lens.iter()
                    .all(|&other| other == len || !keys.is(at, &text.as_bytes()[..other]))
            );
            let at = moved.take_over(&mut keys, at);
            assert!(moved.get(at) == key && moved.is(at, key));
        }
    }

    #[test]
    fn what_is_forgotten_counts_no_more() {
        let mut keys = Keys::default();
        let places = [10, 100, 300, 20].map(|len| keys.push(&vec![b'k'; len]));
        let full = keys.footprint();
        assert_eq!(keys.forget(places[2]), footprint(300));
        assert_eq!(keys.footprint(), full - 300);
        assert!(!keys.is_sparse());
        assert_eq!(keys.forget(places[1]), 101);
        assert!(keys.is_sparse());
        assert_eq!(keys.like().footprint(), 11 + 21);
    }
}
