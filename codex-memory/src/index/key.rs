//! The keys of entries.

/// A key of up to this many bytes is stored in the entry itself. Django's session keys fit:
/// `shop:session:` and 32 characters are 45 bytes.
pub(crate) const INLINE: usize = 46;

/// The bytes of a key, in 48 bytes. Only a long key has its own allocation.
#[derive(Debug)]
pub(crate) enum Key {
    Short { len: u8, bytes: [u8; INLINE] },
    Long(Box<[u8]>),
}

/// Returns the size of the allocation for a key of `len` bytes.
#[inline]
pub(crate) fn footprint(len: usize) -> usize {
    if len <= INLINE { 0 } else { len }
}

impl Key {
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE];
        match (u8::try_from(key.len()), bytes.get_mut(..key.len())) {
            (Ok(len), Some(place)) => {
                place.copy_from_slice(key);
                Self::Short { len, bytes }
            }
            _ => Self::Long(key.into()),
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short { len, bytes } => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }

    /// Returns the size of the allocation for the key.
    pub(crate) fn footprint(&self) -> usize {
        footprint(self.as_bytes().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_length_come_back() {
        let text = "k".repeat(70_000);
        for len in [0, 1, 32, 45, 46, 47, 255, 256, 70_000] {
            let key = Key::new(&text.as_bytes()[..len]);
            assert_eq!(key.as_bytes(), &text.as_bytes()[..len]);
            assert_eq!(key.footprint(), if len > 46 { len } else { 0 });
        }
    }
}
