//! The two bytes that every format but JSON begins with.

/// Begins no UTF-8, so no JSON, and is the one byte that MessagePack never uses.
const MAGIC: u8 = 0xC1;

/// A format, by the byte that stands behind the magic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Header {
    #[cfg(feature = "messagepack")]
    MessagePack = b'm',
    #[cfg(feature = "compression")]
    Compressed = b'z',
    #[cfg(feature = "encryption")]
    Encrypted = b'e',
}

impl Header {
    pub(super) const LENGTH: usize = 2;

    pub(super) fn bytes(self) -> [u8; Self::LENGTH] {
        [MAGIC, self as u8]
    }

    /// Returns the bytes behind this header; `None` for a value of another format.
    pub(super) fn strip(self, stored: &[u8]) -> Option<&[u8]> {
        stored.strip_prefix(&self.bytes())
    }
}
