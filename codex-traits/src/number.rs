//! The integers of `incr`.

/// Parses an integer in canonical decimal form, the form that Redis uses for counters.
///
/// Returns `None` for the empty text, spaces, a plus sign, leading zeros, `-0`, a fraction, an
/// exponent, and a number that does not fit in 64 bits.
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
