//! Values of many lengths, and values that are nearly equal.

use bytes::Bytes;

/// Lengths at which stores and clients change the representation of a value, and their neighbours.
pub const LENGTHS: [usize; 26] = [
    0,
    1,
    2,
    64,
    65,
    128,
    255,
    256,
    257,
    1023,
    1024,
    1025,
    4095,
    4096,
    4097,
    16_383,
    16_384,
    65_535,
    65_536,
    65_537,
    1_000_000,
    (1 << 20) - 1,
    1 << 20,
    (1 << 20) + 1,
    (2 << 20) + 1,
    4 << 20,
];

/// The lengths for a clause that makes many calls per length.
pub const FEW_LENGTHS: [usize; 7] = [0, 1, 64, 65, 1024, 65_537, (1 << 20) - 1];

/// The lengths at which values are compared.
pub const COMPARED_LENGTHS: [usize; 9] = [1, 8, 32, 64, 65, 1025, 4096, 65_537, 1 << 20];

/// A length that stores and clients treat as large: more than 64 KiB, and no multiple of a block.
pub const LARGE: usize = 70_001;

/// Short values that a store would alter if it treated them as text.
pub const TEXTS: [&[u8]; 40] = [
    b"",
    b"\0",
    b" ",
    b"\n",
    b"\r\n",
    b"a\n",
    b"\na",
    b"a\r\n",
    b"a\r\nb",
    b" a",
    b"a ",
    b"a\0",
    b"\0a",
    b"a\0b",
    b"\"a\"",
    b"'a'",
    b"null",
    b"nil",
    b"-0",
    b"-0.0",
    b"+1",
    b"01",
    b"1.0",
    b"1e3",
    b"\xef\xbb\xbfa",
    b"\xff\xfe",
    b"\xc3",
    b"e\xcc\x81",
    b"\xc3\xa9",
    b"%00\\x00",
    b"(nil)",
    b"-1",
    b"OK",
    b"{\"a\": 1}",
    b"[1, 2]",
    b"YQ==",
    // The first bytes of compressed data: gzip, zlib, Zstandard and LZ4.
    b"\x1f\x8b\x08\x00a",
    b"x\x9ca",
    b"\x28\xb5\x2f\xfda",
    b"\x04\x22\x4d\x18a",
];

/// Returns a value of `length` letters. Values of neighbouring seeds differ in every byte.
///
/// The letters repeat after 53, a prime, so that neighbouring blocks of any usual size differ.
pub fn letters(length: usize, seed: usize) -> Bytes {
    const LETTERS: &[u8; 53] = b"aBcDeFgHiJkLmNoPqRsTuVwXyZbAdCfEhGjIlKnMpOrQtSvUxWzYq";
    repeated(LETTERS, length, seed * 7)
}

/// Returns a value of `length` bytes that is not text. The bytes repeat after 251, a prime.
pub fn bytes(length: usize, seed: usize) -> Bytes {
    let pattern: Vec<u8> = (0..251).collect();
    repeated(&pattern, length, seed * 11)
}

/// Repeats `pattern` block by block, because a clause uses many megabytes of values.
fn repeated(pattern: &[u8], length: usize, start: usize) -> Bytes {
    let mut block = pattern.to_vec();
    block.rotate_left(start % pattern.len());
    let mut value = block.repeat(length / pattern.len() + 1);
    value.truncate(length);
    value.into()
}

/// A value that differs slightly from another value.
#[derive(Debug, Clone)]
pub struct Near {
    /// The difference.
    pub how: String,
    /// The value.
    pub value: Bytes,
}

/// Returns values that differ from `value`, a result of [`letters`], in one place or in their
/// length.
pub fn near(value: &Bytes) -> impl Iterator<Item = Near> {
    /// Masks that change the case of a letter, the letter itself, or make it non-ASCII.
    const CHANGES: [(u8, &str); 3] = [(0x20, "the case"), (0x01, "the letter"), (0x80, "the highest bit")];
    let held = value.clone();
    let changed = places(value.len()).enumerate().flat_map(move |(number, place)| {
        let held = held.clone();
        let is_end = place == 0 || place + 1 == held.len();
        // Both ends and short values get every change. At other places the changes alternate.
        let all = is_end || held.len() <= 65;
        CHANGES
            .into_iter()
            .enumerate()
            .filter(move |(change, _)| all || number % CHANGES.len() == *change)
            .map(move |(_, (mask, what))| {
                let mut other = held.to_vec();
                other[place] ^= mask;
                Near {
                    how: format!("{what} of byte {place} of {} differs", held.len()),
                    value: other.into(),
                }
            })
    });
    changed.chain(swapped(value)).chain(lengths(value))
}

/// Returns values with two neighbouring bytes swapped, which keeps the sum of the bytes.
fn swapped(value: &Bytes) -> impl Iterator<Item = Near> {
    let value = value.clone();
    let pairs = [0, value.len() / 2, value.len().saturating_sub(2)];
    pairs.into_iter().filter_map(move |first| {
        let mut other = value.to_vec();
        if first + 1 >= other.len() || other[first] == other[first + 1] {
            return None;
        }
        other.swap(first, first + 1);
        Some(Near {
            how: format!("bytes {first} and {} of {} are swapped", first + 1, value.len()),
            value: other.into(),
        })
    })
}

/// Returns every place in a short value. For a long value, returns both ends and the places around
/// each power of two.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let is_picked = move |place: &usize| {
        let place = *place;
        let from_end = length - 1 - place;
        let near_a_power = |number: usize| {
            number < 2 || number.is_power_of_two() || (number + 1).is_power_of_two() || (number - 1).is_power_of_two()
        };
        length <= 65 || near_a_power(place) || from_end < 2 || place == length / 2 || place == length / 3
    };
    (0..length).filter(is_picked)
}

/// Returns values that are longer or shorter.
fn lengths(value: &Bytes) -> impl Iterator<Item = Near> {
    let shorter = [1, value.len() / 2, value.len()]
        .into_iter()
        .filter(|cut| (1..=value.len()).contains(cut))
        .map({
            let value = value.clone();
            move |cut| Near {
                how: format!("the last {cut} of {} bytes are missing", value.len()),
                value: value.slice(..value.len() - cut),
            }
        });
    let longer = [&b"a"[..], b"\0", b" ", b"\n", b"\r\n"].into_iter().flat_map({
        let value = value.clone();
        move |more| {
            let text = more.escape_ascii();
            [
                Near {
                    how: format!("\"{text}\" is added to {} bytes", value.len()),
                    value: [&value, more].concat().into(),
                },
                Near {
                    how: format!("\"{text}\" stands before {} bytes", value.len()),
                    value: [more, &value].concat().into(),
                },
            ]
        }
    });
    let first = (value.len() > 1).then(|| Near {
        how: format!("the first of {} bytes is missing", value.len()),
        value: value.slice(1..),
    });
    shorter.chain(longer).chain(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_values_are_all_different_and_none_is_the_value() {
        for length in [0, 1, 2, 65, 1025, 4096] {
            let value = letters(length, 0);
            let mut seen = std::collections::BTreeSet::from([value.clone()]);
            for near in near(&value) {
                assert!(near.value != value && !near.how.is_empty(), "{}", near.how);
                seen.insert(near.value);
            }
            assert!(seen.len() > 5, "{length}");
        }
    }

    #[test]
    fn both_ends_are_changed_in_every_way_and_so_is_the_length() {
        let value = letters(1 << 20, 3);
        let all: Vec<String> = near(&value).map(|near| near.how).collect();
        for how in [
            "the case of byte 0 of 1048576 differs",
            "the case of byte 1048575 of 1048576 differs",
            "the highest bit of byte 1048575 of 1048576 differs",
            "the last 1 of 1048576 bytes are missing",
        ] {
            assert!(all.iter().any(|known| known == how), "{how}");
        }
        assert!((60..200).contains(&all.len()), "{}", all.len());
    }

    #[test]
    fn values_of_two_seeds_differ_in_every_byte() {
        for (one, other) in [(letters(500, 1), letters(500, 2)), (bytes(500, 1), bytes(500, 2))] {
            assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        }
    }
}
