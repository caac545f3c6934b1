//! Pages of keys.

use codex_traits::{Pattern, Result, ScanPage, ScanRequest};

use crate::{
    cursor::ScanCursor,
    index::entry::Entry,
    shard::shard::{Page, key_text},
    store::Store,
    time::clock::Reading,
};

/// A page stops after about this many entries, even if the count hint is larger.
const MAX_PAGE: usize = 10_000;

/// The maximum number of matching steps under a shard's lock. They take tens of microseconds.
/// Matching a glob can take as many steps as the product of its length and the key's length.
const MAX_STEPS: usize = 100_000;

impl Store {
    pub(crate) fn scan(&self, request: &ScanRequest<'_>) -> Result<ScanPage> {
        let most = request.checked_count_hint()?.min(MAX_PAGE);
        let mut cursor = ScanCursor::read(&request.cursor)?;
        let reading = self.reading();
        let mut page = ScanPage::default();
        let mut looked_at = 0;
        while self.shards().contains(&cursor.shard) {
            if looked_at >= most {
                page.next = Some(cursor.write()?);
                break;
            }
            // The lock is held for one bucket at a time, so that no writer waits long.
            let shard = self.read(cursor.shard);
            let bucket = shard.page(cursor.hash);
            looked_at += bucket.len();
            let (found, unmatched) = matching(&bucket, reading, request.pattern);
            let next = bucket.next;
            drop(shard);
            page.keys.extend(found);
            let matched = unmatched.into_iter().filter(|key| request.pattern.matches(key));
            page.keys.extend(matched);
            cursor = cursor.after(next);
        }
        Ok(page)
    }
}

/// Returns the live keys that match, and copies of the keys that would take too long to match under
/// the lock.
fn matching(bucket: &Page<'_>, reading: Reading<'_>, pattern: &Pattern) -> (Vec<String>, Vec<String>) {
    let (mut found, mut unmatched) = (Vec::new(), Vec::new());
    let mut steps_left = MAX_STEPS;
    for key in bucket.live(reading).map(Entry::key) {
        let steps = pattern.as_bytes().len().saturating_mul(key.len());
        match steps_left.checked_sub(steps) {
            Some(rest) => {
                steps_left = rest;
                if pattern.matches(key) {
                    found.push(key_text(key));
                }
            }
            None => unmatched.push(key_text(key)),
        }
    }
    (found, unmatched)
}

#[cfg(test)]
mod tests {
    use codex_traits::SetOptions;

    use super::*;
    use crate::time::clock::{ManualClock, TimeSource};

    #[test]
    fn long_keys_are_matched_outside_the_lock() {
        let store = Store::new(TimeSource::Given(Box::new(ManualClock::new())), None);
        let long = "a".repeat(MAX_STEPS / 4);
        for key in ["aab", &long, "b"] {
            assert!(store.set(key, "v".into(), &SetOptions::new()).is_ok());
        }
        let matches = |glob: &str| {
            let pattern = Pattern::glob(glob);
            let (mut found, mut unmatched) = (Vec::new(), Vec::new());
            for shard in store.shards() {
                let shard = store.read(shard);
                let (more_found, more_unmatched) = matching(&shard.page(0), store.reading(), &pattern);
                found.extend(more_found);
                unmatched.extend(more_unmatched);
            }
            let request = ScanRequest::new(&pattern).with_count_hint(MAX_PAGE);
            (found.len(), unmatched.len(), store.scan(&request).unwrap().keys.len())
        };
        assert_eq!(matches("a*a"), (1, 0, 1));
        assert_eq!(matches("*a*a*"), (1, 1, 2));
        assert_eq!(matches("*a*b*c"), (0, 1, 0));
    }

    /// Compares with `KEYS` on redis-server 7.0.15, whose matcher gives up after 1,000 nested
    /// stars.
    #[test]
    fn a_pattern_of_more_than_1000_stars_answers_as_redis_does() {
        let key = "a".repeat(3000);
        for (glob, matches) in [
            ("*a".repeat(1000), true),
            ("*a".repeat(1001), false),
            ("a*".repeat(1001), true),
            ("a*".repeat(1002), false),
            (format!("{}a", "*".repeat(1500)), true),
        ] {
            assert_eq!(Pattern::glob(&glob).matches(&key), matches, "{} bytes", glob.len());
        }
    }
}
