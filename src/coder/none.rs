//! `""` for `None`: for `#[serde(with = "coder::none")]` on an `Option`.
//!
//! The value inside an option is written in the coder's forms too, as by [`dump`](super::dump).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CoderError, coded};

/// Returns the text of none: the empty one.
pub fn dump_none() -> &'static str {
    ""
}

/// Reads none.
///
/// # Errors
///
/// [`CoderError`] for any text but the empty one.
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
/// Fails if the value or the serializer does.
pub fn serialize<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    coded::dump(value).serialize(serializer)
}

/// Reads the form.
///
/// # Errors
///
/// For what is neither the empty text nor a `T`.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    coded::load(deserializer)
}
