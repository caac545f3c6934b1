//! The form of bytes, lower-case hex, for `#[serde(with = "coder::bytes")]`.

use serde::{Deserializer, Serializer};

use super::{CoderError, hex, text};

/// Returns the text of bytes: lower-case hex.
pub fn dump_bytes(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// Reads bytes.
///
/// # Errors
///
/// [`CoderError`] for anything except an even number of lower-case hex digits.
pub fn load_bytes(text: &str) -> Result<Vec<u8>, CoderError> {
    hex::decode(text).ok_or(CoderError::new("expected an even number of lower-case hex digits"))
}

/// Writes the form of a `Vec<u8>`, a `Bytes`, a `Box<[u8]>` or an array.
///
/// # Errors
///
/// Fails if the serializer fails.
pub fn serialize<S: Serializer>(bytes: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes.as_ref()))
}

/// Reads the form into any type that converts from a `Vec<u8>`.
///
/// # Errors
///
/// Fails on anything except lower-case hex and, for an array, on any other length.
pub fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    text::deserialize(deserializer, |text| {
        T::try_from(load_bytes(text)?).map_err(|_| CoderError::new("expected hex of the type's length"))
    })
}
