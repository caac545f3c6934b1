//! JSON, neither signed nor encrypted.

use std::time::SystemTime;

use bytes::Bytes;

use super::{CodecError, SessionCodec};
use crate::session::SessionData;

/// The codec of bare JSON text, for use inside a codec that protects it, such as
#[cfg_attr(feature = "encryption", doc = "[`Encrypted`](super::Encrypted).")]
#[cfg_attr(not(feature = "encryption"), doc = "`Encrypted` (feature `encryption`).")]
///
/// The codec itself protects nothing: anyone who can write to the store can log in as any user.
///
/// ```
/// use std::time::SystemTime;
///
/// use codex_kv::session::{PlainJson, SessionCodec, SessionData};
///
/// let data = SessionData::from_json(r#"{"uid":42}"#)?;
/// assert_eq!(PlainJson::new().encode(&data, SystemTime::now())?, r#"{"uid":42}"#);
/// # Ok::<(), codex_kv::session::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct PlainJson {
    max_size: usize,
}

impl PlainJson {
    /// Creates a codec that refuses a session of more than 1 MiB of JSON text.
    pub fn new() -> Self {
        Self { max_size: 1 << 20 }
    }

    /// Refuses to read or write a session whose JSON text is longer than this many bytes.
    #[must_use]
    pub fn with_max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    fn within_limit(self, length: usize) -> Result<(), CodecError> {
        if length > self.max_size {
            return Err(CodecError::TooLarge { limit: self.max_size });
        }
        Ok(())
    }
}

impl Default for PlainJson {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionCodec for PlainJson {
    fn encode(&self, data: &SessionData, _now: SystemTime) -> Result<Bytes, CodecError> {
        let json = data.to_json();
        self.within_limit(json.len())?;
        Ok(json.into())
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        self.within_limit(payload.len())?;
        let text = std::str::from_utf8(payload).map_err(|_| CodecError::Malformed("the payload is not UTF-8"))?;
        SessionData::from_json(text)
    }
}
