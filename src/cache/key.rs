//! Stored keys.

use std::{fmt, ops::Deref, sync::Arc};

use arrayvec::ArrayString;

/// A function from `(key_prefix, version, key)` to the stored key.
pub(super) type KeyFunction = Arc<dyn Fn(&str, i64, &str) -> String + Send + Sync>;

/// The length in bytes up to which a stored key needs no heap allocation. The buffer is part of
/// every verb's future, so it is no larger than typical keys.
const INLINE: usize = 128;

/// The length in characters above which a stored key causes a warning. It is memcached's limit,
/// which Django warns about too.
const MAX_CHARS: usize = 250;

/// A stored key, kept on the stack if it is short.
#[derive(Clone)]
pub(super) enum StoredKey {
    Inline(ArrayString<INLINE>),
    Heap(String),
}

impl StoredKey {
    /// Returns `{lead}{key}`, where `lead` is the result of [`lead`].
    #[inline]
    pub(super) fn join(lead: &str, key: &str) -> Self {
        let mut inline = ArrayString::new();
        if inline.try_push_str(lead).is_ok() && inline.try_push_str(key).is_ok() {
            Self::Inline(inline)
        } else {
            Self::Heap([lead, key].concat())
        }
    }
}

impl Deref for StoredKey {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        match self {
            Self::Inline(key) => key,
            Self::Heap(key) => key,
        }
    }
}

// Hides the key, which may be a secret.
impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredKey(<{} bytes>)", self.len())
    }
}

/// Returns the text before the key: `{key_prefix}:{version}:`.
pub(super) fn lead(key_prefix: &str, version: i64) -> Arc<str> {
    format!("{key_prefix}:{version}:").into()
}

/// Returns whether some servers and tools would refuse this key: it is longer than 250 characters,
/// or contains control characters or spaces.
#[inline]
pub(super) fn is_odd(key: &str) -> bool {
    if key.is_ascii() {
        // Every verb runs this loop. It has no branch per byte, so that it can be vectorized.
        let odd = |byte| u8::from(byte <= b' ' || byte == 0x7f);
        key.bytes().fold(0, |any, byte| any | odd(byte)) != 0 || key.len() > MAX_CHARS
    } else {
        key.chars().any(|c| c.is_control() || c.is_whitespace()) || key.chars().count() > MAX_CHARS
    }
}
