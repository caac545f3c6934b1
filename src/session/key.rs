//! Session keys, the secrets in the cookies.

use std::{fmt, str::FromStr};

use super::SessionError;

/// The key of a session. Anyone who knows the key can act as the user, so its `Debug` output hides
/// it. [`as_str`](Self::as_str) returns the text for the cookie.
///
/// A generated key is 32 characters of `[a-z0-9]` from the operating system's generator. Text from
/// a cookie is parsed, and reaches the store only if it could be a key: 8 to 128 characters of
/// `[A-Za-z0-9_-]`.
///
/// ```
/// use codex_kv::SessionKey;
///
/// let key: SessionKey = "0123456789abcdefghijklmnopqrstuv".parse()?;
/// assert_eq!(format!("{key:?}"), "SessionKey(..)");
/// assert!("../../etc/passwd".parse::<SessionKey>().is_err());
/// # Ok::<(), codex_kv::session::InvalidSessionKey>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionKey(Box<str>);

/// The error for text that cannot be a session key. It does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session key is 8 to 128 characters of A-Z, a-z, 0-9, `_` and `-`")]
pub struct InvalidSessionKey;

const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The first rejected byte. It is the largest multiple of 36 in a byte, so that all characters are
/// equally likely.
const BIASED_FROM: u8 = 252;

const LENGTH: usize = 32;

/// The maximum number of draws from the generator for one key. The first 64 bytes contain fewer
/// than 32 usable bytes with a probability below 10^-40, so a second draw indicates a broken
/// generator.
const DRAWS: usize = 4;

impl SessionKey {
    /// Returns the text of the key for a cookie.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a new key from the operating system's generator.
    pub(crate) fn generate() -> Result<Self, SessionError> {
        Self::from_generator(|bytes| getrandom::fill(bytes).map_err(|error| SessionError::Generator(error.to_string())))
    }

    fn from_generator(mut fill: impl FnMut(&mut [u8]) -> Result<(), SessionError>) -> Result<Self, SessionError> {
        let mut key = String::with_capacity(LENGTH);
        for _ in 0..DRAWS {
            let mut bytes = [0; 2 * LENGTH];
            fill(&mut bytes)?;
            let characters = bytes.into_iter().filter_map(character);
            key.extend(characters.take(LENGTH - key.len()));
            if key.len() == LENGTH {
                return Ok(Self(key.into()));
            }
        }
        Err(SessionError::Generator("its output is not random".to_owned()))
    }
}

fn character(byte: u8) -> Option<char> {
    (byte < BIASED_FROM).then(|| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
}

impl FromStr for SessionKey {
    type Err = InvalidSessionKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(8..=128).contains(&text.len()) || !text.bytes().all(allowed) {
            return Err(InvalidSessionKey);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<&str> for SessionKey {
    type Error = InvalidSessionKey;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl AsRef<str> for SessionKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    #[test]
    fn skey_02_no_character_is_likelier_than_another() {
        let mut counts = BTreeMap::new();
        for character in (0..=u8::MAX).filter_map(character) {
            *counts.entry(character).or_insert(0) += 1;
        }
        let expected: BTreeMap<char, i32> = ('a'..='z').chain('0'..='9').map(|character| (character, 7)).collect();
        assert_eq!(counts, expected);
    }

    #[test]
    fn skey_02_a_key_is_32_of_a_to_z_and_0_to_9() {
        let keys: Vec<_> = (0..2_000).map(|_| SessionKey::generate().unwrap()).collect();
        let mut used = HashSet::new();
        for key in &keys {
            assert_eq!(key.as_str().len(), 32);
            assert_eq!(key.as_str().parse::<SessionKey>().as_ref(), Ok(key));
            used.extend(key.as_str().chars());
        }
        assert_eq!(used.len(), 36, "all of the alphabet is used");
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 2_000, "no key comes twice");
    }

    #[test]
    fn skey_02_every_byte_of_the_generator_is_used_but_the_biased_ones() {
        let mut next = (0..=u8::MAX).rev().cycle();
        let key = SessionKey::from_generator(|bytes| {
            bytes.fill_with(|| next.next().unwrap());
            Ok(())
        });
        // 255, 254, 253 and 252 are skipped; 251 is 6 × 36 + 35.
        assert_eq!(key.unwrap().as_str(), "9876543210zyxwvutsrqponmlkjihgfe");
    }

    #[test]
    fn sverb_01_a_broken_generator_is_an_error_and_no_loop() {
        let mut calls = 0;
        let stuck = SessionKey::from_generator(|bytes| {
            calls += 1;
            bytes.fill(0xff);
            Ok(())
        });
        assert!(matches!(stuck, Err(SessionError::Generator(_))));
        assert_eq!(calls, DRAWS);

        let failing = SessionKey::from_generator(|_| Err(SessionError::Generator("no entropy".to_owned())));
        assert!(matches!(failing, Err(SessionError::Generator(_))));
    }
}
