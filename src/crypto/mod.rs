//! Encryption at rest (feature `encryption`): keys, key rings and key rotation.
//!
//! A [`KeyRing`] holds the current key, which encrypts, and older keys, which only decrypt.
//! Sessions use it through [`session::Encrypted`](crate::session::Encrypted).

mod key;
mod key_ring;

pub use key::{EncryptionKey, InvalidEncryptionKey};
pub use key_ring::{CryptoError, KeyRing};
