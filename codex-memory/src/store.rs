//! The shards of one store, and the one step that every verb is.

use std::{
    hash::BuildHasher,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, OnMissing, Result, ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl};
use hashbrown::DefaultHashBuilder;

use crate::{
    clock::{Reading, TimeSource},
    position::Position,
    shard::Shard,
};

/// Enough that two writers seldom meet, few enough that an empty store is small.
const SHARDS: usize = 64;

/// A page looks at no more slots than this whatever it was asked for, so that no writer waits long for one.
const MAX_PAGE: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Store {
    shards: Box<[RwLock<Shard>]>,
    hasher: DefaultHashBuilder,
    time: TimeSource,
}

/// A hash with the shard that it falls into.
#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    shard: usize,
}

impl Store {
    pub(crate) fn new(time: TimeSource) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: DefaultHashBuilder::default(),
            time,
        }
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key.as_bytes())
    }

    fn place(&self, key: &str) -> Place {
        let hash = self.hash(key);
        // From the middle: the index takes its bucket from the low bits and its tag from the highest.
        let shard = (hash >> 40) as usize % SHARDS;
        Place { hash, shard }
    }

    // A panic cannot leave a shard half-changed: nothing of the caller's runs under the lock.
    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one change of `key` under its shard's lock, and drops what it put out afterwards.
    fn change<T, D>(&self, key: &str, change: impl FnOnce(&mut Shard, u64, Reading) -> (T, D)) -> T {
        let place = self.place(key);
        let reading = self.time.reading();
        let mut shard = self.write(place.shard);
        let swept = shard.sweep_one(reading, |key| self.hash(key));
        let (answer, dropped) = change(&mut shard, place.hash, reading);
        drop(shard);
        drop((swept, dropped));
        answer
    }

    /// The span of an `After`, checked; `None` for the other two.
    fn span(&self, expiry: Expiry, operation: &'static str) -> Result<Option<Duration>> {
        let Some(millis) = expiry.to_millis(operation)? else {
            return Ok(None);
        };
        // Redis keeps the end as milliseconds since 1970. The wall clock is asked only where that can matter.
        if millis > i64::MAX / 2 && millis.checked_add(self.time.unix_millis()).is_none() {
            return Err(Expiry::too_long(operation));
        }
        Ok(Some(Duration::from_millis(millis.unsigned_abs())))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        let place = self.place(key);
        let reading = self.time.reading();
        let shard = self.read(place.shard);
        Some(shard.live(place.hash, key, reading)?.value.clone())
    }

    pub(crate) fn set(&self, key: &str, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let span = self.span(options.expiry, "set")?;
        // The first clone of a `Bytes` made from a `Vec` allocates. It happens here, once, and not in a reader's hands.
        drop(value.clone());
        Ok(self.change(key, |shard, hash, reading| {
            let old = shard.live(hash, key, reading);
            let holds = match &options.condition {
                Condition::Always => true,
                Condition::IfAbsent => old.is_none(),
                Condition::IfPresent => old.is_some(),
                Condition::IfEquals(expected) => old.is_some_and(|entry| entry.value == *expected),
            };
            if !holds {
                return (SetOutcome::Refused, Some(value));
            }
            let deadline = match options.expiry {
                Expiry::Keep => old.and_then(|entry| entry.deadline),
                Expiry::Never | Expiry::After(_) => span.map(|span| reading.now() + span),
            };
            let old = shard.put(hash, key, value, deadline, |key| self.hash(key));
            (SetOutcome::Written, old)
        }))
    }

    pub(crate) fn del(&self, key: &str) -> bool {
        self.change(key, |shard, hash, reading| {
            let removed = shard.remove(hash, key);
            (removed.as_ref().is_some_and(|entry| entry.is_live(reading)), removed)
        })
    }

    pub(crate) fn del_if_equals(&self, key: &str, expected: &[u8]) -> bool {
        self.change(key, |shard, hash, reading| {
            let equal = shard
                .live(hash, key, reading)
                .is_some_and(|entry| entry.value == expected);
            (equal, equal.then(|| shard.remove(hash, key)))
        })
    }

    pub(crate) fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        if expiry == Expiry::After(Duration::ZERO) {
            return Ok(self.del(key));
        }
        let span = self.span(expiry, "expire")?;
        Ok(self.change(key, |shard, hash, reading| {
            let present = shard.live(hash, key, reading).is_some();
            if present && expiry != Expiry::Keep {
                shard.set_deadline(hash, key, span.map(|span| reading.now() + span));
            }
            (present, ())
        }))
    }

    pub(crate) fn ttl(&self, key: &str) -> Ttl {
        let place = self.place(key);
        let reading = Reading::Taken(self.time.reading().now());
        let shard = self.read(place.shard);
        match shard.live(place.hash, key, reading).map(|entry| entry.deadline) {
            None => Ttl::Missing,
            Some(None) => Ttl::Persistent,
            Some(Some(deadline)) => Ttl::Remaining(deadline.saturating_sub(reading.now())),
        }
    }

    pub(crate) fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let span = match on_missing {
            OnMissing::Create(expiry) => self.span(expiry, "incr")?,
            OnMissing::Refuse => None,
        };
        self.change(key, |shard, hash, reading| {
            let (sum, deadline) = match shard.live(hash, key, reading) {
                None if on_missing == OnMissing::Refuse => return (Ok(None), None),
                None => (Ok(delta), span.map(|span| reading.now() + span)),
                Some(entry) => (add(&entry.value, delta), entry.deadline),
            };
            match sum {
                Err(error) => (Err(error), None),
                Ok(sum) => {
                    let text = shared_text(sum);
                    (
                        Ok(Some(sum)),
                        shard.put(hash, key, text, deadline, |key| self.hash(key)),
                    )
                }
            }
        })
    }

    pub(crate) fn scan(&self, request: &ScanRequest<'_>) -> Result<ScanPage> {
        let mut left = request.checked_count_hint()?.min(MAX_PAGE);
        let mut position = Position::read(&request.cursor)?;
        let reading = self.time.reading();
        let mut page = ScanPage::default();
        while position.shard < SHARDS {
            let shard = self.read(position.shard);
            let (slots, rest) = position.take(left, shard.slot_count());
            left -= slots.len();
            page.keys.extend(shard.keys_in(slots, request.pattern, reading));
            drop(shard);
            position = rest.unwrap_or(Position {
                shard: position.shard + 1,
                ..Position::default()
            });
            if left == 0 && position.shard < SHARDS {
                page.next = Some(self.resumable(position).write()?);
                break;
            }
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

    /// How many entries there are, those that have expired and were not swept yet included.
    pub(crate) fn entries(&self) -> usize {
        (0..SHARDS).map(|shard| self.read(shard).len()).sum()
    }
}

fn add(value: &[u8], delta: i64) -> Result<i64> {
    codex_traits::parse_integer(value)
        .ok_or_else(codex_traits::not_an_integer)?
        .checked_add(delta)
        .ok_or_else(codex_traits::integer_overflow)
}

/// The decimal text, in a form whose clones do not allocate.
fn shared_text(number: i64) -> Bytes {
    let text = Bytes::from(number.to_string());
    drop(text.clone());
    text
}
