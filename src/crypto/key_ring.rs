//! Encryption with the current key of a ring, and decryption with any of its keys.
//!
//! ```text
//! sealed = version key-id nonce ciphertext tag
//!          1       4      24    n          16   bytes; the id is big-endian
//! ```
//!
//! The tag also covers the version, the id and the associated data.

use std::{fmt, sync::Arc};

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{AeadInOut as _, KeyInit as _},
};

use super::EncryptionKey;

/// The first byte of every sealed value. It is a control character, with which no session codec of
/// this crate begins a plain payload, so a plain payload is never mistaken for a sealed payload.
const VERSION: u8 = 0x01;
const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
/// The length of the version and the key id.
const HEADER_LENGTH: usize = 5;

/// The current key, which encrypts, and other keys, which only decrypt. Clones share the keys.
///
/// Uses XChaCha20-Poly1305 with a random nonce of 192 bits for each value, so the number of values
/// per key is not limited in practice. Sealing adds [`OVERHEAD`](Self::OVERHEAD) bytes.
///
/// # Rotation
///
/// Each key has an id, which is stored with every value that the key seals. To replace a key
/// without an interruption, deploy three times, and complete each deployment on every process
/// before the next:
///
/// 1. `KeyRing::new(1, old).with_old(2, new)`: every process can read the new key.
/// 2. `KeyRing::new(2, new).with_old(1, old)`: the new key encrypts.
/// 3. `KeyRing::new(2, new)`, once every value that the old key encrypted has expired or has been
///    rewritten.
///
/// ```
/// use codex_kv::crypto::KeyRing;
///
/// let before = KeyRing::new(1, [1; 32]);
/// let sealed = before.seal(b"payload", b"record:42")?;
///
/// let after = KeyRing::new(2, [2; 32]).with_old(1, [1; 32]);
/// assert_eq!(after.open(&sealed, b"record:42")?, b"payload");
/// assert!(after.open(&sealed, b"record:43").is_err());
/// # Ok::<(), codex_kv::crypto::CryptoError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    current: Cipher,
    old: Vec<Cipher>,
}

/// A key with its id. The cipher holds the key itself, and wipes it when the last clone is dropped.
#[derive(Clone)]
struct Cipher {
    id: u32,
    cipher: Arc<XChaCha20Poly1305>,
}

/// The reason that a value could not be sealed or opened. It contains no part of the value, so it
/// can be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The bytes do not have the form that [`KeyRing::seal`] writes.
    #[error("the value is not encrypted, or is cut short")]
    NotSealed,
    /// The ring has no key with the value's key id.
    #[error("the value was encrypted with key {id}, which is not in the key ring; add it with `with_old`")]
    UnknownKey {
        /// The key id in the value.
        id: u32,
    },
    /// The key, the associated data or the value differs from the sealed original.
    #[error("the value was changed, moved to another record, or encrypted with another key of the same id")]
    NotAuthentic,
    /// The value is too long for the cipher.
    #[error("the value is too long to be encrypted")]
    TooLong,
    /// The operating system's random generator failed.
    #[error("no nonce could be drawn: {0}")]
    Generator(String),
}

impl KeyRing {
    /// The number of bytes that sealing adds.
    pub const OVERHEAD: usize = HEADER_LENGTH + NONCE_LENGTH + TAG_LENGTH;

    /// Creates a ring that encrypts and decrypts with this key. A key must have the same id in
    /// every process.
    pub fn new(id: u32, key: impl Into<EncryptionKey>) -> Self {
        Self {
            current: Cipher::new(id, &key.into()),
            old: Vec::new(),
        }
    }

    /// Adds a key that only decrypts: a key that was replaced, or the next current key.
    #[must_use]
    pub fn with_old(mut self, id: u32, key: impl Into<EncryptionKey>) -> Self {
        self.old.push(Cipher::new(id, &key.into()));
        self
    }

    /// Encrypts `plaintext` with the current key. The result can be opened only with the same
    /// `associated` data, which is not stored. To prevent a value from being moved to another
    /// record, pass the record's key as associated data.
    ///
    /// # Errors
    ///
    /// [`CryptoError::Generator`] if the random generator fails, and [`CryptoError::TooLong`] for
    /// more than 256 GiB.
    pub fn seal(&self, plaintext: &[u8], associated: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|error| CryptoError::Generator(error.to_string()))?;
        let header = header(self.current.id);
        let mut sealed = Vec::with_capacity(plaintext.len().saturating_add(Self::OVERHEAD));
        sealed.extend_from_slice(&header);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = self
            .current
            .cipher
            .encrypt_inout_detached(
                &XNonce::from(nonce),
                &bound(header, associated),
                (&mut sealed[HEADER_LENGTH + NONCE_LENGTH..]).into(),
            )
            .map_err(|_| CryptoError::TooLong)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Decrypts the result of [`seal`](Self::seal) with the key that sealed it. The `associated`
    /// data must be the same.
    ///
    /// # Errors
    ///
    /// [`CryptoError::NotSealed`], [`CryptoError::UnknownKey`] and [`CryptoError::NotAuthentic`].
    /// After an error, no plaintext is returned.
    pub fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (header, rest) = sealed
            .split_first_chunk::<HEADER_LENGTH>()
            .ok_or(CryptoError::NotSealed)?;
        let [version, id @ ..] = *header;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LENGTH>().ok_or(CryptoError::NotSealed)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(CryptoError::NotSealed)?;
        if version != VERSION {
            return Err(CryptoError::NotSealed);
        }
        let id = u32::from_be_bytes(id);
        let mut result = Err(CryptoError::UnknownKey { id });
        // Several keys may have the same id by mistake. All of them are tried, so that no value is
        // lost.
        for key in std::iter::once(&self.current)
            .chain(&self.old)
            .filter(|key| key.id == id)
        {
            let mut plaintext = ciphertext.to_vec();
            let opened = key.cipher.decrypt_inout_detached(
                &XNonce::from(*nonce),
                &bound(*header, associated),
                plaintext.as_mut_slice().into(),
                &(*tag).into(),
            );
            result = opened.map(|()| plaintext).map_err(|_| CryptoError::NotAuthentic);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Returns whether the bytes have the form of a sealed value. They may still have been changed.
    pub fn is_sealed(bytes: &[u8]) -> bool {
        bytes.first() == Some(&VERSION) && bytes.len() >= Self::OVERHEAD
    }
}

impl Cipher {
    fn new(id: u32, key: &EncryptionKey) -> Self {
        Self {
            id,
            cipher: Arc::new(XChaCha20Poly1305::new(key.as_bytes().into())),
        }
    }
}

fn header(id: u32) -> [u8; HEADER_LENGTH] {
    let [a, b, c, d] = id.to_be_bytes();
    [VERSION, a, b, c, d]
}

fn bound(header: [u8; HEADER_LENGTH], associated: &[u8]) -> Vec<u8> {
    [&header, associated].concat()
}

// Shows only the ids of the keys.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let old: Vec<u32> = self.old.iter().map(|key| key.id).collect();
        f.debug_struct("KeyRing")
            .field("current", &self.current.id)
            .field("old", &old)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(id: u32, key: u8) -> KeyRing {
        KeyRing::new(id, [key; 32])
    }

    #[test]
    fn what_is_sealed_is_opened_and_hides_the_plaintext() {
        let ring = ring(7, 1);
        for plaintext in [&b""[..], b"a", &[0x5a; 10_000]] {
            let sealed = ring.seal(plaintext, b"record").unwrap();
            assert_eq!(sealed.len(), plaintext.len() + KeyRing::OVERHEAD);
            assert_eq!(ring.open(&sealed, b"record").unwrap(), plaintext);
            assert!(plaintext.len() < 8 || !sealed.windows(8).any(|part| plaintext.starts_with(part)));
            assert_ne!(ring.seal(plaintext, b"record").unwrap(), sealed, "a nonce comes once");
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_refused() {
        let ring = ring(7, 1);
        let sealed = ring.seal(b"payload", b"record").unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                let expected = match at {
                    0 => CryptoError::NotSealed,
                    1..5 => CryptoError::UnknownKey {
                        id: 7 ^ 1 << ((4 - at) * 8 + bit),
                    },
                    _ => CryptoError::NotAuthentic,
                };
                assert_eq!(ring.open(&changed, b"record"), Err(expected), "byte {at}, bit {bit}");
            }
            let cut = if at < KeyRing::OVERHEAD {
                CryptoError::NotSealed
            } else {
                CryptoError::NotAuthentic
            };
            assert_eq!(ring.open(&sealed[..at], b"record"), Err(cut), "{at}");
        }
        for other in [&b""[..], b"recor", b"records"] {
            assert_eq!(ring.open(&sealed, other), Err(CryptoError::NotAuthentic));
        }
    }

    // The tag covers the header: the same key under another id does not open the value.
    #[test]
    fn the_id_cannot_be_exchanged() {
        let mut sealed = ring(1, 9).seal(b"payload", b"record").unwrap();
        sealed[4] = 2;
        let both = ring(1, 9).with_old(2, [9; 32]);
        assert_eq!(both.open(&sealed, b"record"), Err(CryptoError::NotAuthentic));
    }

    #[test]
    fn keys_rotate_in_three_steps_and_each_process_reads_its_neighbours() {
        let steps = [
            ring(1, 1),
            ring(1, 1).with_old(2, [2; 32]),
            ring(2, 2).with_old(1, [1; 32]),
            ring(2, 2),
        ];
        for neighbours in steps.windows(2) {
            for (writer, reader) in [(0, 1), (1, 0), (0, 0), (1, 1)] {
                let sealed = neighbours[writer].seal(b"payload", b"record").unwrap();
                let opened = neighbours[reader].open(&sealed, b"record");
                // The last step waits until no value of the old key is left.
                if neighbours[reader].old.is_empty() && sealed[4] == 1 && neighbours[reader].current.id == 2 {
                    assert_eq!(opened, Err(CryptoError::UnknownKey { id: 1 }));
                } else {
                    assert_eq!(opened.unwrap(), b"payload");
                }
            }
        }
    }

    #[test]
    fn two_keys_of_one_id_are_both_tried() {
        let sealed = ring(1, 1).seal(b"payload", b"").unwrap();
        let ring = ring(1, 2).with_old(1, [3; 32]).with_old(1, [1; 32]);
        assert_eq!(ring.open(&sealed, b"").unwrap(), b"payload");
    }

    #[test]
    fn debug_shows_ids_alone() {
        let debug = format!("{:?}", ring(3, 77).with_old(2, [78; 32]));
        assert_eq!(debug, "KeyRing { current: 3, old: [2], .. }");
    }

    #[test]
    fn text_is_not_sealed() {
        assert!(KeyRing::is_sealed(&ring(1, 1).seal(b"", b"").unwrap()));
        assert!(!KeyRing::is_sealed(
            b"eyJ1aWQiOjQyfQ:1r31eq:oYNz0AE6dWUlPn_rywaSa72OTkxq32q9N2P23d9gn9g"
        ));
        assert!(!KeyRing::is_sealed(b"\x01"));
        assert!(!KeyRing::is_sealed(b""));
    }
}
