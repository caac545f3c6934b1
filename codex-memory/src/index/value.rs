//! Stored values. Sharing a value does not allocate, and a new value takes no more memory than it
//! needs.

use bytes::Bytes;

/// A new value of up to this many bytes is copied into its own allocation. For a larger value, a
/// copy costs more than a separate reference count for the caller's buffer.
const MAX_COPIED: usize = 4096;

/// A value of up to this many bytes that nobody shares is also copied if it replaces another.
/// Keeping the caller's buffer would save the copy, but the buffer and the block that it replaces
/// differ in size, and glibc's lists of free blocks then often miss.
const MAX_COPIED_REPLACEMENT: usize = 512;

/// The bytes of a value. An integer that [`incr`](codex_traits::KvBackend::incr) wrote is kept as a
/// number, so that the next `incr` neither parses nor allocates.
#[derive(Debug)]
pub(crate) enum Content {
    Bytes(Bytes),
    Integer(i64),
}

/// A value and the form of its allocation.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) content: Content,
    /// The bytes and their reference count share one allocation.
    pub(crate) is_packed: bool,
}

impl Content {
    /// Returns a handle to the value. Allocates only for an integer.
    ///
    /// Not inlined, so that the handle is built directly in the caller's return slot. Copying it
    /// would read wider words than were just written, which stalls the processor.
    #[inline(never)]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the caller's `Option` is built where it is returned, as said above"
    )]
    pub(crate) fn share(&self) -> Option<Bytes> {
        Some(match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Integer(number) => Bytes::copy_from_slice(Decimal::new(*number).as_bytes()),
        })
    }

    /// Returns the value from the offset that `start` returns, or `None` if there is no offset or
    /// it is beyond the end. In that case the reference count stays untouched.
    #[inline]
    pub(crate) fn share_from(&self, start: impl FnOnce(&[u8]) -> Option<usize>) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => {
                let start = start(bytes).filter(|start| *start <= bytes.len())?;
                share_part(bytes, start)
            }
            Self::Integer(number) => {
                let text = Decimal::new(*number);
                let start = start(text.as_bytes())?;
                text.as_bytes().get(start..).map(Bytes::copy_from_slice)
            }
        }
    }

    pub(crate) fn equals(&self, expected: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == expected,
            Self::Integer(number) => Decimal::new(*number).as_bytes() == expected,
        }
    }

    /// Returns the value as an integer, if Redis would accept it as an integer.
    #[inline]
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Bytes(bytes) => codex_traits::parse_integer(bytes),
            Self::Integer(number) => Some(*number),
        }
    }

    #[inline]
    pub(crate) fn footprint(&self, is_packed: bool) -> usize {
        match self {
            Self::Bytes(bytes) => bytes_footprint(bytes.len(), is_packed),
            Self::Integer(_) => 0,
        }
    }
}

impl Value {
    pub(crate) const fn integer(number: i64) -> Self {
        Self {
            content: Content::Integer(number),
            is_packed: false,
        }
    }

    pub(crate) const fn new(bytes: Bytes, is_packed: bool) -> Self {
        Self {
            content: Content::Bytes(bytes),
            is_packed,
        }
    }

    /// Copies a value into the smallest allocation that holds it.
    pub(crate) fn packed(bytes: &[u8]) -> Self {
        Self {
            content: Content::Bytes(pack(bytes)),
            is_packed: bytes.len() <= LARGEST_CLASS,
        }
    }

    /// Returns the compact form of bytes that were read.
    pub(crate) fn compact_from(buffer: Vec<u8>) -> Self {
        prepare(Bytes::from(buffer)).compact()
    }

    /// Returns the value in its smallest form, for a new entry, which may never be read.
    ///
    /// May run the `Drop` of the value's owner, so it must not run under a lock.
    #[inline]
    pub(crate) fn compact(self) -> Self {
        match &self.content {
            Content::Bytes(bytes) if !self.is_packed && bytes.len() <= MAX_COPIED => Self::packed(bytes),
            _ => self,
        }
    }

    /// Returns how many bytes have been requested from the allocator for the value.
    #[inline]
    pub(crate) fn footprint(&self) -> usize {
        self.content.footprint(self.is_packed)
    }
}

/// Returns the value from `start` on, as [`Content::share`] returns the whole value. `start` must
/// be within the value.
#[inline(never)]
#[expect(clippy::unnecessary_wraps, reason = "the same as for `Content::share`")]
fn share_part(bytes: &Bytes, start: usize) -> Option<Bytes> {
    Some(bytes.slice(start..))
}

/// Returns how many bytes have been requested from the allocator for a value of `len` bytes. For a
/// value that is not packed, includes the reference count that `Bytes` allocates when the value is
/// first shared. A value that callers also hold counts in full.
#[inline]
fn bytes_footprint(len: usize, is_packed: bool) -> usize {
    if is_packed {
        COUNT + class_of(len) * CLASS
    } else {
        SHARED + len
    }
}

/// Returns a value that replaces another. A shared buffer is kept. Otherwise, a value of up to
/// [`MAX_COPIED_REPLACEMENT`] bytes is copied, and the buffer of a larger value is kept unless it
/// is larger than the value. Such a buffer is shrunk, or freed after the value was copied if the
/// value has at most [`MAX_COPIED`] bytes.
///
/// May run the `Drop` of the value's owner, so it must not run under a lock.
#[inline]
pub(crate) fn prepare(bytes: Bytes) -> Value {
    if !bytes.is_unique() {
        Value::new(bytes, false)
    } else if bytes.len() <= MAX_COPIED_REPLACEMENT {
        Value::packed(&bytes)
    } else {
        fitted(bytes)
    }
}

/// Returns a value whose buffer is as long as the value. The buffer must not be shared.
///
/// Not inlined, so that the value is built directly in the caller's return slot. Moving it right
/// after it was written stalls the processor.
#[inline(never)]
fn fitted(bytes: Bytes) -> Value {
    // Only a `Vec` reveals the capacity of the buffer. Neither conversion allocates if the buffer
    // is exactly as long as the value.
    let buffer = Vec::from(bytes);
    if buffer.len() > MAX_COPIED {
        // Shrinks a larger buffer, whose unused part would not be accounted for.
        let value = Value::new(Bytes::from(buffer.into_boxed_slice()), false);
        // The first clone of a `Bytes` made from a `Vec` allocates. Do that here, and not in a
        // reader's call.
        drop(value.content.share());
        value
    } else if buffer.capacity() == buffer.len() {
        Value::new(Bytes::from(buffer.into_boxed_slice()), false)
    } else {
        Value::packed(&buffer)
    }
}

/// Returns the footprint of the [compact](Value::compact) form of a value of `len` bytes.
pub(crate) fn compact_footprint(len: usize) -> usize {
    if len <= LARGEST_CLASS {
        bytes_footprint(len, true)
    } else {
        SHARED.saturating_add(len)
    }
}

/// An integer as decimal text, formatted without an allocation.
pub(crate) struct Decimal {
    text: [u8; Self::LONGEST],
    start: usize,
}

impl Decimal {
    /// The length of `i64::MIN`.
    const LONGEST: usize = 20;

    pub(crate) fn new(number: i64) -> Self {
        let mut text = [0; Self::LONGEST];
        let mut start = Self::LONGEST;
        let mut rest = number.unsigned_abs();
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10).to_le_bytes()[0];
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            text[start] = b'-';
        }
        Self { text, start }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }
}

/// The reference count that `Bytes::from_owner` puts before its owner.
const COUNT: usize = size_of::<usize>();

/// The allocation that `Bytes` needs to share a former `Vec`.
const SHARED: usize = 3 * size_of::<usize>();

/// The granularity of malloc, to which the size of a small value is rounded up.
const CLASS: usize = 16;
const LARGEST_CLASS: usize = 64 * CLASS;

fn class_of(len: usize) -> usize {
    len.div_ceil(CLASS).max(1)
}

/// The bytes of a small value. `Bytes::from_owner` puts its reference count into the same
/// allocation. The compiler must know the size of the owner, so each size class has its own type.
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
    // Allocates the reference count now and not in a reader's call.
    drop(bytes.clone());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(value: &Value) -> Bytes {
        value.content.share().unwrap()
    }

    #[test]
    fn every_length_comes_back() {
        let text = "0123456789abcdef".repeat(520);
        for len in (0..1100).chain([2000, 4064, 4065, 4096, 4097, 8000]) {
            let expected = &text.as_bytes()[..len];
            let handed_in = Bytes::copy_from_slice(expected);
            for value in [prepare(handed_in.clone()), prepare(handed_in), Value::packed(expected)] {
                assert_eq!(bytes(&value), expected);
                assert!(value.footprint() >= len);
                assert_eq!(bytes(&value.compact()), expected);
            }
        }
    }

    #[test]
    fn an_integer_reads_as_its_text_and_takes_no_memory() {
        for number in [0, 7, -7, 10, 1_234_567_890, i64::MAX, i64::MIN] {
            let value = Value::integer(number);
            let text = number.to_string();
            assert_eq!(bytes(&value), text);
            assert!(value.content.equals(text.as_bytes()) && !value.content.equals(b""));
            assert_eq!(value.content.integer(), Some(number));
            assert_eq!(value.footprint(), 0);
        }
    }

    #[test]
    fn a_value_takes_what_was_requested_from_the_allocator() {
        let footprint = |len: usize| Value::packed(&vec![7; len]).footprint();
        // Steps of 16 bytes after the reference count, which is one word.
        for (len, steps) in [(0, 1), (1, 1), (16, 1), (17, 2), (1008, 63), (1009, 64), (1024, 64)] {
            assert_eq!(footprint(len), size_of::<usize>() + steps * 16, "{len} bytes");
        }
        // A larger value takes its own length and three words for sharing.
        for len in [1025, 4096, 4097] {
            assert_eq!(footprint(len), 3 * size_of::<usize>() + len, "{len} bytes");
        }
    }

    #[test]
    fn the_footprint_of_the_compact_form_is_known_before() {
        for len in [0, 1, 16, 17, 1024, 1025, 4096, 4097, 8000] {
            let shared = Bytes::from(vec![7; len]);
            for value in [
                prepare(shared.clone()),
                prepare(vec![7; len].into()),
                Value::packed(&shared),
            ] {
                assert_eq!(value.compact().footprint(), compact_footprint(len), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_packed_value_is_not_copied_again() {
        for len in [1, 16, 1024] {
            let value = Value::packed(&vec![7; len]);
            let at = bytes(&value).as_ptr();
            assert_eq!(bytes(&value.compact()).as_ptr(), at, "{len} bytes");
        }
    }

    #[test]
    fn only_a_small_value_is_copied_to_be_compact() {
        for (len, is_copied) in [
            (1, true),
            (1024, true),
            (1025, true),
            (4096, true),
            (4097, false),
            (8000, false),
        ] {
            let shared = Bytes::from(vec![7; len]);
            let compact = prepare(shared.clone()).compact();
            assert_eq!(bytes(&compact).as_ptr() != shared.as_ptr(), is_copied, "{len} bytes");
        }
    }

    #[test]
    fn a_value_is_copied_out_of_a_larger_buffer() {
        let mut roomy = Vec::with_capacity(100_000);
        roomy.extend_from_slice(&[7; 100]);
        let slice = Bytes::from(vec![7; 100_000]).slice(99_900..);
        for buffer in [Bytes::from(roomy), slice] {
            let value = prepare(buffer);
            assert!(value.is_packed && bytes(&value) == [7; 100][..]);
        }
    }

    #[test]
    fn a_large_value_does_not_keep_a_larger_buffer() {
        let mut roomy = Vec::with_capacity(1 << 20);
        roomy.extend_from_slice(&[7; 5000]);
        let (start, end) = (vec![7; 1 << 20], vec![7; 1 << 20]);
        let buffers = [
            Bytes::from(roomy),
            Bytes::from(start).slice(..5000),
            Bytes::from(end).slice((1 << 20) - 5000..),
        ];
        for buffer in buffers {
            let value = prepare(buffer);
            assert!(!value.is_packed);
            let Content::Bytes(bytes) = value.content else { panic!() };
            assert_eq!(Vec::from(bytes).capacity(), 5000);
        }
    }

    #[test]
    fn a_tight_buffer_is_kept_unless_it_is_small_and_not_shared() {
        let shared = Bytes::from(vec![7; 100]);
        let unshared = |len| Bytes::from(vec![7; len]);
        for (value, is_kept) in [
            (shared.clone(), true),
            (Bytes::from_static(b"7"), true),
            (unshared(512), false),
            (unshared(513), true),
            (unshared(100_000), true),
        ] {
            let at = value.as_ptr();
            let value = prepare(value);
            assert_eq!(bytes(&value).as_ptr() == at, is_kept);
            assert_eq!(value.is_packed, !is_kept);
        }
    }
}
