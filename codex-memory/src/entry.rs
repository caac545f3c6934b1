//! What a block holds for a key.

use bytes::Bytes;

use crate::{
    deadline::Deadline,
    key::Key,
    value::{self, Value},
};

/// A key and its value with its end: 96 bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    key: Key,
    value: Bytes,
    pub(crate) deadline: Deadline,
    /// The part of the key's hash that says in which block the entry is.
    pub(crate) tag: u32,
    /// Its place in the queues of an evicting store, and in the highest bit whether the value is
    /// packed.
    seat: u32,
}

const PACKED: u32 = 1 << 31;

impl Entry {
    pub(crate) fn new(tag: u32, key: &str, value: Value, deadline: Deadline, seat: u32) -> Self {
        Self {
            key: Key::new(key.as_bytes()),
            deadline,
            tag,
            seat: seat & !PACKED | packed(&value),
            value: value.bytes,
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    #[inline]
    pub(crate) fn value(&self) -> &Bytes {
        &self.value
    }

    pub(crate) fn into_value(self) -> Bytes {
        self.value
    }

    #[inline]
    pub(crate) fn seat(&self) -> u32 {
        self.seat & !PACKED
    }

    /// Puts the value in, and the one that was there into its place.
    #[inline]
    pub(crate) fn swap(&mut self, value: &mut Value) {
        let seat = self.seat & !PACKED | packed(value);
        value.is_packed = self.seat & PACKED != 0;
        self.seat = seat;
        std::mem::swap(&mut self.value, &mut value.bytes);
    }

    /// How many bytes have been asked of the allocator for the key and the value.
    pub(crate) fn footprint(&self) -> usize {
        self.key.footprint() + self.value_footprint()
    }

    /// How many of these for the value.
    #[inline]
    pub(crate) fn value_footprint(&self) -> usize {
        value::footprint(self.value.len(), self.seat & PACKED != 0)
    }
}

#[inline]
fn packed(value: &Value) -> u32 {
    if value.is_packed { PACKED } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_what_it_took_before() {
        let shared = Bytes::from(vec![b'v'; 100]);
        let (packed, kept) = (Value::packed(&shared), Value::of(shared.clone()));
        assert_ne!(packed.footprint(), kept.footprint());
        let footprints = [packed.footprint(), kept.footprint()];
        for (first, second, [before, after]) in [
            (Value::packed(&shared), Value::of(shared.clone()), footprints),
            (kept, packed, [footprints[1], footprints[0]]),
        ] {
            let mut entry = Entry::new(1, &"k".repeat(50), first, Deadline::NEVER, 77);
            assert_eq!(
                (entry.seat(), entry.value_footprint(), entry.footprint()),
                (77, before, 50 + before)
            );
            let mut value = second;
            entry.swap(&mut value);
            assert_eq!(
                (entry.seat(), entry.value_footprint(), value.footprint()),
                (77, after, before)
            );
            assert_eq!((entry.value(), &value.bytes), (&shared, &shared));
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_entry_has_96_bytes() {
        assert_eq!(size_of::<Entry>(), 96);
    }
}
