//! Alterations of scans and cursors.

use std::{collections::BTreeMap, time::SystemTime};

use codex_traits::{Cursor, Error, KvBackend, Pattern, Result, ScanPage, ScanRequest};

use super::{Alteration as A, Altered, LARGE};

/// The cursors that a store has given out, by number.
#[derive(Default)]
pub(super) struct Cursors {
    given: BTreeMap<u64, (Cursor, SystemTime)>,
    number: u64,
}

/// Returns the key of the piece that a large value leaves behind.
pub(super) fn piece_of(key: &str) -> String {
    format!("{key}\0piece")
}

impl Altered {
    fn cursors(&self) -> std::sync::MutexGuard<'_, Cursors> {
        self.cursors.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn numbers_cursors(&self) -> bool {
        matches!(
            self.alteration,
            Some(A::OneScanAtATime | A::KnowsFewCursors | A::CursorIsGoodOnce | A::CursorExpires)
        )
    }

    /// Returns the store's own cursor for `cursor`.
    fn known(&self, cursor: &Cursor) -> Result<Cursor> {
        if cursor.is_start() || !self.numbers_cursors() {
            return Ok(cursor.clone());
        }
        let number: u64 = cursor.as_str().parse().map_err(|_| Error::unreadable_cursor())?;
        let mut cursors = self.cursors();
        let given = match self.alteration {
            Some(A::OneScanAtATime) => cursors.given.values().next_back().cloned(),
            Some(A::CursorIsGoodOnce) => cursors.given.remove(&number),
            _ => cursors.given.get(&number).cloned(),
        };
        let (known, at) = given.ok_or_else(Error::unreadable_cursor)?;
        let age = self.clock.system_time().duration_since(at).unwrap_or_default();
        if self.is(A::CursorExpires) && age.as_secs() > 60 {
            return Err(Error::unreadable_cursor());
        }
        Ok(known)
    }

    fn numbered(&self, next: Option<Cursor>) -> Result<Option<Cursor>> {
        let Some(next) = next.filter(|_| self.numbers_cursors()) else {
            return Ok(None);
        };
        let most = match self.alteration {
            Some(A::OneScanAtATime) => 1,
            Some(A::KnowsFewCursors) => 64,
            _ => 10_000,
        };
        let mut cursors = self.cursors();
        cursors.number += 1;
        let number = cursors.number;
        cursors.given.insert(number, (next, self.clock.system_time()));
        while cursors.given.len() > most {
            cursors.given.pop_first();
        }
        Cursor::new(number.to_string()).map(Some)
    }

    pub(super) async fn altered_page(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        if self.is(A::ScanNeedsARuntime) {
            let _ = tokio::runtime::Handle::current();
        }
        #[expect(clippy::cast_possible_truncation, reason = "that is the fault")]
        let hint = match self.alteration {
            Some(A::HintInThirtyTwoBits) => request.count_hint as u32 as usize,
            Some(A::LaterHintOfZero) if !request.cursor.is_start() => request.count_hint.max(1),
            _ => request.count_hint,
        };
        let inner = ScanRequest::new(request.pattern)
            .with_count_hint(hint)
            .with_cursor(self.known(&request.cursor)?);
        let mut page = self.inner.scan(inner).await?;
        if self.numbers_cursors() {
            page.next = self.numbered(page.next.take())?;
        }
        let mut keys = Vec::with_capacity(page.keys.len());
        for key in page.keys {
            if !self.is_hidden(request.pattern, &key).await? {
                keys.push(key);
            }
        }
        page.keys = keys;
        Ok(page)
    }

    async fn is_hidden(&self, pattern: &Pattern, key: &str) -> Result<bool> {
        Ok(match self.alteration {
            Some(A::HidesDotKeys) => key == "." || key == "..",
            Some(A::HidesPercent) => key.split('%').skip(1).any(|rest| {
                let escape = rest.as_bytes().get(..2);
                !escape.is_some_and(|escape| escape.iter().all(u8::is_ascii_hexdigit))
            }),
            Some(A::PrefixEndsAtFfff) => {
                let rest = prefix_of(pattern).and_then(|prefix| key.strip_prefix(&*prefix).map(str::to_owned));
                rest.is_some_and(|rest| rest.starts_with(|next| next > '\u{ffff}'))
            }
            Some(A::PrefixOfLastCharacter) => prefix_of(pattern).is_some_and(|prefix| prefix.ends_with('\u{10ffff}')),
            Some(A::ScanOmitsLarge) => self.inner.get(key).await?.is_some_and(|value| value.len() > LARGE),
            _ => false,
        })
    }
}

/// Returns the prefix of a pattern of [`Pattern::prefix`], unless it is empty.
fn prefix_of(pattern: &Pattern) -> Option<String> {
    let glob = std::str::from_utf8(pattern.as_bytes()).ok()?.strip_suffix('*')?;
    let is_plain = !glob.is_empty() && !glob.contains(['*', '?', '[', '\\']);
    is_plain.then(|| glob.to_owned())
}
