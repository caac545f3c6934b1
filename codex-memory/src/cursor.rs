//! Scan cursors as text.

use codex_traits::{Cursor, Error, Result};

/// A position in a scan, written as `shard.hash`. A scan visits the keys in the order of their
/// hashes, so it returns each key once, even if other keys are added and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ScanCursor {
    pub(crate) shard: usize,
    pub(crate) hash: u32,
}

impl ScanCursor {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self> {
        if cursor.is_start() {
            return Ok(Self::default());
        }
        let numbers = cursor.as_str().split_once('.');
        let cursor = numbers.and_then(|(shard, hash)| {
            Some(Self {
                shard: shard.parse().ok()?,
                hash: hash.parse().ok()?,
            })
        });
        cursor.ok_or_else(Error::unreadable_cursor)
    }

    pub(crate) fn write(self) -> Result<Cursor> {
        Cursor::new(format!("{}.{}", self.shard, self.hash))
    }

    /// Returns the cursor after a bucket. `next` is the hash to continue with in the same shard, if
    /// any.
    pub(crate) fn after(self, next: Option<u32>) -> Self {
        match next {
            Some(hash) => Self { hash, ..self },
            None => Self {
                shard: self.shard.saturating_add(1),
                hash: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_written_and_read_back() {
        let cursor = ScanCursor { shard: 3, hash: 70 };
        assert_eq!(ScanCursor::read(&cursor.write().unwrap()).unwrap(), cursor);
        assert_eq!(ScanCursor::read(&Cursor::start()).unwrap(), ScanCursor::default());
    }

    #[test]
    fn a_made_up_cursor_is_refused() {
        for text in [
            "x",
            "1",
            "1.",
            "1.2.3",
            "-1.0",
            "1.4294967296",
            "99999999999999999999.0",
        ] {
            assert!(ScanCursor::read(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn behind_a_shard_comes_the_next() {
        let cursor = ScanCursor { shard: 3, hash: 70 };
        assert_eq!(cursor.after(Some(80)), ScanCursor { shard: 3, hash: 80 });
        assert_eq!(cursor.after(None), ScanCursor { shard: 4, hash: 0 });
    }
}
