//! The form of an `Option`, with `""` for `None`, for `#[serde(with = "coder::none")]`.
//!
//! The value inside the option is also written in the coder's forms, as [`dump`](super::dump)
//! writes it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CoderError, coded};

/// Returns the text of `None`: the empty text.
pub fn dump_none() -> &'static str {
    ""
}

/// Reads the text of `None`.
///
/// # Errors
///
/// [`CoderError`] for any text except the empty text.
pub fn load_none(text: &str) -> Result<(), CoderError> {
    if text.is_empty() {
        Ok(())
    } else {
        Err(CoderError::new("expected the empty text"))
    }
}

/// Writes the form.
///
/// # Errors
///
/// Fails if the value has no form or the serializer fails.
pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    coded::dump(value).serialize(serializer)
}

/// Reads the form.
///
/// # Errors
///
/// Fails on input that is neither the empty text nor a `T`.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    coded::load(deserializer)
}
