//! Which keys a scan is about.

use std::fmt;

use crate::glob;

/// Which keys a scan or a `del_matching` is about: a glob as Redis matches it, byte by byte and case-sensitive.
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
    /// The keys that begin with exactly these bytes; nothing in `prefix` is special.
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

    /// The keys that match this glob.
    ///
    /// `*` is any run of bytes, `?` one byte, `[abc]` one of these, `[a-z]` a range, `[^a]` any other; `\` takes the next byte as
    /// it is. Redis's edge cases hold too: `[c-a]` is `[a-c]`, an unclosed class ends with the pattern, a trailing `\` is
    /// itself, and the bounds of a range are compared as signed bytes, as Redis does on x86-64.
    pub fn glob(glob: impl AsRef<[u8]>) -> Self {
        Self {
            glob: glob.as_ref().into(),
        }
    }

    /// Every key.
    pub fn all() -> Self {
        Self::glob("*")
    }

    /// The glob, as Redis takes it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.glob
    }

    /// Whether `key` matches, as Redis's own matcher says. Takes at most time in proportion to both lengths multiplied.
    pub fn matches(&self, key: impl AsRef<[u8]>) -> bool {
        glob::matches(&self.glob, key.as_ref())
    }
}

// A pattern may be made from a key.
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern(<{} bytes>)", self.glob.len())
    }
}
