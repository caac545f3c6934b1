//! The form of a bool, `"1"` or `"0"`, for `#[serde(with = "coder::bool")]`.

use serde::{Deserializer, Serializer};

use super::{CoderError, text};

/// Returns the text of a bool: `1` or `0`.
pub fn dump_bool(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

/// Reads a bool.
///
/// # Errors
///
/// [`CoderError`] for any text except `1` and `0`.
pub fn load_bool(text: &str) -> Result<bool, CoderError> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(CoderError::new("expected `1` or `0`")),
    }
}

/// Writes the form.
///
/// # Errors
///
/// Fails if the serializer fails.
pub fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dump_bool(*value))
}

/// Reads the form.
///
/// # Errors
///
/// Fails on anything except `"1"` and `"0"`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    text::deserialize(deserializer, load_bool)
}
