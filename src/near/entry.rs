//! The encoding of a kept answer: a header, followed by the value.

use bytes::{BufMut as _, Bytes, BytesMut};
use codex_traits::NodeId;

/// The deadline of an answer that does not expire.
pub(super) const NEVER: u64 = u64::MAX;

/// The length of the header: the kind, the node, the epoch and the deadline.
pub(super) const HEADER: usize = 1 + 2 + 8 + 8;

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key was absent.
    Absent = 0,
    Present = 1,
    /// The value was too large to be kept. The entry holds no value; it tells the next read to
    /// avoid the tracked connection.
    Large = 2,
}

/// The metadata that is stored with the value of a kept answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// The node on whose stream the answer was read.
    pub(super) node: NodeId,
    /// The epoch when the read was about to be sent.
    pub(super) epoch: u64,
    /// The end of the answer's time to live, on the near cache's clock.
    pub(super) deadline: u64,
}

impl Header {
    /// Returns the encoded entry.
    pub(super) fn with(self, value: &[u8]) -> Bytes {
        let mut stored = BytesMut::with_capacity(HEADER + value.len());
        stored.put_u8(self.kind as u8);
        stored.put_u16_le(self.node.number());
        stored.put_u64_le(self.epoch);
        stored.put_u64_le(self.deadline);
        stored.put_slice(value);
        stored.freeze()
    }

    /// Parses the header of an encoded entry.
    #[inline]
    pub(super) fn of(stored: &[u8]) -> Option<Self> {
        let (header, _) = stored.split_first_chunk::<HEADER>()?;
        let [kind, n0, n1, e0, e1, e2, e3, e4, e5, e6, e7, deadline @ ..] = *header;
        let kind = match kind {
            0 => Kind::Absent,
            1 => Kind::Present,
            2 => Kind::Large,
            _ => return None,
        };
        Some(Self {
            kind,
            node: NodeId::new(u16::from_le_bytes([n0, n1])),
            epoch: u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]),
            deadline: u64::from_le_bytes(deadline),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        for (kind, text) in [(Kind::Absent, ""), (Kind::Present, "value"), (Kind::Large, "")] {
            let header = Header {
                kind,
                node: NodeId::new(513),
                epoch: u64::MAX - 7,
                deadline: 1 << 40,
            };
            let stored = header.with(text.as_bytes());
            assert_eq!(Header::of(&stored), Some(header));
            assert_eq!(&stored[HEADER..], text.as_bytes());
        }
        assert_eq!(Header::of(b"short"), None);
    }
}
