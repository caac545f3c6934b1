//! What a block holds for a key.

use bytes::Bytes;

use crate::{
    deadline::Deadline,
    value::{self, Value},
};

/// A value with its end, and where its key is: 56 bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    value: Bytes,
    pub(crate) deadline: Deadline,
    /// The part of the key's hash that says in which block the entry is.
    pub(crate) tag: u32,
    /// Where the key begins among those of the block, and in the highest bit whether the value is packed.
    key_at: u32,
    /// Its place in the queues of an evicting store.
    pub(crate) seat: u32,
}

const PACKED: u32 = 1 << 31;

/// No key begins behind this.
pub(crate) const LAST_KEY_AT: u32 = PACKED - 1;

impl Entry {
    pub(crate) fn new(value: Value, deadline: Deadline, tag: u32, seat: u32) -> Self {
        let packed = if value.is_packed { PACKED } else { 0 };
        Self {
            value: value.bytes,
            deadline,
            tag,
            key_at: packed,
            seat,
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> &Bytes {
        &self.value
    }

    pub(crate) fn into_value(self) -> Bytes {
        self.value
    }

    #[inline]
    pub(crate) fn key_at(&self) -> u32 {
        self.key_at & LAST_KEY_AT
    }

    pub(crate) fn move_key(&mut self, key_at: u32) {
        self.key_at = self.key_at & PACKED | key_at;
    }

    /// Puts the value in, and the one that was there into its place.
    #[inline]
    pub(crate) fn swap(&mut self, value: &mut Value) {
        let packed = if value.is_packed { PACKED } else { 0 };
        value.is_packed = self.key_at & PACKED != 0;
        self.key_at = self.key_at & LAST_KEY_AT | packed;
        std::mem::swap(&mut self.value, &mut value.bytes);
    }

    /// How many bytes have been asked of the allocator for the value.
    #[inline]
    pub(crate) fn value_footprint(&self) -> usize {
        value::footprint(self.value.len(), self.key_at & PACKED != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_entry_has_56_bytes() {
        assert_eq!(size_of::<Entry>(), 56);
    }
}
