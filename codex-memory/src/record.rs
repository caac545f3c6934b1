//! A key with its value, in as few allocations as can be.

use bytes::Bytes;

/// Up to here the value is copied behind its key. Beyond, it is kept as it was handed in: copying would cost more than a second
/// allocation does.
const COPIED: usize = 4096;

/// A key and its value.
///
/// A small pair is one allocation: a reference count, the key and the value. Comparing the key loads the line that counts the reference,
/// and handing out the value allocates nothing. It also means that a small value cut out of a large buffer does not hold on to that.
#[derive(Debug)]
pub(crate) enum Record {
    /// The length of the key in two bytes, the key, the value.
    Whole(Bytes),
    Split(Box<Split>),
}

#[derive(Debug)]
pub(crate) struct Split {
    key: Box<str>,
    value: Bytes,
}

impl Record {
    pub(crate) fn new(key: &str, value: Bytes) -> Self {
        if let Some(copied) = Self::copied(key, &value) {
            return copied;
        }
        // The first clone of a `Bytes` made from a `Vec` allocates. It happens here, once, and not in a reader's hands.
        drop(value.clone());
        Self::Split(Box::new(Split { key: key.into(), value }))
    }

    /// As [`new`](Self::new), for a value that is only borrowed.
    pub(crate) fn of_text(key: &str, value: &str) -> Self {
        Self::copied(key, value.as_bytes()).unwrap_or_else(|| Self::new(key, Bytes::copy_from_slice(value.as_bytes())))
    }

    #[inline]
    fn copied(key: &str, value: &[u8]) -> Option<Self> {
        // Each on its own first, so that the sum cannot overflow.
        let fits = key.len() <= COPIED && value.len() <= COPIED && key.len() + value.len() <= COPIED;
        fits.then(|| Self::Whole(pack(key.as_bytes(), value)))
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Whole(pair) => &pair[LENGTH..value_start(pair)],
            Self::Split(split) => split.key.as_bytes(),
        }
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        match self {
            Self::Whole(pair) => &pair[value_start(pair)..],
            Self::Split(split) => &split.value,
        }
    }

    /// The value to be handed out; allocates nothing.
    #[inline]
    pub(crate) fn share_value(&self) -> Bytes {
        match self {
            Self::Whole(pair) => pair.slice(value_start(pair)..),
            Self::Split(split) => split.value.clone(),
        }
    }

    /// The key as text. It came in as a `str`, so nothing is ever replaced.
    pub(crate) fn key_text(&self) -> String {
        String::from_utf8_lossy(self.key()).into_owned()
    }

    /// How many bytes have been asked of the allocator for it.
    pub(crate) fn footprint(&self) -> usize {
        match self {
            Self::Whole(pair) if pair.len() <= LARGEST_CLASS => COUNT + class_of(pair.len()) * CLASS,
            Self::Whole(pair) => SHARED + pair.len(),
            Self::Split(split) => size_of::<Split>() + split.key.len() + SHARED + split.value.len(),
        }
    }
}

/// The bytes that tell how long the key is.
const LENGTH: usize = size_of::<u16>();

#[inline]
fn value_start(pair: &[u8]) -> usize {
    LENGTH + usize::from(u16::from_ne_bytes([pair[0], pair[1]]))
}

/// The reference count that `Bytes::from_owner` puts before its owner.
const COUNT: usize = size_of::<usize>();

/// What `Bytes` allocates to share what was a `Vec`.
const SHARED: usize = 3 * size_of::<usize>();

/// The step of the sizes that a small pair is rounded up to: malloc's own.
const CLASS: usize = 16;
const LARGEST_CLASS: usize = 64 * CLASS;

fn class_of(len: usize) -> usize {
    len.div_ceil(CLASS).max(1)
}

/// The bytes of a small pair. `Bytes::from_owner` puts its reference count into the same allocation, which it can do only for an owner
/// of a size known to the compiler: hence one type for each step.
struct Inline<const N: usize>([u8; N]);

impl<const N: usize> AsRef<[u8]> for Inline<N> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[inline]
fn inline<const N: usize>(key_len: [u8; LENGTH], key: &[u8], value: &[u8], len: usize) -> Bytes {
    let mut pair = [0; N];
    let (length, rest) = pair.split_at_mut(LENGTH);
    length.copy_from_slice(&key_len);
    let (front, back) = rest.split_at_mut(key.len());
    front.copy_from_slice(key);
    back[..value.len()].copy_from_slice(value);
    let mut bytes = Bytes::from_owner(Inline(pair));
    bytes.truncate(len);
    bytes
}

fn pack(key: &[u8], value: &[u8]) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the one caller has compared it with COPIED"
    )]
    let key_len = (key.len() as u16).to_ne_bytes();
    let len = LENGTH + key.len() + value.len();
    macro_rules! by_class {
        ($($class:literal)*) => {
            match class_of(len) {
                $($class => inline::<{ $class * CLASS }>(key_len, key, value, len),)*
                _ => joined(&[&key_len, key, value]),
            }
        };
    }
    by_class! {
         1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
    }
}

fn joined(parts: &[&[u8]]) -> Bytes {
    let bytes = Bytes::from(parts.concat());
    // Allocates what sharing needs, now and not in a reader's hands.
    drop(bytes.clone());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let text: String = "0123456789abcdef".repeat(520);
        for len in (0..1100).chain([2000, 4064, 4065, 4096, 4097, 8000]) {
            for key_len in [0, 1, 32, 300, 5000] {
                let (key, value) = (&text[..key_len], &text.as_bytes()[..len]);
                let record = Record::new(key, Bytes::copy_from_slice(value));
                assert_eq!((record.key(), record.value()), (key.as_bytes(), value));
                assert_eq!(record.share_value(), value);
                assert_eq!(record.key_text(), key);
                assert!(record.footprint() >= key_len + len);
                let text = Record::of_text(key, &text[..len]);
                assert_eq!((text.key(), text.value()), (key.as_bytes(), value));
            }
        }
    }

    #[test]
    fn a_small_value_is_copied_out_of_its_buffer_and_a_large_one_is_not() {
        let buffer = Bytes::from(vec![7; 100_000]);
        let small = Record::new("k", buffer.slice(..100));
        assert_ne!(small.value().as_ptr(), buffer.as_ptr());
        let large = Record::new("k", buffer.clone());
        assert_eq!(large.value().as_ptr(), buffer.as_ptr());
    }
}
