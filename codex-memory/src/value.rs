//! The bytes of a value: handing them out allocates nothing, and they take no more memory than they
//! need.

use bytes::Bytes;

/// Up to here a new value is copied into one allocation of its own. Beyond, it is kept as it was
/// handed in: copying would cost more than a second allocation does.
const COPIED: usize = 4096;

/// A value that can be shared without allocating.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) bytes: Bytes,
    /// One allocation with the reference count in it.
    pub(crate) is_packed: bool,
}

impl Value {
    /// Takes a value that may replace another. A small one that nobody else holds is copied: what
    /// it was handed in as may have room to spare, or be a part of something larger. One that is
    /// shared is kept as it is, which copies and allocates nothing.
    ///
    /// May run the `Drop` of the value's owner, so not under a lock.
    #[inline]
    pub(crate) fn of(bytes: Bytes) -> Self {
        if bytes.is_unique() {
            return Self::of_unshared(bytes);
        }
        Self {
            bytes,
            is_packed: false,
        }
    }

    fn of_unshared(bytes: Bytes) -> Self {
        if bytes.len() <= COPIED {
            return Self::packed(&bytes);
        }
        // The first clone of a `Bytes` made from a `Vec` allocates. It happens here, once, and not
        // in a reader's hands.
        drop(bytes.clone());
        Self {
            bytes,
            is_packed: false,
        }
    }

    /// As [`of`](Self::of), for a value that is only borrowed.
    pub(crate) fn packed(bytes: &[u8]) -> Self {
        Self {
            bytes: pack(bytes),
            is_packed: bytes.len() <= LARGEST_CLASS,
        }
    }

    /// The smallest that it can be, which is worth a copy where the value is small; and what is
    /// left over, to be dropped after the lock.
    #[inline]
    pub(crate) fn tight(self) -> (Self, Option<Bytes>) {
        if self.is_tight() {
            (self, None)
        } else {
            (Self::packed(&self.bytes), Some(self.bytes))
        }
    }

    fn is_tight(&self) -> bool {
        let len = self.bytes.len();
        // What nobody else holds has been copied by `of`.
        self.is_packed || len > COPIED || (len > LARGEST_CLASS && self.bytes.is_unique())
    }

    /// What it takes once it is [tight](Self::tight).
    pub(crate) fn tight_footprint(&self) -> usize {
        let len = self.bytes.len();
        footprint(len, self.is_packed || len <= LARGEST_CLASS)
    }

    /// How many bytes have been asked of the allocator for it.
    #[inline]
    pub(crate) fn footprint(&self) -> usize {
        footprint(self.bytes.len(), self.is_packed)
    }
}

/// How many bytes have been asked of the allocator for a value. One that is shared with others is
/// counted as if it were not.
#[inline]
pub(crate) fn footprint(len: usize, is_packed: bool) -> usize {
    if is_packed {
        COUNT + class_of(len) * CLASS
    } else {
        SHARED + len
    }
}

/// The reference count that `Bytes::from_owner` puts before its owner.
const COUNT: usize = size_of::<usize>();

/// What `Bytes` allocates to share what was a `Vec`.
const SHARED: usize = 3 * size_of::<usize>();

/// The step of the sizes that a small value is rounded up to: malloc's own.
const CLASS: usize = 16;
const LARGEST_CLASS: usize = 64 * CLASS;

fn class_of(len: usize) -> usize {
    len.div_ceil(CLASS).max(1)
}

/// The bytes of a small value. `Bytes::from_owner` puts its reference count into the same
/// allocation, which it can do only for an owner of a size known to the compiler: hence one type
/// for each step.
struct Inline<const N: usize>([u8; N]);

impl<const N: usize> AsRef<[u8]> for Inline<N> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[inline]
fn inline<const N: usize>(value: &[u8]) -> Bytes {
    let mut array = [0; N];
    array[..value.len()].copy_from_slice(value);
    let mut bytes = Bytes::from_owner(Inline(array));
    bytes.truncate(value.len());
    bytes
}

fn pack(value: &[u8]) -> Bytes {
    macro_rules! by_class {
        ($($class:literal)*) => {
            match class_of(value.len()) {
                $($class => inline::<{ $class * CLASS }>(value),)*
                _ => shared(value),
            }
        };
    }
    by_class! {
         1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
        33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64
    }
}

fn shared(value: &[u8]) -> Bytes {
    let bytes = Bytes::copy_from_slice(value);
    // Allocates what sharing needs, now and not in a reader's hands.
    drop(bytes.clone());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let text = "0123456789abcdef".repeat(520);
        for len in (0..1100).chain([2000, 4064, 4065, 4096, 4097, 8000]) {
            let value = &text.as_bytes()[..len];
            let handed_in = Bytes::copy_from_slice(value);
            for value_of in [Value::of(handed_in.clone()), Value::of(handed_in), Value::packed(value)] {
                assert_eq!(value_of.bytes, value);
                assert!(value_of.footprint() >= len);
                assert_eq!(value_of.tight().0.bytes, value);
            }
        }
    }

    #[test]
    fn a_value_takes_what_was_asked_of_the_allocator() {
        let footprint = |len: usize| Value::packed(&vec![7; len]).footprint();
        // In steps of 16 bytes with the count before them, which is one word.
        for (len, steps) in [(0, 1), (1, 1), (16, 1), (17, 2), (1008, 63), (1009, 64), (1024, 64)] {
            assert_eq!(footprint(len), size_of::<usize>() + steps * 16, "{len} bytes");
        }
        // Beyond, as long as it is, and three words to share it.
        for len in [1025, 4096, 4097] {
            assert_eq!(footprint(len), 3 * size_of::<usize>() + len, "{len} bytes");
        }
    }

    #[test]
    fn what_a_value_will_take_is_said_before() {
        for len in [0, 1, 16, 17, 1024, 1025, 4096, 4097, 8000] {
            let shared = Bytes::from(vec![7; len]);
            let released = Value::of(shared.clone());
            for value in [
                Value::of(shared.clone()),
                Value::of(vec![7; len].into()),
                Value::packed(&shared),
            ] {
                let said = value.tight_footprint();
                assert_eq!(value.tight().0.footprint(), said, "{len} bytes");
            }
            // Nobody else holds it any more.
            drop(shared);
            let said = released.tight_footprint();
            assert_eq!(released.tight().0.footprint(), said, "{len} bytes, released");
        }
    }

    #[test]
    fn a_value_is_not_copied_twice() {
        for len in [1, 16, 1024, 1025, 4096, 4097] {
            for value in [Value::of(vec![7; len].into()), Value::packed(&vec![7; len])] {
                let at = value.bytes.as_ptr();
                let (tight, left) = value.tight();
                assert!(left.is_none(), "{len} bytes");
                assert_eq!(tight.bytes.as_ptr(), at, "{len} bytes");
            }
        }
    }

    #[test]
    fn of_what_is_shared_only_the_small_is_copied_to_be_tight() {
        for (len, is_copied) in [
            (1, true),
            (1024, true),
            (1025, true),
            (4096, true),
            (4097, false),
            (8000, false),
        ] {
            let shared = Bytes::from(vec![7; len]);
            let (tight, left) = Value::of(shared.clone()).tight();
            assert_eq!(tight.bytes.as_ptr() != shared.as_ptr(), is_copied, "{len} bytes");
            assert_eq!(left.is_some(), is_copied, "{len} bytes");
        }
    }

    #[test]
    fn a_small_value_is_copied_out_of_its_buffer() {
        let buffer = Bytes::from(vec![7; 100_000]).slice(..100);
        let at = buffer.as_ptr();
        let value = Value::of(buffer);
        assert!(value.is_packed);
        assert_ne!(value.bytes.as_ptr(), at);
    }

    #[test]
    fn what_is_large_or_shared_is_kept_as_it_was_handed_in() {
        let shared = Bytes::from(vec![7; 100]);
        let large = Bytes::from(vec![7; 100_000]);
        for value in [shared.clone(), large, Bytes::from_static(b"7")] {
            let at = value.as_ptr();
            assert_eq!(Value::of(value).bytes.as_ptr(), at);
        }
        let (tight, left) = Value::of(shared.clone()).tight();
        assert!(tight.is_packed && left.is_some());
        assert_ne!(tight.bytes.as_ptr(), shared.as_ptr());
    }
}
