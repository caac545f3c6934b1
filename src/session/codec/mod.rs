//! Codecs: the conversion between session data and stored bytes, without I/O or clock.

mod django;
#[cfg(feature = "encryption")]
mod encrypted;
mod migrating;
mod plain;
mod python_json;
mod python_value;
mod quick_zlib;
mod secret;
mod zlib;

use std::time::SystemTime;

use bytes::Bytes;
pub use django::DjangoSigned;
#[cfg(feature = "encryption")]
pub use encrypted::Encrypted;
pub use migrating::MigratingCodec;
pub use plain::PlainJson;
pub(crate) use python_json::{from_json, to_json, value_from_json, value_to_json};
pub use secret::SecretKey;

use super::{CodecError, SessionData};

/// The conversion between a session's data and its stored bytes.
///
/// A codec is pure: it does no I/O and reads no clock. [`DjangoSigned`] is the codec that Django
/// can read. [`SessionData::to_json`] and [`SessionData::from_json`] preserve the text of every
/// value:
///
/// ```
/// use std::time::SystemTime;
///
/// use bytes::Bytes;
/// use codex_kv::session::{CodecError, SessionCodec, SessionData};
///
/// struct PlainJson;
///
/// impl SessionCodec for PlainJson {
///     fn encode(&self, data: &SessionData, _now: SystemTime) -> Result<Bytes, CodecError> {
///         Ok(data.to_json().into())
///     }
///
///     fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
///         let text = std::str::from_utf8(payload)
///             .map_err(|_| CodecError::Malformed("the payload is not UTF-8"))?;
///         SessionData::from_json(text)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a session codec",
    label = "a session store needs a codec",
    note = "set a codec before `build`: `.codec(DjangoSigned::new(secret))`"
)]
pub trait SessionCodec: Send + Sync + 'static {
    /// Returns the bytes to store for `data`, written at `now`.
    ///
    /// # Errors
    ///
    /// [`CodecError::TooLarge`] if the data exceeds the codec's size limit.
    fn encode(&self, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError>;

    /// Returns the data of stored bytes. The bytes are untrusted: no input may cause a panic.
    ///
    /// # Errors
    ///
    /// Fails if the bytes cannot be read or verified.
    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError>;

    /// Returns the bytes to store under the stored key `record`. A codec that binds a payload to
    /// its record (authenticated encryption) overrides this method. A codec that wraps another
    /// codec forwards it.
    ///
    /// # Errors
    ///
    /// The same errors as [`encode`](Self::encode).
    fn encode_for(&self, record: &str, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        let _ = record;
        self.encode(data, now)
    }

    /// Returns the data of the bytes stored under the key `record`.
    ///
    /// # Errors
    ///
    /// The same errors as [`decode`](Self::decode).
    fn decode_for(&self, record: &str, payload: &[u8]) -> Result<SessionData, CodecError> {
        let _ = record;
        self.decode(payload)
    }

    /// Checks the codec's settings. A store calls this once, when it is built.
    ///
    /// # Errors
    ///
    /// Fails if every `encode` would fail.
    fn validate(&self) -> Result<(), CodecError> {
        Ok(())
    }
}

impl<C: SessionCodec + ?Sized> SessionCodec for Box<C> {
    fn encode(&self, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        C::encode(self, data, now)
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        C::decode(self, payload)
    }

    fn encode_for(&self, record: &str, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        C::encode_for(self, record, data, now)
    }

    fn decode_for(&self, record: &str, payload: &[u8]) -> Result<SessionData, CodecError> {
        C::decode_for(self, record, payload)
    }

    fn validate(&self) -> Result<(), CodecError> {
        C::validate(self)
    }
}
