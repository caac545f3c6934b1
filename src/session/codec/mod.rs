//! Bytes to data and back. No I/O, and the time is passed in.

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

/// The conversion of a session's data into the bytes that are stored.
///
/// A codec is pure: it does no I/O and asks no clock. [`DjangoSigned`] is the one that Django
/// reads. Data that goes through [`SessionData::to_json`] and [`SessionData::from_json`] keeps
/// every value as it was written:
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
    message = "`{Self}` is no session codec",
    label = "a session store needs a codec",
    note = "give the builder one before `build`: `.codec(DjangoSigned::new(secret))`"
)]
pub trait SessionCodec: Send + Sync + 'static {
    /// Returns the bytes to store for `data`, written at `now`.
    ///
    /// # Errors
    ///
    /// [`CodecError::TooLarge`] if the data is more than the codec would read back.
    fn encode(&self, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError>;

    /// Returns the data of stored bytes, whoever wrote them. Must not panic, whatever the bytes
    /// are.
    ///
    /// # Errors
    ///
    /// Fails if the bytes cannot be read or are not to be trusted.
    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError>;

    /// Returns the bytes to store under the stored key `record`. A codec that binds a payload to
    /// its record (authenticated encryption) overrides this; a codec that wraps another one
    /// forwards it.
    ///
    /// # Errors
    ///
    /// The same errors as [`encode`](Self::encode).
    fn encode_for(&self, record: &str, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        let _ = record;
        self.encode(data, now)
    }

    /// Returns the data of bytes that were found under the stored key `record`.
    ///
    /// # Errors
    ///
    /// The same errors as [`decode`](Self::decode).
    fn decode_for(&self, record: &str, payload: &[u8]) -> Result<SessionData, CodecError> {
        let _ = record;
        self.decode(payload)
    }

    /// Returns whether the codec can work as it was set up. A store asks once, when it is built.
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
