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
        // Filled in place: a finished buffer would be copied into the enum.
        let mut stored = Self::Inline(ArrayString::new());
        if let Self::Inline(inline) = &mut stored
            && inline.try_push_str(lead).is_ok()
            && inline.try_push_str(key).is_ok()
        {
            return stored;
        }
        Self::Heap([lead, key].concat())
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

/// Returns whether a key has more characters than some servers and tools accept.
#[inline]
pub(super) fn is_too_long(key: &str) -> bool {
    key.len() > MAX_CHARS && key.chars().count() > MAX_CHARS
}

/// Returns whether a part of a key contains control characters or spaces, which some servers and
/// tools would refuse.
#[inline]
pub(super) fn has_odd_characters(part: &str) -> bool {
    // Every verb runs this loop. It has no branch per byte, so that it can be vectorized.
    let is_other = |byte: u8| u8::from(byte.wrapping_sub(b'!') > b'~' - b'!');
    let others = part.bytes().fold(0, |any, byte| any | is_other(byte));
    others != 0 && part.chars().any(|c| c.is_control() || c.is_whitespace())
}
