//! The shards of one store, and the one step that every verb is.

use std::{
    hash::{BuildHasher, Hasher},
    sync::PoisonError,
};

use codex_traits::Result;
use hashbrown::DefaultHashBuilder;

use crate::{
    clock::{Reading, TimeSource},
    deadline::Deadline,
    key,
    limits::{Limits, WhenFull, charge},
    shard::{Removed, Shard},
    swept::Swept,
    sync::{AtomicBool, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard},
    table::Slot,
    value::Value,
};

/// Enough that two writers seldom meet, few enough that an empty store is small.
const MOST_SHARDS: usize = 64;

/// A bounded store has no more shards than leave this many entries for each: eviction is as good as
/// what it can choose from.
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
    /// Writers sweep, because nobody else does: a clock of the caller's moves when the caller says,
    /// or no thread could be had.
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

/// What is to be done with a key.
pub(crate) enum Plan<T> {
    Leave(T),
    /// Write the value with this end: into the slot, or as a new entry.
    Put {
        slot: Option<Slot>,
        deadline: Deadline,
        answer: T,
    },
}

/// Where a value can go.
enum Room {
    Found {
        slot: Option<Slot>,
    },
    /// One that was evicted from the shard, to be told of once the lock is gone; perhaps there is
    /// room now.
    Made(Removed, String),
    /// The shard has nothing to evict.
    NotHere,
    /// The entry is larger than the whole store may be.
    Never,
}

/// What is charged for an entry before a write and after it.
struct Books {
    before: usize,
    after: usize,
}

impl Books {
    fn of(key: &str, value: Option<&Value>, replaced: Option<usize>) -> Self {
        let key = charge(key::footprint(key.len()));
        let of_value = |of: fn(&Value) -> usize| value.map_or(0, of);
        match replaced {
            None => Self {
                before: 0,
                after: key + of_value(Value::tight_footprint),
            },
            Some(old) => Self {
                before: key + old,
                after: key + of_value(Value::footprint),
            },
        }
    }
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
        // The bytes alone: what `Hash` adds for the length only matters where keys are hashed one
        // behind the other.
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        let hash = hasher.finish();
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

    /// Runs one change of `key` under its shard's lock, which can only take away, and drops what it
    /// took away afterwards.
    pub(crate) fn change<T>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Shard, u32, Reading<'_>) -> (T, Option<Removed>),
    ) -> T {
        let place = self.place(key);
        self.sweep_before_write(place.shard);
        let reading = self.time.reading();
        let mut shard = self.write(place.shard);
        let (answer, removed) = change(&mut shard, place.tag, reading);
        drop(shard);
        if let Some(entry) = &removed {
            self.release(entry);
        }
        answer
    }

    /// Gives a key that is there another value and end, whatever it had; answers whether it is
    /// there. What needs no plan and no room: most writes.
    #[inline]
    pub(crate) fn overwrite(&self, key: &str, value: &mut Value, end: impl FnOnce(Reading<'_>) -> Deadline) -> bool {
        let place = self.place(key);
        self.sweep_before_write(place.shard);
        let end = end(self.time.reading());
        let mut shard = self.write(place.shard);
        let slot = shard.find(place.tag, key);
        if let Some(slot) = slot {
            shard.replace(slot, value, end);
        }
        slot.is_some()
    }

    /// Writes `key` as `plan` says under its shard's lock. `plan` puts what is to be written into
    /// the place that it is handed; it is asked again where room had to be made first.
    #[inline]
    pub(crate) fn write_as_planned<T>(
        &self,
        operation: &'static str,
        key: &str,
        value: &mut Option<Value>,
        mut plan: impl FnMut(&Shard, u32, Reading<'_>, &mut Option<Value>) -> Plan<T>,
    ) -> Result<T> {
        let place = self.place(key);
        self.sweep_before_write(place.shard);
        for _ in 0..ATTEMPTS {
            let reading = self.time.reading();
            let mut shard = self.write(place.shard);
            let (slot, deadline, answer) = match plan(&shard, place.tag, reading, value) {
                Plan::Leave(answer) => return Ok(answer),
                Plan::Put { slot, deadline, answer } => (slot, deadline, answer),
            };
            let room = match &self.limits {
                None => Room::Found { slot },
                Some(limits) => {
                    let books = Books::of(key, value.as_ref(), slot.map(|slot| shard.value_footprint_at(slot)));
                    self.find_room(limits, &mut shard, slot, books, reading)
                }
            };
            if let Room::Found { slot } = room
                && let Some(mut value) = value.take()
            {
                let left = if let Some(slot) = slot {
                    shard.replace(slot, &mut value, deadline);
                    Some(value.bytes)
                } else {
                    let (value, left) = value.tight();
                    shard.insert(place.tag, key, value, deadline);
                    left
                };
                drop(shard);
                drop(left);
                return Ok(answer);
            }
            drop(shard);
            match room {
                Room::Never => break,
                Room::Made(evicted, key) => self.tell(&key, evicted),
                _ if self.make_room(place.shard) => {}
                _ => break,
            }
        }
        // Only a bounded store is ever without room.
        let full = |limits: &Limits| Err(limits.full(operation));
        self.limits.as_ref().map_or_else(|| unreachable!("no limits"), full)
    }

    /// Where nobody else does, a write looks at a few blocks of its shard.
    #[inline]
    fn sweep_before_write(&self, shard: usize) {
        if self.writers_sweep.load(Ordering::Relaxed) {
            self.sweep_some(shard);
        }
    }

    #[cold]
    fn sweep_some(&self, shard: usize) {
        let mut swept = Swept::default();
        let reading = self.time.reading();
        self.write(shard).sweep_next(reading, &mut swept);
        self.release_swept(&swept);
    }

    fn release_swept(&self, swept: &Swept) {
        if let Some(limits) = &self.limits {
            for entry in &swept.entries {
                limits.release(1, charge(entry.footprint()));
            }
        }
    }

    fn release(&self, entry: &Removed) {
        if let Some(limits) = &self.limits {
            limits.release(1, charge(entry.footprint));
        }
    }

    fn tell(&self, key: &str, evicted: Removed) {
        if let Some(limits) = &self.limits {
            limits.evicted(key, evicted.value);
        }
    }

    /// Frees something in a shard, starting with the one after `shard`: what has expired, or else
    /// what can be evicted.
    fn make_room(&self, shard: usize) -> bool {
        let count = self.shards.len();
        let others = (1..=count).map(|step| (shard + step) % count);
        self.reclaim_any(others.clone()) || others.into_iter().any(|shard| self.evict_from(shard))
    }

    fn evict_from(&self, shard: usize) -> bool {
        let reading = self.time.reading();
        let evicted = self.write(shard).evict(reading);
        let Some((entry, key)) = evicted else { return false };
        self.release(&entry);
        self.tell(&key, entry);
        true
    }

    /// Books what the value takes beyond what is in the slot; where there is no room, evicts an
    /// entry from this shard if it has one.
    fn find_room(
        &self,
        limits: &Limits,
        shard: &mut Shard,
        slot: Option<Slot>,
        Books { before, after }: Books,
        reading: Reading<'_>,
    ) -> Room {
        if limits.reserve(usize::from(slot.is_none()), after.saturating_sub(before)) {
            limits.release(0, before.saturating_sub(after));
            return Room::Found { slot };
        }
        if after > limits.max_bytes {
            return Room::Never;
        }
        match shard.evict(reading) {
            None => Room::NotHere,
            Some((evicted, key)) => {
                self.release(&evicted);
                Room::Made(evicted, key)
            }
        }
    }
}

impl Store {
    /// Removes what has expired in one shard, a step at a time with `pause` between the steps, and
    /// says how many they were. Calls have their turn in between.
    pub(crate) fn reclaim_shard(&self, shard: usize, mut pause: impl FnMut()) -> usize {
        let reading = self.time.reading();
        let may_have_any = reading.is_past(self.read(shard).earliest());
        let mut next = may_have_any.then_some(0);
        let mut count = 0;
        while let Some(block) = next {
            let mut swept = Swept::with_room();
            next = self.write(shard).sweep(block, reading, &mut swept);
            count += swept.entries.len();
            self.release_swept(&swept);
            drop(swept);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_store_has_as_many_shards_as_have_something_to_choose_from() {
        let shards = |entries, bytes| shards_for(&Limits::new(entries, bytes, WhenFull::Evict, None));
        let by_entries = [(1, 1), (1023, 1), (1024, 2), (5000, 8), (32_768, 64), (usize::MAX, 64)];
        for (entries, count) in by_entries {
            assert_eq!(shards(entries, usize::MAX), count, "{entries} entries");
        }
        for (entries, count) in by_entries {
            assert_eq!(
                shards(usize::MAX, entries.saturating_mul(charge(0))),
                count,
                "bytes for {entries} entries"
            );
        }
    }
}
