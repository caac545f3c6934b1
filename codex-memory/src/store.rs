//! The shards of one store, and the one step that every verb is.

use std::{hash::BuildHasher, sync::PoisonError};

use codex_traits::Result;
use hashbrown::DefaultHashBuilder;

use crate::{
    clock::{Reading, TimeSource},
    deadline::Deadline,
    entry::Entry,
    limits::{Limits, WhenFull, charge},
    record::Record,
    shard::Shard,
    sync::{AtomicBool, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Enough that two writers seldom meet, few enough that an empty store is small.
const MOST_SHARDS: usize = 64;

/// A bounded store has no more shards than leave this many entries for each: eviction is as good as what it can choose from.
const ENTRIES_PER_SHARD: usize = 512;

/// How often a write makes room before it gives up; others may take the room each time.
const ATTEMPTS: usize = 1000;

/// The entries of one backend.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) shards: Box<[Slice]>,
    hasher: DefaultHashBuilder,
    pub(crate) time: TimeSource,
    pub(crate) limits: Option<Limits>,
    /// Writers sweep, because nobody else does: a clock of the caller's moves when the caller says, or no thread could be had.
    pub(crate) writers_sweep: AtomicBool,
    /// The reclaiming thread knows this store, or need not.
    pub(crate) is_watched: AtomicBool,
}

/// A shard on cache lines of its own: two at once are fetched, so 128 bytes.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Slice(RwLock<Shard>);

/// As many shards as there are entries for, a power of two.
fn shards_for(limits: &Limits) -> usize {
    let entries = limits.max_entries.min(limits.max_bytes / charge(0));
    let wanted = (entries / ENTRIES_PER_SHARD).clamp(1, MOST_SHARDS);
    1 << wanted.ilog2()
}

/// A hash with the shard that it falls into.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) tag: u32,
    pub(crate) shard: usize,
}

/// What a change put out, to be dropped after the lock is.
#[derive(Default)]
pub(crate) struct Debris {
    pub(crate) replaced: Option<Record>,
    pub(crate) removed: Option<Entry>,
    pub(crate) swept: Vec<Entry>,
    pub(crate) evicted: Vec<Entry>,
}

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum NoRoom {
    /// Other entries are in the way.
    Now,
    /// The record is larger than the whole store may be.
    Ever,
}

impl Store {
    pub(crate) fn new(time: TimeSource, limits: Option<Limits>) -> Self {
        let (count, evicting) = match &limits {
            None => (MOST_SHARDS, false),
            Some(limits) => (shards_for(limits), limits.when_full == WhenFull::Evict),
        };
        let given = matches!(time, TimeSource::Given(_));
        let shard = || if evicting { Shard::evicting() } else { Shard::default() };
        Self {
            shards: (0..count).map(|_| Slice(RwLock::new(shard()))).collect(),
            hasher: DefaultHashBuilder::default(),
            writers_sweep: AtomicBool::new(given),
            time,
            limits,
            is_watched: AtomicBool::new(given),
        }
    }

    #[inline]
    pub(crate) fn place(&self, key: &str) -> Place {
        let hash = self.hasher.hash_one(key.as_bytes());
        #[expect(clippy::cast_possible_truncation, reason = "halves of the hash, which share no bit")]
        Place {
            tag: (hash >> 32) as u32,
            // The count is a power of two.
            shard: hash as u32 as usize & (self.shards.len() - 1),
        }
    }

    // A panic cannot leave a shard half-changed: nothing of the caller's runs under the lock.
    #[inline]
    pub(crate) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one change of `key` under its shard's lock, and drops what it put out afterwards.
    pub(crate) fn change<T>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Shard, u32, Reading<'_>, &mut Debris) -> T,
    ) -> T {
        let place = self.place(key);
        let reading = self.time.reading();
        let mut debris = Debris::default();
        let mut shard = self.write(place.shard);
        if self.writers_sweep.load(Ordering::Relaxed) {
            shard.sweep_next(reading, &mut debris.swept);
        }
        let answer = change(&mut shard, place.tag, reading, &mut debris);
        drop(shard);
        self.settle(debris);
        answer
    }

    /// As [`change`](Self::change), for what may need room: made and tried again until there is some, or none can be had.
    pub(crate) fn change_with_room<T>(
        &self,
        operation: &'static str,
        key: &str,
        mut change: impl FnMut(&mut Shard, u32, Reading<'_>, &mut Debris) -> Result<T, NoRoom>,
    ) -> Result<T> {
        for _ in 0..ATTEMPTS {
            match self.change(key, &mut change) {
                Ok(answer) => return Ok(answer),
                Err(NoRoom::Now) if self.make_room(self.place(key).shard) => {}
                Err(_) => break,
            }
        }
        // Only a bounded store is ever without room.
        let full = |limits: &Limits| Err(limits.full(operation));
        self.limits.as_ref().map_or_else(|| unreachable!("no limits"), full)
    }

    /// Books the removals, tells of the evictions, and drops all of it. Evictions were booked as they happened.
    pub(crate) fn settle(&self, debris: Debris) {
        if let Some(limits) = &self.limits {
            debris
                .swept
                .iter()
                .chain(&debris.removed)
                .for_each(|entry| self.release(entry));
            debris.evicted.iter().for_each(|entry| limits.evicted(entry));
        }
    }

    /// Frees something in a shard, starting with the one after `shard`: what has expired, or else what can be evicted.
    fn make_room(&self, shard: usize) -> bool {
        let count = self.shards.len();
        let others = (1..=count).map(|step| (shard + step) % count);
        self.reclaim_any(others.clone()) || others.into_iter().any(|shard| self.evict_from(shard))
    }

    fn evict_from(&self, shard: usize) -> bool {
        let reading = self.time.reading();
        let Some(evicted) = self.write(shard).evict(reading) else {
            return false;
        };
        self.release(&evicted);
        self.settle(Debris {
            evicted: vec![evicted],
            ..Debris::default()
        });
        true
    }

    fn release(&self, entry: &Entry) {
        if let Some(limits) = &self.limits {
            limits.release(1, charge(entry.record.footprint()));
        }
    }

    /// Writes `record` where `slot` says the key is, or as a new entry, and books the difference. Evicts from this shard where room is
    /// short. On `NoRoom` the record is still there.
    pub(crate) fn put(
        &self,
        shard: &mut Shard,
        place: (u32, Option<u32>),
        record: &mut Option<Record>,
        deadline: Deadline,
        reading: Reading<'_>,
        debris: &mut Debris,
    ) -> Result<(), NoRoom> {
        let (tag, mut slot) = place;
        if let (Some(limits), Some(new)) = (&self.limits, record.as_ref()) {
            loop {
                let after = charge(new.footprint());
                let before = slot.map_or(0, |slot| charge(shard.footprint_at(slot)));
                if limits.reserve(usize::from(slot.is_none()), after.saturating_sub(before)) {
                    limits.release(0, before.saturating_sub(after));
                    break;
                }
                if after > limits.max_bytes {
                    return Err(NoRoom::Ever);
                }
                let evicted = shard.evict(reading).ok_or(NoRoom::Now)?;
                self.release(&evicted);
                // It may have been this very key's.
                slot = slot.filter(|_| evicted.record.key() != new.key());
                debris.evicted.push(evicted);
            }
        }
        if let Some(record) = record.take() {
            match slot {
                Some(slot) => debris.replaced = shard.replace(slot, record, deadline),
                None => shard.insert(tag, record, deadline),
            }
        }
        Ok(())
    }
}

impl Store {
    /// Removes what has expired in one shard, a step at a time with `pause` between the steps, and says how many they were. Calls
    /// have their turn in between.
    pub(crate) fn reclaim_shard(&self, shard: usize, mut pause: impl FnMut()) -> usize {
        let reading = self.time.reading();
        let may_have_any = reading.is_past(self.read(shard).earliest());
        let mut next = may_have_any.then_some(0);
        let mut count = 0;
        while let Some(block) = next {
            let mut debris = Debris::default();
            next = self.write(shard).sweep(block, reading, &mut debris.swept);
            count += debris.swept.len();
            self.settle(debris);
            pause();
        }
        count
    }

    /// Removes some that have expired from the first of these shards that has any.
    fn reclaim_any(&self, mut shards: impl Iterator<Item = usize>) -> bool {
        shards.any(|shard| self.reclaim_shard(shard, || {}) > 0)
    }

    pub(crate) fn has_mortals(&self) -> bool {
        (0..self.shards.len()).any(|shard| self.read(shard).has_mortals())
    }

    /// How many entries there are, those that have expired and were not reclaimed yet included.
    pub(crate) fn entries(&self) -> usize {
        (0..self.shards.len()).map(|shard| self.read(shard).len()).sum()
    }

    /// How many bytes have been asked of the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let shards: usize = (0..self.shards.len()).map(|shard| self.read(shard).footprint()).sum();
        size_of::<Self>() + size_of_val(&*self.shards) + shards
    }
}
