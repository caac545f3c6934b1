//! The operations of the contract. Each operation on a key is one atomic step on one shard.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, Error, Expiry, OnMissing, Result, SetOptions, SetOutcome, Ttl};

use crate::{
    index::{
        entry::Entry,
        value::{self, Content, Value},
    },
    store::{Location, Plan, Store},
    time::{clock::Reading, deadline::Deadline},
};

impl Store {
    /// Returns the validated milliseconds of an `After`, or `None` for the other variants.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call would pass the result through memory")]
    fn span(&self, expiry: Expiry, operation: &'static str) -> Result<Option<u64>> {
        let millis = expiry.to_millis_at(operation, || self.unix_millis())?;
        Ok(millis.map(i64::unsigned_abs))
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        let place = self.locate(key);
        let reading = self.reading();
        let shard = self.read(place.shard);
        shard.live(place.hash, key, reading)?.content().share()
    }

    #[inline]
    pub(crate) fn get_from(&self, key: &str, start: impl FnOnce(&[u8]) -> Option<usize>) -> Option<Bytes> {
        let place = self.locate(key);
        let reading = self.reading();
        let shard = self.read(place.shard);
        shard.live(place.hash, key, reading)?.content().share_from(start)
    }

    #[inline]
    pub(crate) fn set(&self, key: &str, bytes: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        // The key is hashed before the clock is read, because reading the clock waits for all
        // earlier loads. The key is then loaded in parallel with the block that the previous write
        // freed.
        let place = self.locate(key);
        let span = self.span(options.expiry, "set")?;
        let mut value = value::prepare(bytes);
        if options.condition == Condition::Always && options.expiry != Expiry::Keep {
            let end = deadline(span, self.reading());
            if self.overwrite(place, key, &mut value, end) {
                return Ok(SetOutcome::Written);
            }
        }
        self.set_as_planned(place, key, value, options, span)
    }

    /// Sets a value under a condition, with the deadline of its predecessor, or for a new key.
    #[inline(never)]
    fn set_as_planned(
        &self,
        place: Location,
        key: &str,
        value: Value,
        options: &SetOptions,
        span: Option<u64>,
    ) -> Result<SetOutcome> {
        // The value is copied, and its old buffer freed, before the lock is taken.
        let mut value = Some(value.compact());
        self.write_as_planned("set", place, key, &mut value, |shard, hash, reading, _| {
            let slot = shard.find(hash, key);
            let needs_old = options.condition != Condition::Always || options.expiry == Expiry::Keep;
            let old = slot.filter(|_| needs_old).and_then(|slot| shard.live_at(slot, reading));
            let holds = match &options.condition {
                Condition::Always => true,
                Condition::IfAbsent => old.is_none(),
                Condition::IfPresent => old.is_some(),
                Condition::IfEquals(expected) => old.is_some_and(|entry| entry.content().equals(expected)),
            };
            if !holds {
                return Plan::Leave(SetOutcome::Refused);
            }
            let deadline = match options.expiry {
                Expiry::Keep => old.map_or(Deadline::NEVER, |entry| entry.deadline),
                Expiry::Never | Expiry::After(_) => deadline(span, reading),
            };
            let answer = SetOutcome::Written;
            Plan::Put { slot, deadline, answer }
        })
    }

    pub(crate) fn del(&self, key: &str) -> bool {
        self.change(key, |shard, hash, reading| {
            let removed = shard.find(hash, key).and_then(|slot| shard.remove(slot));
            let was_live = removed.as_ref().is_some_and(|entry| !reading.is_past(entry.deadline));
            (was_live, removed)
        })
    }

    pub(crate) fn del_if_equals(&self, key: &str, expected: &[u8]) -> bool {
        self.change(key, |shard, hash, reading| {
            let is_equal = |entry: &Entry| entry.content().equals(expected);
            let slot = shard.find(hash, key);
            let slot = slot.filter(|&slot| shard.live_at(slot, reading).is_some_and(is_equal));
            let removed = slot.and_then(|slot| shard.remove(slot));
            (removed.is_some(), removed)
        })
    }

    pub(crate) fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        if expiry == Expiry::After(Duration::ZERO) {
            return Ok(self.del(key));
        }
        let span = self.span(expiry, "expire")?;
        Ok(self.change(key, |shard, hash, reading| {
            let slot = shard.find(hash, key);
            let slot = slot.filter(|&slot| shard.live_at(slot, reading).is_some());
            if let Some(slot) = slot
                && expiry != Expiry::Keep
            {
                shard.set_deadline(slot, deadline(span, reading));
            }
            (slot.is_some(), None)
        }))
    }

    pub(crate) fn ttl(&self, key: &str) -> Ttl {
        self.with_time_left(key, |_, ttl| ttl).unwrap_or(Ttl::Missing)
    }

    pub(crate) fn get_with_ttl(&self, key: &str) -> Option<(Bytes, Ttl)> {
        self.with_time_left(key, |content, ttl| Some((content.share()?, ttl)))?
    }

    /// Calls `answer` with the content and the time to live of a live entry.
    fn with_time_left<T>(&self, key: &str, answer: impl FnOnce(&Content, Ttl) -> T) -> Option<T> {
        let place = self.locate(key);
        let shard = self.read(place.shard);
        let entry = shard.entry(place.hash, key)?;
        let ttl = if entry.deadline.is_never() {
            Ttl::Persistent
        } else {
            // One reading decides whether the entry has expired and how much time it has left. It
            // is taken under the lock: with an earlier reading, a value that was set in between
            // would seem to have more time left than it was given.
            Ttl::Remaining(self.reading().left(entry.deadline)?)
        };
        shard.record_read(entry);
        Some(answer(entry.content(), ttl))
    }

    pub(crate) fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let span = match on_missing {
            OnMissing::Create(expiry) => self.span(expiry, "incr")?,
            OnMissing::Refuse => None,
        };
        let place = self.locate(key);
        if let Some(sum) = self.update(place, key, |entry| add(entry.content(), delta)) {
            return sum.map(Some);
        }
        if on_missing == OnMissing::Refuse {
            return Ok(None);
        }
        self.write_as_planned("incr", place, key, &mut None, |shard, hash, reading, value| {
            let slot = shard.find(hash, key);
            let old = slot.and_then(|slot| shard.live_at(slot, reading));
            let (sum, deadline) = match old {
                None => (delta, deadline(span, reading)),
                Some(entry) => match add(entry.content(), delta) {
                    Ok(sum) => (sum, entry.deadline),
                    Err(error) => return Plan::Leave(Err(error)),
                },
            };
            *value = Some(Value::integer(sum));
            let answer = Ok(Some(sum));
            Plan::Put { slot, deadline, answer }
        })?
    }
}

/// Returns the deadline of an entry that lives this long from now on.
#[inline]
fn deadline(span: Option<u64>, reading: Reading<'_>) -> Deadline {
    span.map_or(Deadline::NEVER, |millis| reading.deadline_after(millis))
}

#[inline]
fn add(content: &Content, delta: i64) -> Result<i64> {
    content
        .integer()
        .ok_or_else(Error::not_an_integer)?
        .checked_add(delta)
        .ok_or_else(Error::integer_overflow)
}
