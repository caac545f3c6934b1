//! The cursor's text: which hash of which shard comes next.

use codex_traits::{Cursor, Error, Result};

/// Written as `shard.hash`. A walk goes by the hashes of the keys, in their order, so that it
/// passes each key once whatever comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) shard: usize,
    pub(crate) hash: u32,
}

impl Position {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self> {
        if cursor.is_start() {
            return Ok(Self::default());
        }
        let numbers = cursor.as_str().split_once('.');
        let position = numbers.and_then(|(shard, hash)| {
            Some(Self {
                shard: shard.parse().ok()?,
                hash: hash.parse().ok()?,
            })
        });
        position.ok_or_else(Error::unreadable_cursor)
    }

    pub(crate) fn write(self) -> Result<Cursor> {
        Cursor::new(format!("{}.{}", self.shard, self.hash))
    }

    /// The position behind what was just looked at, `next` being the hash to go on with in the same
    /// shard.
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
        let position = Position { shard: 3, hash: 70 };
        assert_eq!(Position::read(&position.write().unwrap()).unwrap(), position);
        assert_eq!(Position::read(&Cursor::start()).unwrap(), Position::default());
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
            assert!(Position::read(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn behind_a_shard_comes_the_next() {
        let position = Position { shard: 3, hash: 70 };
        assert_eq!(position.after(Some(80)), Position { shard: 3, hash: 80 });
        assert_eq!(position.after(None), Position { shard: 4, hash: 0 });
    }
}
