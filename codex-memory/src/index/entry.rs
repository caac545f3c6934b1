//! One entry of a bucket.

use crate::{
    index::{
        key::Key,
        value::{Content, Value},
    },
    time::deadline::Deadline,
};

/// A key, its value and its deadline: 96 bytes.
#[derive(Debug)]
pub(crate) struct Entry {
    key: Key,
    content: Content,
    pub(crate) deadline: Deadline,
    /// The half of the key's hash that selects the bucket.
    pub(crate) hash: u32,
    /// The entry's node in the eviction queues. The highest bit is set if the value is packed.
    node: u32,
}

const PACKED: u32 = 1 << 31;

impl Entry {
    pub(crate) fn new(hash: u32, key: &str, value: Value, deadline: Deadline, node: u32) -> Self {
        Self {
            key: Key::new(key.as_bytes()),
            deadline,
            hash,
            node: node & !PACKED | packed(&value),
            content: value.content,
        }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    #[inline]
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    pub(crate) fn into_content(self) -> Content {
        self.content
    }

    #[inline]
    pub(crate) fn node(&self) -> u32 {
        self.node & !PACKED
    }

    pub(crate) fn set_node(&mut self, node: u32) {
        self.node = self.node & PACKED | node & !PACKED;
    }

    /// Swaps the entry's value with `value`.
    #[inline]
    pub(crate) fn swap(&mut self, value: &mut Value) {
        let node = self.node & !PACKED | packed(value);
        value.is_packed = self.node & PACKED != 0;
        self.node = node;
        std::mem::swap(&mut self.content, &mut value.content);
    }

    /// Returns how many bytes have been requested from the allocator for the key and the value.
    pub(crate) fn footprint(&self) -> usize {
        self.key.footprint() + self.value_footprint()
    }

    /// Returns how many bytes have been requested from the allocator for the value.
    #[inline]
    pub(crate) fn value_footprint(&self) -> usize {
        self.content.footprint(self.node & PACKED != 0)
    }
}

#[inline]
fn packed(value: &Value) -> u32 {
    if value.is_packed { PACKED } else { 0 }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_value_keeps_its_footprint_in_an_entry() {
        let shared = Bytes::from(vec![b'v'; 100]);
        let (packed, kept) = (Value::packed(&shared), Value::new(shared.clone(), false));
        assert_ne!(packed.footprint(), kept.footprint());
        let footprints = [packed.footprint(), kept.footprint()];
        for (first, second, [before, after]) in [
            (Value::packed(&shared), Value::new(shared.clone(), false), footprints),
            (kept, packed, [footprints[1], footprints[0]]),
        ] {
            let mut entry = Entry::new(1, &"k".repeat(50), first, Deadline::NEVER, 77);
            assert_eq!(
                (entry.node(), entry.value_footprint(), entry.footprint()),
                (77, before, 50 + before)
            );
            let mut value = second;
            entry.swap(&mut value);
            assert_eq!(
                (entry.node(), entry.value_footprint(), value.footprint()),
                (77, after, before)
            );
            assert!(entry.content().equals(&shared) && value.content.equals(&shared));
        }
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_entry_has_96_bytes() {
        assert_eq!(size_of::<Entry>(), 96);
    }
}
