//! The cursor's text: which slot of which shard comes next.

use std::ops::Range;

use codex_traits::{Cursor, Result};

/// Written as `shard.slot.end`. `end` is the number of slots that the shard had when the scan came to it: slots that writers add behind
/// it are of no concern to this scan, so it ends while they go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    pub(crate) shard: usize,
    pub(crate) slot: usize,
    /// `None` where the scan has yet to come to the shard.
    pub(crate) end: Option<usize>,
}

impl Position {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self> {
        if cursor.is_start() {
            return Ok(Self::default());
        }
        let mut numbers = cursor.as_str().split('.').map(|number| number.parse().ok());
        let position = match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(shard)), Some(Some(slot)), Some(Some(end)), None) => Some(Self {
                shard,
                slot,
                end: Some(end),
            }),
            _ => None,
        };
        position.ok_or_else(Cursor::unreadable)
    }

    pub(crate) fn write(self) -> Result<Cursor> {
        Cursor::new(format!(
            "{}.{}.{}",
            self.shard,
            self.slot,
            self.end.unwrap_or(self.slot)
        ))
    }

    /// The slots to look at next, at most `count` of them, in a shard that has `slot_count`; and where to go on in this shard, or
    /// `None` where it is done.
    pub(crate) fn take(self, count: usize, slot_count: usize) -> (Range<usize>, Option<Self>) {
        let end = self.end.unwrap_or(slot_count);
        // A shard that was emptied meanwhile has fewer slots than the cursor says.
        let last = end.min(slot_count);
        let from = self.slot.min(last);
        let to = last.min(from.saturating_add(count));
        let rest = (to < last).then_some(Self {
            shard: self.shard,
            slot: to,
            end: Some(end),
        });
        (from..to, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_written_and_read_back() {
        let position = Position {
            shard: 3,
            slot: 70,
            end: Some(100),
        };
        assert_eq!(Position::read(&position.write().unwrap()).unwrap(), position);
        assert_eq!(Position::read(&Cursor::start()).unwrap(), Position::default());
    }

    #[test]
    fn a_made_up_cursor_is_refused() {
        for text in ["x", "1", "1.2", "1.2.3.4", "-1.0.0", "1..3", "99999999999999999999.0.0"] {
            assert!(Position::read(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn slots_that_come_later_are_left_alone() {
        let (range, rest) = Position::default().take(10, 15);
        assert_eq!(range, 0..10);
        let (range, rest) = rest.unwrap().take(10, 1_000);
        assert_eq!((range, rest), (10..15, None));
    }

    #[test]
    fn a_shard_that_shrank_is_done() {
        let position = Position {
            shard: 0,
            slot: 40,
            end: Some(50),
        };
        assert_eq!(position.take(10, 5), (5..5, None));
    }
}
