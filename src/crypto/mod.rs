//! Encryption at rest (feature `encryption`): keys, key rings, and their rotation.
//!
//! A [`KeyRing`] holds the key that encrypts and the older keys that may still decrypt. Sessions
//! use it through [`session::Encrypted`](crate::session::Encrypted).

mod key;
mod key_ring;

pub use key::{EncryptionKey, InvalidEncryptionKey};
pub use key_ring::{CryptoError, KeyRing};
