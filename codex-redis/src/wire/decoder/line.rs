//! Lines: the header of each item, or a complete short item.

use redis::Value;

use super::{
    DecodeError::{self, Malformed},
    Parsed,
};

/// The longest line, in bytes. Only errors come near this length.
pub(super) const LONGEST_LINE: usize = 64 << 10;

/// Returns the first line, without its end, and the bytes after it.
pub(super) fn line(bytes: &[u8]) -> Parsed<(&[u8], &[u8])> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = bytes[..end].strip_suffix(b"\r").ok_or(Malformed)?;
            Ok(Some((line, &bytes[end + 1..])))
        }
        None if bytes.len() > LONGEST_LINE => Err(Malformed),
        None => Ok(None),
    }
}

pub(super) fn end_of_line(bytes: &mut &[u8]) -> Result<(), DecodeError> {
    *bytes = bytes.strip_prefix(b"\r\n").ok_or(Malformed)?;
    Ok(())
}

/// Returns a simple string. The status of a user's script may be any bytes, and must not end the
/// connection that others share.
pub(super) fn string(text: &[u8]) -> Value {
    match String::from_utf8(text.to_vec()) {
        Ok(text) => Value::SimpleString(text),
        Err(error) => Value::BulkString(error.into_bytes()),
    }
}

pub(super) fn integer(text: &[u8]) -> Result<i64, DecodeError> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() {
        return Err(Malformed);
    }
    // Read as a negative number, because the least `i64` has no positive counterpart.
    let mut number = 0_i64;
    for digit in digits {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return Err(Malformed);
        }
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_sub(i64::from(value)))
            .ok_or(Malformed)?;
    }
    if digits.len() == text.len() {
        number.checked_neg().ok_or(Malformed)
    } else {
        Ok(number)
    }
}

/// Returns whether this is the text of a double (`,`) or of a big number (`(`).
pub(super) fn is_number(kind: u8, text: &[u8]) -> bool {
    if kind == b',' {
        std::str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
    } else {
        let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    }
}

/// Parses a length or a count. Returns `None` for -1, which stands for nil.
pub(super) fn length(text: &[u8]) -> Parsed<usize> {
    match integer(text)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Malformed),
    }
}

/// Parses an error reply. Only the redis crate can construct its errors, so it parses the line.
pub(super) fn error(line: &[u8]) -> Result<Value, DecodeError> {
    let mut line = String::from_utf8_lossy(line).into_owned();
    line.push_str("\r\n");
    match redis::parse_redis_value(line.as_bytes()) {
        Ok(error @ Value::ServerError(_)) => Ok(error),
        _ => Err(Malformed),
    }
}
