//! Payloads encrypted at rest.

use std::time::SystemTime;

use bytes::Bytes;

use super::{CodecError, SessionCodec};
use crate::{
    crypto::{CryptoError, KeyRing},
    session::SessionData,
};

/// A codec that encrypts the output of another codec with the keys of a [`KeyRing`] (feature
/// `encryption`).
///
/// A payload is bound to the stored key of its record: a copy under another record is unreadable.
/// Django cannot read these sessions.
///
/// ```
/// # #[cfg(feature = "memory")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use codex_kv::{
///     SessionStore,
///     crypto::{EncryptionKey, KeyRing},
///     memory::MemoryBackend,
///     session::{Encrypted, PlainJson},
/// };
///
/// // From outside the store: 64 hexadecimal digits, as `openssl rand -hex 32` prints.
/// let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// let key: EncryptionKey = hex.parse()?;
/// let store = SessionStore::builder(MemoryBackend::new())
///     .codec(Encrypted::new(PlainJson::new(), KeyRing::new(1, key)))
///     .build()?;
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
///
/// [`KeyRing`] describes the rotation of keys. Use [`MigratingCodec`](super::MigratingCodec) to
/// change between plain and encrypted sessions.
///
/// Encryption hides the content of a session, not its length. The inner codec decides whether to
/// compress.
#[derive(Debug, Clone)]
pub struct Encrypted<C> {
    inner: C,
    keys: KeyRing,
}

impl<C> Encrypted<C> {
    /// Creates a codec that encrypts the payloads of `inner`.
    pub fn new(inner: C, keys: KeyRing) -> Self {
        Self { inner, keys }
    }
}

impl<C: SessionCodec> SessionCodec for Encrypted<C> {
    /// Returns a payload that is not bound to a record. Only [`decode`](Self::decode) can read it.
    fn encode(&self, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        self.encode_for("", data, now)
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        self.decode_for("", payload)
    }

    fn encode_for(&self, record: &str, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        let payload = self.inner.encode_for(record, data, now)?;
        let sealed = self.keys.seal(&payload, record.as_bytes()).map_err(|error| {
            CodecError::Unwritable(match error {
                CryptoError::Generator(_) => "the operating system's random generator failed",
                _ => "it is too long to be encrypted",
            })
        })?;
        Ok(sealed.into())
    }

    fn decode_for(&self, record: &str, payload: &[u8]) -> Result<SessionData, CodecError> {
        let opened = self
            .keys
            .open(payload, record.as_bytes())
            .map_err(|error| match error {
                CryptoError::NotAuthentic => CodecError::BadSignature,
                CryptoError::UnknownKey { .. } => {
                    CodecError::Malformed("it was encrypted with a key that is not in the key ring")
                }
                _ => CodecError::Malformed("it is not encrypted"),
            })?;
        self.inner.decode_for(record, &opened)
    }

    fn validate(&self) -> Result<(), CodecError> {
        self.inner.validate()
    }
}
