//! Pages of keys.

use codex_traits::{Result, ScanPage, ScanRequest};

use crate::{entry::Entry, position::Position, shard::key_text, store::Store};

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
            let block = shard.page(position.hash);
            looked_at += block.len();
            let keys = block.live(reading).map(Entry::key);
            page.keys
                .extend(keys.filter(|key| request.pattern.matches(key)).map(key_text));
            position = position.after(block.next);
        }
        Ok(page)
    }
}
