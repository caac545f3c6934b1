//! Encryption keys of 256 bits.

use std::{fmt, str::FromStr};

use zeroize::Zeroizing;

/// The length of a key in bytes.
const LENGTH: usize = 32;

/// A secret key of 32 bytes. It is never printed, and its memory is wiped when it is dropped.
///
/// Generate a key once with a cryptographic generator and keep it outside the store that it
/// protects. The text form is 64 hexadecimal digits, as printed by `openssl rand -hex 32`:
///
/// ```
/// use codex_kv::crypto::EncryptionKey;
///
/// let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// let key: EncryptionKey = hex.parse()?;
/// assert_eq!(format!("{key:?}"), "EncryptionKey(..)");
/// # Ok::<(), codex_kv::crypto::InvalidEncryptionKey>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; LENGTH]>);

impl EncryptionKey {
    pub(super) fn as_bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }
}

/// The error for bytes or text that are not a key. It does not show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an encryption key of 32 bytes, or of 64 hexadecimal digits as text, as `openssl rand -hex 32` prints"
)]
pub struct InvalidEncryptionKey;

impl From<[u8; LENGTH]> for EncryptionKey {
    fn from(key: [u8; LENGTH]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl TryFrom<&[u8]> for EncryptionKey {
    type Error = InvalidEncryptionKey;

    fn try_from(key: &[u8]) -> Result<Self, Self::Error> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        if key.len() != LENGTH {
            return Err(InvalidEncryptionKey);
        }
        bytes.copy_from_slice(key);
        Ok(Self(bytes))
    }
}

impl FromStr for EncryptionKey {
    type Err = InvalidEncryptionKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != LENGTH || !rest.is_empty() {
            return Err(InvalidEncryptionKey);
        }
        let mut bytes = Zeroizing::new([0; LENGTH]);
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                return Err(InvalidEncryptionKey);
            };
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_or_64_hexadecimal_digits() {
        let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).unwrap());
        let digits = bytes.map(|byte| format!("{byte:02x}"));
        let text = digits.concat();
        for key in [
            text.parse::<EncryptionKey>(),
            text.to_uppercase().parse(),
            EncryptionKey::try_from(&bytes[..]),
        ] {
            assert_eq!(key.unwrap().as_bytes(), &bytes);
        }
        for text in [
            "",
            &text[1..],
            &text[2..],
            &format!("{text}0"),
            &format!("{text}00"),
            &text.replacen('0', "g", 1),
            &format!("+0{}", &text[2..]),
            &format!("é{}", &text[2..]),
        ] {
            let error = text.parse::<EncryptionKey>().expect_err(text);
            assert!(text.is_empty() || !error.to_string().contains(text));
        }
        for length in [0, 16, 31, 33, 64] {
            assert!(EncryptionKey::try_from(&[1; 64][..length]).is_err(), "{length}");
        }
    }
}
