//! Encryption around another format.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::header::Header;
use crate::{
    CodecError, Serializer,
    crypto::{CryptoError, KeyRing},
};

/// The context that separates cache values from the session payloads that the same key ring
/// encrypts.
const CONTEXT: &[u8] = b"codex-kv cache value\0";

const NEEDS_THE_KEY: &str = "an encrypted value is bound to its stored key: a serializer around `Encrypted` must forward \
                             `serialize_for` and `deserialize_for`";

/// A format that encrypts values of another format and binds them to their stored key (feature
/// `encryption`).
///
/// An attacker with access to the store cannot read a value. A changed value, or a value moved to
/// another key, is an error on read. The attacker can still delete a value, or restore an older
/// value of the same key.
///
/// ```
/// use codex_kv::{
///     Cache, Json, Timeout,
///     cache::Encrypted,
///     crypto::{EncryptionKey, KeyRing},
///     memory::MemoryBackend,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// let key: EncryptionKey = hex.parse()?;
/// let cache = Cache::builder(MemoryBackend::new())
///     .key_prefix("shop")
///     .serializer(Encrypted::new(Json, KeyRing::new(1, key)))
///     .build()?;
/// cache.set("card", "4242", Timeout::Default).await?;
/// assert_eq!(cache.get::<String>("card").await?.as_deref(), Some("4242"));
/// # Ok(())
/// # }
/// ```
///
/// See [`KeyRing`] for key rotation. Stored keys, times to live and the lengths of values are not
/// hidden, so do not compress values that combine a secret with text that an attacker chooses.
/// Bytes stored with [`set_bytes`](crate::Cache::set_bytes) are not encrypted.
///
/// A stored value begins with the bytes `C1 65` and is 47 bytes longer than the inner value. Other
/// formats report such a value as an error, and this format reports values of other formats as
/// errors. Django cannot read these values, and [`incr`](crate::Cache::incr) does not work on them.
#[derive(Debug, Clone)]
pub struct Encrypted<S> {
    inner: S,
    keys: KeyRing,
}

impl<S: Serializer> Encrypted<S> {
    /// Creates a format that encrypts the output of `inner` with the current key of `keys`.
    pub fn new(inner: S, keys: KeyRing) -> Self {
        Self { inner, keys }
    }

    fn seal<T: ?Sized>(&self, stored_key: &str, plain: &[u8]) -> Result<Bytes, CodecError> {
        let sealed = self.keys.seal(plain, &associated(stored_key));
        let sealed = sealed.map_err(|error| CodecError::encode::<T>(error.to_string()))?;
        Ok([&Header::Encrypted.bytes()[..], &sealed].concat().into())
    }

    fn open<T: ?Sized>(&self, stored_key: &str, stored: &[u8]) -> Result<Vec<u8>, CodecError> {
        let sealed = Header::Encrypted.strip(stored).ok_or(CryptoError::NotSealed);
        let plain = sealed.and_then(|sealed| self.keys.open(sealed, &associated(stored_key)));
        plain.map_err(|error| CodecError::decode::<T>(error.to_string()))
    }
}

impl<S: Serializer> Serializer for Encrypted<S> {
    /// Fails, because the stored key is unknown.
    fn serialize<T: Serialize + ?Sized>(&self, _: &T) -> Result<Bytes, CodecError> {
        Err(CodecError::encode::<T>(NEEDS_THE_KEY))
    }

    /// Fails, because the stored key is unknown.
    fn deserialize<T: DeserializeOwned>(&self, _: &[u8]) -> Result<T, CodecError> {
        Err(CodecError::decode::<T>(NEEDS_THE_KEY))
    }

    fn serialize_for<T: Serialize + ?Sized>(&self, stored_key: &str, value: &T) -> Result<Bytes, CodecError> {
        self.seal::<T>(stored_key, &self.inner.serialize_for(stored_key, value)?)
    }

    fn deserialize_for<T: DeserializeOwned>(&self, stored_key: &str, stored: &[u8]) -> Result<T, CodecError> {
        self.inner
            .deserialize_for(stored_key, &self.open::<T>(stored_key, stored)?)
    }

    fn rebind(&self, from: &str, to: &str, stored: Bytes) -> Result<Bytes, CodecError> {
        let plain = self.open::<[u8]>(from, &stored)?;
        self.seal::<[u8]>(to, &self.inner.rebind(from, to, plain.into())?)
    }
}

fn associated(stored_key: &str) -> Vec<u8> {
    [CONTEXT, stored_key.as_bytes()].concat()
}
