//! Patterns that select keys.

use std::fmt;

use crate::glob;

/// A glob that selects keys, matched byte by byte and case-sensitively, as Redis matches it.
///
/// ```
/// use codex_traits::Pattern;
///
/// assert!(Pattern::prefix("a*b:").matches(b"a*b:1"));
/// assert!(!Pattern::prefix("a*b:").matches(b"axb:1"));
/// assert!(Pattern::glob("user:[0-9]?").matches(b"user:42"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pattern {
    glob: Box<[u8]>,
}

impl Pattern {
    /// Returns the pattern of the keys that begin with exactly these bytes. No byte of `prefix` is
    /// special.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        let prefix = prefix.as_ref();
        let mut glob = Vec::with_capacity(prefix.len() + 1);
        for &byte in prefix {
            if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
                glob.push(b'\\');
            }
            glob.push(byte);
        }
        glob.push(b'*');
        Self { glob: glob.into() }
    }

    /// Returns the pattern of the keys that match this glob.
    ///
    /// `*` matches any run of bytes, `?` one byte, `[abc]` one of these bytes, `[a-z]` a range and
    /// `[^a]` any other byte. `\` makes the next byte literal. Redis's edge cases hold too: `[c-a]`
    /// is `[a-c]`, an unclosed class ends with the pattern, and a trailing `\` is literal. The
    /// bounds of a range are compared as signed bytes, as Redis does on x86-64.
    pub fn glob(glob: impl AsRef<[u8]>) -> Self {
        Self {
            glob: glob.as_ref().into(),
        }
    }

    /// Returns the pattern of every key.
    pub fn all() -> Self {
        Self::glob("*")
    }

    /// Returns the glob in Redis's syntax.
    pub fn as_bytes(&self) -> &[u8] {
        &self.glob
    }

    /// Returns whether `key` matches, with the same result as Redis's matcher. The time is at most
    /// proportional to the product of the lengths of pattern and key.
    pub fn matches(&self, key: impl AsRef<[u8]>) -> bool {
        glob::matches(&self.glob, key.as_ref())
    }
}

// Hides the glob, which may contain a key.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern(<{} bytes>)", self.glob.len())
    }
}
