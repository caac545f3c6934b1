//! Pages of keys.

use codex_traits::{Result, ScanPage, ScanRequest};

use crate::{position::Position, shard::key_text, store::Store};

/// A page looks at hardly more entries than this whatever it was asked for.
const MAX_PAGE: usize = 10_000;

impl Store {
    pub(crate) fn scan(&self, request: &ScanRequest<'_>) -> Result<ScanPage> {
        let most = request.checked_count_hint()?.min(MAX_PAGE);
        let mut position = Position::read(&request.cursor)?;
        let reading = self.time.reading();
        let mut page = ScanPage::default();
        let mut looked_at = 0;
        while position.shard < self.shards.len() {
            if looked_at >= most {
                page.next = Some(position.write()?);
                break;
            }
            // A block at a time, so that no writer waits long.
            let shard = self.read(position.shard);
            let (entries, next) = shard.page(position.hash, reading);
            for entry in entries {
                looked_at += 1;
                if request.pattern.matches(entry.key()) {
                    page.keys.push(key_text(entry.key()));
                }
            }
            drop(shard);
            position = position.after(next);
        }
        Ok(page)
    }
}
