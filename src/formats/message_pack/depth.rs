//! A check that bytes are a single MessagePack value that can be read without deep recursion.

/// The maximum number of arrays and maps around a value, the same as for JSON.
pub(super) const MAX_DEPTH: usize = 127;

/// The reason that bytes are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The value is truncated, is followed by trailing bytes, or contains the marker that
    /// MessagePack leaves undefined.
    Malformed,
    TooDeep,
}

/// Checks that `bytes` are exactly one value, nested no deeper than [`MAX_DEPTH`]. The cost does
/// not depend on the lengths that the bytes declare.
pub(super) fn check(bytes: &[u8]) -> Result<(), Unreadable> {
    let mut rest = bytes;
    // The number of remaining values in each open array and map.
    let mut open: Vec<u64> = Vec::new();
    loop {
        if let Next::Container { children } = next(&mut rest).ok_or(Unreadable::Malformed)? {
            // An empty array or map also counts as a level, as in JSON.
            if open.len() == MAX_DEPTH {
                return Err(Unreadable::TooDeep);
            }
            if children > 0 {
                open.push(children);
                continue;
            }
        }
        while let Some(left) = open.last_mut() {
            *left -= 1;
            if *left > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            return if rest.is_empty() {
                Ok(())
            } else {
                Err(Unreadable::Malformed)
            };
        }
    }
}

enum Next {
    Leaf,
    /// An array with this many elements, or a map with this many keys and values.
    Container {
        children: u64,
    },
}

/// Reads a marker and the bytes that belong to it.
fn next(rest: &mut &[u8]) -> Option<Next> {
    let marker = take(rest, 1)?[0];
    let children = match marker {
        0x80..=0x8f => 2 * u64::from(marker & 0x0f),
        0x90..=0x9f => u64::from(marker & 0x0f),
        0xdc => number(rest, 2)?,
        0xdd => number(rest, 4)?,
        0xde => 2 * number(rest, 2)?,
        0xdf => 2 * number(rest, 4)?,
        _ => {
            let length = match marker {
                0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => 0,
                0xcc | 0xd0 => 1,
                0xcd | 0xd1 => 2,
                0xca | 0xce | 0xd2 => 4,
                0xcb | 0xcf | 0xd3 => 8,
                0xa0..=0xbf => u64::from(marker & 0x1f),
                0xc4 | 0xd9 => number(rest, 1)?,
                0xc5 | 0xda => number(rest, 2)?,
                0xc6 | 0xdb => number(rest, 4)?,
                // Extensions have an additional type byte.
                0xd4..=0xd8 => 1 + (1 << (marker - 0xd4)),
                0xc7 => 1 + number(rest, 1)?,
                0xc8 => 1 + number(rest, 2)?,
                0xc9 => 1 + number(rest, 4)?,
                0xc1 | 0x80..=0x9f | 0xdc..=0xdf => return None,
            };
            take(rest, usize::try_from(length).ok()?)?;
            return Some(Next::Leaf);
        }
    };
    Some(Next::Container { children })
}

fn number(rest: &mut &[u8], length: usize) -> Option<u64> {
    let bytes = take(rest, length)?;
    Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}
