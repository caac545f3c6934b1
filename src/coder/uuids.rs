//! The UUIDs of `uuid`.

use uuid::{Uuid, fmt::Hyphenated};

use super::{CoderError, TextForm, kind};

impl TextForm<kind::Uuid> for Uuid {
    fn to_text(&self) -> Result<String, CoderError> {
        Ok(self.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned())
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let parsed = if text.len() == Hyphenated::LENGTH {
            Self::try_parse(text).ok()
        } else {
            None
        };
        // `uuid` also reads upper case, which is not in the form.
        parsed
            .filter(|_| !text.bytes().any(|byte| byte.is_ascii_uppercase()))
            .ok_or(CoderError::new(
                "expected a UUID such as `12345678-1234-5678-1234-567812345678`",
            ))
    }
}
