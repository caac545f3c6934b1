//! Walking over keys, page by page.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind, Pattern, Result};

/// Where a scan stands. Opaque: only the backend that made it can read it, and only for the same store.
///
/// It can be written down ([`Display`](fmt::Display)), read back ([`FromStr`]) and resumed, in another process too.
/// One that was made up is refused by the backend or ends the scan; it never panics or loops.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Cursor(String);

impl Cursor {
    /// The longest text of a cursor, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Where every scan begins.
    pub fn start() -> Self {
        Self::default()
    }

    /// A backend's own position: printable ASCII without spaces, not empty, at most [`MAX_LEN`](Self::MAX_LEN) bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for any other text.
    pub fn new(position: impl Into<String>) -> Result<Self> {
        let position = position.into();
        if position.is_empty() {
            return Err(invalid("a position is not empty"));
        }
        Self::checked(position)
    }

    fn checked(text: String) -> Result<Self> {
        if text.len() > Self::MAX_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(
                "a cursor is at most 1,024 printable ASCII characters without spaces",
            ));
        }
        Ok(Self(text))
    }

    /// Whether this is the beginning.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    /// The backend's own position; empty at the beginning.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The error of a backend that cannot read this cursor.
    pub fn unreadable() -> Error {
        invalid("this is no cursor that this store has given out")
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "scan", message)
}

/// Any text that could be a cursor is read; the backend has the last word. The empty text is the beginning.
impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::checked(text.to_owned())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// A sorted store's position may be a key.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_start() { "Cursor(start)" } else { "Cursor(..)" })
    }
}

/// One page's worth of work for [`scan`](crate::KvBackend::scan).
#[derive(Debug, Clone)]
#[must_use]
pub struct ScanRequest<'a> {
    /// Where to go on.
    pub cursor: Cursor,
    /// Which keys to return.
    pub pattern: &'a Pattern,
    /// About how many keys to look at for this page. A hint: a page can hold more, fewer or none. Zero is refused.
    pub count_hint: usize,
}

impl<'a> ScanRequest<'a> {
    /// The hint that [`new`](Self::new) gives: enough for throughput, short enough for others to be served in between.
    pub const DEFAULT_COUNT_HINT: usize = 1000;

    /// From the beginning.
    pub fn new(pattern: &'a Pattern) -> Self {
        Self {
            cursor: Cursor::start(),
            pattern,
            count_hint: Self::DEFAULT_COUNT_HINT,
        }
    }

    /// Go on from `cursor`.
    pub fn with_cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self
    }

    /// Look at about this many keys.
    pub fn with_count_hint(mut self, count_hint: usize) -> Self {
        self.count_hint = count_hint;
        self
    }

    /// The hint, for a backend that is about to use it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] where it is zero.
    pub fn checked_count_hint(&self) -> Result<usize> {
        if self.count_hint == 0 {
            return Err(invalid("the count hint must be at least 1"));
        }
        Ok(self.count_hint)
    }
}

/// What one [`scan`](crate::KvBackend::scan) found.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ScanPage {
    /// The keys that matched. A key can come again on a later page.
    pub keys: Vec<String>,
    /// Where to go on; `None` ends the scan, and nothing else does: an empty page with a cursor is not the end.
    pub next: Option<Cursor>,
}

// Keys can be session ids.
impl fmt::Debug for ScanPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanPage")
            .field("keys", &format_args!("<{}>", self.keys.len()))
            .field("next", &self.next)
            .finish()
    }
}
