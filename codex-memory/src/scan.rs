//! Pages of keys.

use codex_traits::{Result, ScanPage, ScanRequest};

use crate::{position::Position, shard::key_text, store::Store};

/// A page looks at no more slots than this whatever it was asked for.
const MAX_PAGE: usize = 10_000;

/// So many slots are looked at under one hold of a shard's lock, so that no writer waits long.
const SLOTS_PER_HOLD: usize = 256;

impl Store {
    pub(crate) fn scan(&self, request: &ScanRequest<'_>) -> Result<ScanPage> {
        let mut left = request.checked_count_hint()?.min(MAX_PAGE);
        let mut position = Position::read(&request.cursor)?;
        let reading = self.time.reading();
        let mut page = ScanPage::default();
        while position.shard < self.shards.len() {
            if left == 0 {
                page.next = Some(self.resumable(position).write()?);
                break;
            }
            let shard = self.read(position.shard);
            let (slots, rest) = position.take(left.min(SLOTS_PER_HOLD), shard.slot_count());
            left -= slots.len();
            let matching = shard
                .entries_in(slots, reading)
                .map(|(key, _)| key)
                .filter(|key| request.pattern.matches(key));
            page.keys.extend(matching.map(key_text));
            drop(shard);
            position = rest.unwrap_or(Position {
                shard: position.shard + 1,
                ..Position::default()
            });
        }
        Ok(page)
    }

    /// `position` with the end of its shard in it.
    fn resumable(&self, position: Position) -> Position {
        let end = position.end.unwrap_or_else(|| self.read(position.shard).slot_count());
        Position {
            end: Some(end),
            ..position
        }
    }
}
