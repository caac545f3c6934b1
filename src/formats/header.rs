//! The two-byte header of every format except JSON.

/// The magic byte. No UTF-8 text begins with it, and therefore no JSON does. MessagePack leaves it
/// undefined.
const MAGIC: u8 = 0xC1;

/// A format, identified by the byte after the magic byte.
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

    /// Returns the bytes after this header, or `None` if the value has another format.
    pub(super) fn strip(self, stored: &[u8]) -> Option<&[u8]> {
        stored.strip_prefix(&self.bytes())
    }
}
