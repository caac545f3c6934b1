//! The integers of `incr`.

use crate::{Error, ErrorKind};

/// The integer whose canonical decimal text this is: what Redis counts with.
///
/// Refused are the empty text, spaces, a plus sign, leading zeros, `-0`, anything with a fraction or an exponent, and what
/// does not fit 64 bits.
///
/// ```
/// use codex_traits::parse_integer;
///
/// assert_eq!(parse_integer(b"-12"), Some(-12));
/// assert_eq!(parse_integer(b"012"), None);
/// ```
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The error of `incr` on a value that is no integer.
pub fn not_an_integer() -> Error {
    Error::new(
        ErrorKind::Data,
        "incr",
        "the stored value is no decimal integer of 64 bits",
    )
}

/// The error of `incr` where the sum does not fit.
pub fn integer_overflow() -> Error {
    Error::new(ErrorKind::Data, "incr", "the sum does not fit a signed 64-bit integer")
}
