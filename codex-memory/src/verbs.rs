//! The verbs of the contract, each one change of one shard.

use std::time::Duration;

use bytes::Bytes;
use codex_traits::{Condition, Expiry, OnMissing, Result, SetOptions, SetOutcome, Ttl};

use crate::{
    clock::Reading,
    deadline::Deadline,
    entry::Entry,
    store::{Plan, Store},
    value::Value,
};

impl Store {
    /// The milliseconds of an `After`, checked; `None` for the other two.
    #[inline]
    fn span(&self, expiry: Expiry, operation: &'static str) -> Result<Option<u64>> {
        let millis = expiry.to_millis_at(operation, || self.time.unix_millis())?;
        Ok(millis.map(i64::unsigned_abs))
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        let place = self.place(key);
        let reading = self.time.reading();
        let shard = self.read(place.shard);
        share(shard.live(place.tag, key, reading)?.value())
    }

    pub(crate) fn set(&self, key: &str, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let span = self.span(options.expiry, "set")?;
        let mut value = Value::of(value);
        let is_plain = options.condition == Condition::Always && options.expiry != Expiry::Keep;
        if is_plain && self.limits.is_none() && self.overwrite(key, &mut value, |reading| end(span, reading)) {
            return Ok(SetOutcome::Written);
        }
        let mut value = Some(value);
        self.write_as_planned("set", key, &mut value, |shard, tag, reading, _| {
            let slot = shard.find(tag, key);
            let needs_old = options.condition != Condition::Always || options.expiry == Expiry::Keep;
            let old = slot.filter(|_| needs_old).and_then(|slot| shard.live_at(slot, reading));
            let holds = match &options.condition {
                Condition::Always => true,
                Condition::IfAbsent => old.is_none(),
                Condition::IfPresent => old.is_some(),
                Condition::IfEquals(expected) => old.is_some_and(|entry| entry.value() == expected),
            };
            if !holds {
                return Plan::Leave(SetOutcome::Refused);
            }
            let deadline = match options.expiry {
                Expiry::Keep => old.map_or(Deadline::NEVER, |entry| entry.deadline),
                Expiry::Never | Expiry::After(_) => end(span, reading),
            };
            let answer = SetOutcome::Written;
            Plan::Put { slot, deadline, answer }
        })
    }

    pub(crate) fn del(&self, key: &str) -> bool {
        self.change(key, |shard, tag, reading| {
            let removed = shard.find(tag, key).and_then(|slot| shard.remove(slot));
            let was_live = removed.as_ref().is_some_and(|entry| !reading.is_past(entry.deadline));
            (was_live, removed)
        })
    }

    pub(crate) fn del_if_equals(&self, key: &str, expected: &[u8]) -> bool {
        self.change(key, |shard, tag, reading| {
            let equal = |entry: &Entry| entry.value() == expected;
            let slot = shard.find(tag, key);
            let slot = slot.filter(|&slot| shard.live_at(slot, reading).is_some_and(equal));
            let removed = slot.and_then(|slot| shard.remove(slot));
            (removed.is_some(), removed)
        })
    }

    pub(crate) fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        if expiry == Expiry::After(Duration::ZERO) {
            return Ok(self.del(key));
        }
        let span = self.span(expiry, "expire")?;
        Ok(self.change(key, |shard, tag, reading| {
            let slot = shard.find(tag, key);
            let slot = slot.filter(|&slot| shard.live_at(slot, reading).is_some());
            if let Some(slot) = slot
                && expiry != Expiry::Keep
            {
                shard.set_deadline(slot, end(span, reading));
            }
            (slot.is_some(), None)
        }))
    }

    pub(crate) fn ttl(&self, key: &str) -> Ttl {
        let place = self.place(key);
        let shard = self.read(place.shard);
        // One reading for both questions: whether it has ended and how long it has left. Inside the
        // lock, for an earlier one would say of a value that was set meanwhile that it has longer
        // left than it was given.
        let reading = Reading::Taken(self.time.reading().now());
        match shard.live(place.tag, key, reading).map(|entry| entry.deadline) {
            None => Ttl::Missing,
            Some(end) => end.left(reading.now()).map_or(Ttl::Persistent, Ttl::Remaining),
        }
    }

    pub(crate) fn get_with_ttl(&self, key: &str) -> Option<(Bytes, Ttl)> {
        let place = self.place(key);
        let shard = self.read(place.shard);
        let reading = Reading::Taken(self.time.reading().now());
        let entry = shard.live(place.tag, key, reading)?;
        let ttl = entry
            .deadline
            .left(reading.now())
            .map_or(Ttl::Persistent, Ttl::Remaining);
        Some((entry.value().clone(), ttl))
    }

    pub(crate) fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let span = match on_missing {
            OnMissing::Create(expiry) => self.span(expiry, "incr")?,
            OnMissing::Refuse => None,
        };
        self.write_as_planned("incr", key, &mut None, |shard, tag, reading, value| {
            let slot = shard.find(tag, key);
            let old = slot.and_then(|slot| shard.live_at(slot, reading));
            let (sum, deadline) = match old {
                None if on_missing == OnMissing::Refuse => return Plan::Leave(Ok(None)),
                None => (delta, end(span, reading)),
                Some(entry) => match add(entry.value(), delta) {
                    Ok(sum) => (sum, entry.deadline),
                    Err(error) => return Plan::Leave(Err(error)),
                },
            };
            *value = Some(Value::packed(sum.to_string().as_bytes()));
            let answer = Ok(Some(sum));
            Plan::Put { slot, deadline, answer }
        })?
    }
}

/// Another handle on a value. A call of its own, so that the handle is made where it is wanted: to
/// copy it at once, by words twice as wide as those that it has just been written by, would stall
/// the processor.
#[inline(never)]
#[expect(clippy::unnecessary_wraps, reason = "wrapping it is the copy that is to be saved")]
fn share(value: &Bytes) -> Option<Bytes> {
    Some(value.clone())
}

/// The end of what lives this long from now on.
#[inline]
fn end(span: Option<u64>, reading: Reading<'_>) -> Deadline {
    span.map_or(Deadline::NEVER, |millis| reading.end_after(millis))
}

fn add(value: &[u8], delta: i64) -> Result<i64> {
    codex_traits::parse_integer(value)
        .ok_or_else(codex_traits::Error::not_an_integer)?
        .checked_add(delta)
        .ok_or_else(codex_traits::Error::integer_overflow)
}
