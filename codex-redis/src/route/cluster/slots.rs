//! The slot of a key, and sets of slots.
//!
//! <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model>

/// The number of slots of a cluster.
pub(crate) const SLOTS: u16 = 16384;

/// Returns the slot of a key. A hash tag that is not empty replaces the key.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        Some(&rest[..close]).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// Computes CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes
        .iter()
        .fold(0, |crc, byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

#[expect(clippy::cast_possible_truncation, reason = "an index below 256, in a constant")]
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// A set of slots, as sorted inclusive ranges with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlotSet(Vec<(u16, u16)>);

impl SlotSet {
    pub(crate) fn contains(&self, slot: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&slot))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }

    /// Returns the lowest slot that is not in the set, or `None` if the set is complete.
    pub(crate) fn first_missing(&self) -> Option<u16> {
        match self.0.first() {
            Some((0, last)) => (last + 1 < SLOTS).then(|| last + 1),
            _ => Some(0),
        }
    }

    pub(crate) fn insert(&mut self, first: u16, last: u16) {
        self.extend([(first, last)]);
    }

    /// Adds inclusive ranges. They are sorted once, because a node may report thousands.
    pub(crate) fn extend(&mut self, ranges: impl IntoIterator<Item = (u16, u16)>) {
        self.0.extend(ranges);
        self.0.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(self.0.len());
        for (first, last) in self.0.drain(..) {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        self.0 = merged;
    }

    pub(crate) fn with(&self, other: &Self) -> Self {
        let mut union = self.clone();
        union.extend(other.0.iter().copied());
        union
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut gaps = Self::default();
        let mut next = 0;
        for (first, last) in &other.0 {
            if next < *first {
                gaps.0.push((next, first - 1));
            }
            next = last + 1;
        }
        if next < SLOTS {
            gaps.0.push((next, SLOTS - 1));
        }
        self.intersection(&gaps)
    }

    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut common = Self::default();
        let (mut own, mut others) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((first, last)), Some((from, to))) = (own.peek(), others.peek()) {
            let (begin, end) = (*first.max(from), *last.min(to));
            if begin <= end {
                common.0.push((begin, end));
            }
            if last < to {
                own.next();
            } else {
                others.next();
            }
        }
        common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_slots_that_the_specification_gives() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, like) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("foo{bar", "foo{bar"),
        ] {
            assert_eq!(slot_of(key.as_bytes()), crc16(like.as_bytes()) % SLOTS, "{key}");
        }
        // The answers of redis-server 7.0.15 to CLUSTER KEYSLOT.
        assert_eq!((slot_of(b"foo"), slot_of(b"")), (12182, 0));
    }

    #[test]
    fn a_set_of_slots_is_kept_in_ranges() {
        let mut set = SlotSet::default();
        assert_eq!(set.first_missing(), Some(0));
        set.insert(10, 20);
        assert_eq!(set.first_missing(), Some(0));
        set.insert(0, 4);
        set.insert(5, 9);
        assert_eq!(set.ranges(), [(0, 20)]);
        assert_eq!(set.first_missing(), Some(21));
        let mut other = SlotSet::default();
        other.extend([(20, 20), (7, 7), (0, 0), (7, 7)]);
        assert_eq!(other.ranges(), [(0, 0), (7, 7), (20, 20)]);
        set = set.without(&other);
        assert_eq!(set.ranges(), [(1, 6), (8, 19)]);
        let mut other = SlotSet::default();
        other.insert(6, 8);
        assert_eq!(set.intersection(&other).ranges(), [(6, 6), (8, 8)]);
        assert_eq!(set.with(&other).ranges(), [(1, 19)]);
        assert_eq!(set.without(&other).ranges(), [(1, 5), (9, 19)]);
        assert_eq!(set.without(&SlotSet::default()), set);
        set.insert(0, SLOTS - 1);
        assert_eq!(set.first_missing(), None);
    }
}
