//! The secret that signs payloads.

use std::fmt;

use zeroize::Zeroizing;

/// A secret key. It is never printed, and its memory is wiped when it is dropped.
///
/// Converts from text or bytes. Pass an owned `String` or `Vec`, so that no unwiped copy remains in
/// memory.
///
/// ```
/// use codex_kv::session::SecretKey;
///
/// let secret = SecretKey::from("hunter2".to_owned());
/// assert_eq!(format!("{secret:?}"), "SecretKey(..)");
/// ```
#[derive(Clone)]
pub struct SecretKey(Zeroizing<Vec<u8>>);

impl SecretKey {
    pub(in crate::session) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SecretKey {
    fn from(secret: Vec<u8>) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl From<String> for SecretKey {
    fn from(secret: String) -> Self {
        secret.into_bytes().into()
    }
}

impl From<&[u8]> for SecretKey {
    fn from(secret: &[u8]) -> Self {
        secret.to_vec().into()
    }
}

impl From<&str> for SecretKey {
    fn from(secret: &str) -> Self {
        secret.as_bytes().into()
    }
}

impl From<&String> for SecretKey {
    fn from(secret: &String) -> Self {
        secret.as_bytes().into()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}
