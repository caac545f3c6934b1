//! Iteration over keys, page by page.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind, Pattern, Result};

/// The position of a scan. It is opaque: only the backend that made the cursor can read it, and
/// only for the same store.
///
/// A cursor can be written as text ([`Display`](fmt::Display)), parsed ([`FromStr`]) and resumed,
/// even in another process. A made-up cursor makes the call fail or ends the scan. It never causes
/// a panic or an endless scan.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Cursor(String);

impl Cursor {
    /// The maximum length of a cursor's text, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Returns the start position of every scan.
    pub fn start() -> Self {
        Self::default()
    }

    /// Wraps a backend's own position: printable ASCII without spaces, not empty, at most
    /// [`MAX_LEN`](Self::MAX_LEN) bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for any other text.
    pub fn new(position: impl Into<String>) -> Result<Self> {
        let position = position.into();
        if position.is_empty() {
            return Err(invalid("the position of a cursor must not be empty"));
        }
        Self::checked(position)
    }

    fn checked(text: String) -> Result<Self> {
        if text.len() > Self::MAX_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(
                "a cursor has at most 1,024 printable ASCII characters and no spaces",
            ));
        }
        Ok(Self(text))
    }

    /// Returns whether this is the start position.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the backend's own position, which is empty at the start.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidArgument, "scan", message)
}

/// Parses any text that has the form of a cursor. Only the backend can tell whether the text is one
/// of its cursors. The empty text is the start position.
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

// Hides the position, because that of a sorted store may be a key.
impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_start() { "Cursor(start)" } else { "Cursor(..)" })
    }
}

/// The request for one page of a [`scan`](crate::KvBackend::scan).
#[derive(Debug, Clone)]
#[must_use]
#[non_exhaustive]
pub struct ScanRequest<'a> {
    /// The position to continue from.
    pub cursor: Cursor,
    /// The keys to return.
    pub pattern: &'a Pattern,
    /// The approximate number of keys to examine for this page. A page can hold more, fewer or
    /// none. Zero is refused.
    pub count_hint: usize,
}

impl<'a> ScanRequest<'a> {
    /// The hint that [`new`](Self::new) sets. It balances throughput against the time that one page
    /// keeps a server busy.
    pub const DEFAULT_COUNT_HINT: usize = 1000;

    /// Returns a request for the first page.
    pub fn new(pattern: &'a Pattern) -> Self {
        Self {
            cursor: Cursor::start(),
            pattern,
            count_hint: Self::DEFAULT_COUNT_HINT,
        }
    }

    /// Sets the position to continue from.
    pub fn with_cursor(mut self, cursor: Cursor) -> Self {
        self.cursor = cursor;
        self
    }

    /// Sets the approximate number of keys to examine.
    pub fn with_count_hint(mut self, count_hint: usize) -> Self {
        self.count_hint = count_hint;
        self
    }

    /// Returns the hint, for a backend that is about to use it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if it is zero.
    pub fn checked_count_hint(&self) -> Result<usize> {
        if self.count_hint == 0 {
            return Err(invalid("the count hint must be at least 1"));
        }
        Ok(self.count_hint)
    }
}

/// One page of a [`scan`](crate::KvBackend::scan).
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanPage {
    /// The keys that matched. A key can appear again on a later page.
    pub keys: Vec<String>,
    /// The position to continue from. Only `None` ends the scan: an empty page with a cursor does
    /// not end it.
    pub next: Option<Cursor>,
}

impl ScanPage {
    /// Returns a page, with the position of the next page if there is one.
    pub fn new(keys: Vec<String>, next: Option<Cursor>) -> Self {
        Self { keys, next }
    }
}

// Hides the keys, which may be session ids.
impl fmt::Debug for ScanPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanPage")
            .field("keys", &format_args!("<{}>", self.keys.len()))
            .field("next", &self.next)
            .finish()
    }
}
