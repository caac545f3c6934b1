//! The shards of a store, and the atomic step of every operation.

mod room;

use std::{
    hash::{BuildHasher, Hasher},
    ops::{Deref, DerefMut, Range},
    sync::{Arc, PoisonError, Weak},
};

use codex_traits::Result;
use hashbrown::DefaultHashBuilder;

use self::room::{Needed, Room};
use crate::{
    accounting::{
        charge::{Charges, charge},
        limits::Limits,
    },
    index::{directory::Slot, entry::Entry, value::Value},
    reaper,
    shard::{
        garbage::Garbage,
        shard::{Removed, Shard},
    },
    sync::{AtomicBool, Ordering, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{
        clock::{Reading, TimeSource},
        deadline::Deadline,
    },
};

/// The maximum number of shards: enough that two writers rarely contend, and few enough that an
/// empty store is small.
const MAX_SHARDS: usize = 64;

/// A bounded store with several shards has room for at least this many entries in each, because
/// eviction needs entries to choose from.
const ENTRIES_PER_SHARD: usize = 512;

/// The number of times that a write frees the room that it needs before it gives up. Other writes
/// can take the room each time.
const MAX_LOSSES: usize = 1000;

/// The entries of one backend.
#[derive(Debug)]
pub(crate) struct Store {
    shards: Box<[PaddedShard]>,
    hasher: DefaultHashBuilder,
    time: TimeSource,
    limits: Option<Limits>,
    /// Whether writes sweep because the reaper does not: the caller supplied the clock, or the
    /// thread could not be started.
    writes_sweep: AtomicBool,
    /// Whether the reaper has this store in its list or does not need it there.
    is_enlisted: AtomicBool,
    this: Weak<Self>,
}

/// A shard on its own cache lines. Aligned to 128 bytes, because processors fetch two lines at a
/// time.
#[derive(Debug)]
#[repr(align(128))]
struct PaddedShard(RwLock<Shard>);

/// Write access to one shard. Dropping it enlists the store with the reaper if an entry of the
/// shard has a deadline.
struct ShardWriter<'a> {
    shard: RwLockWriteGuard<'a, Shard>,
    store: &'a Store,
}

impl Deref for ShardWriter<'_> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl DerefMut for ShardWriter<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

impl Drop for ShardWriter<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.shard.has_expiring() && !self.store.is_enlisted.load(Ordering::Acquire) {
            self.store.enlist();
        }
    }
}

/// Returns the number of shards for these limits, a power of two.
fn shards_for(limits: &Limits) -> usize {
    let entries = limits.max_entries().min(limits.max_bytes() / charge(0));
    let wanted = (entries / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
    1 << wanted.ilog2()
}

/// The hash of a key and the shard that it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Location {
    pub(crate) hash: u32,
    pub(crate) shard: usize,
}

/// The effect of a write on its key.
pub(crate) enum Plan<T> {
    Leave(T),
    /// Write the value with this deadline: into the slot, or as a new entry.
    Put {
        slot: Option<Slot>,
        deadline: Deadline,
        answer: T,
    },
}

impl Store {
    pub(crate) fn new(time: TimeSource, limits: Option<Limits>) -> Arc<Self> {
        let (count, evicts) = match &limits {
            None => (MAX_SHARDS, false),
            Some(limits) => (shards_for(limits), limits.evicts()),
        };
        let is_given = matches!(time, TimeSource::Given(_));
        let shard = || if evicts { Shard::evicting() } else { Shard::default() };
        Arc::new_cyclic(|this| Self {
            shards: (0..count).map(|_| PaddedShard(RwLock::new(shard()))).collect(),
            hasher: DefaultHashBuilder::default(),
            time,
            limits,
            writes_sweep: AtomicBool::new(is_given),
            is_enlisted: AtomicBool::new(is_given),
            this: this.clone(),
        })
    }

    #[inline]
    pub(crate) fn locate(&self, key: &str) -> Location {
        // `Hash` would also write a terminator, which only matters if several keys are hashed in
        // sequence.
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key.as_bytes());
        let hash = hasher.finish();
        #[expect(clippy::cast_possible_truncation, reason = "halves of the hash, which share no bit")]
        Location {
            hash: (hash >> 32) as u32,
            // The count is a power of two.
            shard: hash as u32 as usize & (self.shards.len() - 1),
        }
    }

    pub(crate) fn shards(&self) -> Range<usize> {
        0..self.shards.len()
    }

    #[inline]
    pub(crate) fn reading(&self) -> Reading<'_> {
        self.time.reading()
    }

    pub(crate) fn unix_millis(&self) -> i64 {
        self.time.unix_millis()
    }

    pub(crate) fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }

    /// Returns how many entries were evicted since the store was created.
    pub(crate) fn evictions(&self) -> u64 {
        self.limits.as_ref().map_or(0, Limits::evictions)
    }

    // A poisoned lock is safe to use: the caller's code runs only under read locks and, if it is a
    // clock, before a change. A panic in it cannot leave a shard half-changed.
    #[inline]
    pub(crate) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn write(&self, shard: usize) -> ShardWriter<'_> {
        let shard = self.shards[shard].0.write().unwrap_or_else(PoisonError::into_inner);
        ShardWriter { shard, store: self }
    }

    /// Applies a change to `key` that needs no room, under its shard's lock. Drops the removed
    /// entry after the lock is released.
    pub(crate) fn change<T>(
        &self,
        key: &str,
        change: impl FnOnce(&mut Shard, u32, Reading<'_>) -> (T, Option<Removed>),
    ) -> T {
        let place = self.locate(key);
        self.sweep_before_write(place.shard);
        // Declared before the lock, so that the entry is dropped after the lock is released.
        let removed;
        let answer;
        let mut shard = self.write(place.shard);
        let reading = self.time.reading();
        (answer, removed) = change(&mut shard, place.hash, reading);
        // Under the lock: a call that finds the entry gone also finds its room.
        if let Some(entry) = &removed {
            self.release(entry);
        }
        drop(shard);
        answer
    }

    /// Replaces the value and the deadline of an existing key. Returns `false` if the key does not
    /// exist or a bounded store must first make room. This is the fast path of most writes.
    #[inline]
    pub(crate) fn overwrite(&self, place: Location, key: &str, value: &mut Value, deadline: Deadline) -> bool {
        self.sweep_before_write(place.shard);
        let mut shard = self.write(place.shard);
        let Some(slot) = shard.find(place.hash, key) else {
            return false;
        };
        if let Some(limits) = &self.limits {
            let (before, after) = (shard.value_footprint_at(slot), value.footprint());
            if !limits.reserve(0, after.saturating_sub(before)) {
                return false;
            }
            limits.release(0, before.saturating_sub(after));
        }
        shard.replace(slot, value, deadline);
        true
    }

    /// Replaces the value of a live entry with the integer that `sum` computes, which takes no
    /// room. Returns `None` if there is no live entry.
    #[inline]
    pub(crate) fn update(
        &self,
        place: Location,
        key: &str,
        sum: impl FnOnce(&Entry) -> Result<i64>,
    ) -> Option<Result<i64>> {
        self.sweep_before_write(place.shard);
        // Declared before the lock, so that the old value is dropped after the lock is released.
        let mut value;
        let mut shard = self.write(place.shard);
        let reading = self.time.reading();
        let slot = shard.find(place.hash, key)?;
        let entry = shard.live_at(slot, reading)?;
        let sum = match sum(entry) {
            Ok(sum) => sum,
            Err(error) => return Some(Err(error)),
        };
        let (deadline, footprint) = (entry.deadline, entry.value_footprint());
        value = Value::integer(sum);
        shard.replace(slot, &mut value, deadline);
        if let Some(limits) = &self.limits {
            limits.release(0, footprint);
        }
        Some(Ok(sum))
    }

    /// Writes `key` according to `plan`, under its shard's lock. `plan` may store the value to
    /// write in its last argument. `plan` is called again each time room was made.
    #[inline]
    pub(crate) fn write_as_planned<T>(
        &self,
        operation: &'static str,
        place: Location,
        key: &str,
        value: &mut Option<Value>,
        mut plan: impl FnMut(&Shard, u32, Reading<'_>, &mut Option<Value>) -> Plan<T>,
    ) -> Result<T> {
        self.sweep_before_write(place.shard);
        let (mut losses, mut freed) = (0, 0);
        while losses < MAX_LOSSES {
            let mut shard = self.write(place.shard);
            let reading = self.time.reading();
            let (slot, deadline, answer) = match plan(&shard, place.hash, reading, value) {
                Plan::Leave(answer) => return Ok(answer),
                Plan::Put { slot, deadline, answer } => (slot, deadline, answer),
            };
            let mut needed = Needed::default();
            let room = match &self.limits {
                None => Room::Found,
                Some(limits) => {
                    let replaced = slot.map(|slot| shard.value_footprint_at(slot));
                    let charges = Charges::new(key, value.as_ref(), replaced);
                    needed = Needed {
                        entries: usize::from(slot.is_none()),
                        bytes: charges.growth(),
                    };
                    self.find_room(limits, &mut shard, needed, &charges, slot, reading)
                }
            };
            if matches!(room, Room::Found)
                && let Some(mut value) = value.take()
            {
                let Some(slot) = slot else {
                    shard.insert(place.hash, key, value, deadline);
                    return Ok(answer);
                };
                shard.replace(slot, &mut value, deadline);
                // The replaced value is dropped after the lock is released.
                drop(shard);
                drop(value);
                return Ok(answer);
            }
            drop(shard);
            // A single large value can need the room of any number of entries, so only the room
            // that was taken by others counts. Each removed entry frees the place of an entry.
            if freed >= needed.bytes {
                (losses, freed) = (losses + 1, 0);
            }
            match room {
                Room::Never => break,
                Room::Made(evicted, key) => {
                    freed += charge(evicted.footprint);
                    self.notify_eviction(&key, evicted, reading);
                }
                _ => match self.make_room(place, key) {
                    Some(bytes) => freed += bytes,
                    // Another call may have removed entries since.
                    None if self.has_room(needed) => losses += 1,
                    None => break,
                },
            }
        }
        // Only a bounded store can be out of room.
        let full = |limits: &Limits| Err(limits.full(operation));
        self.limits.as_ref().map_or_else(|| unreachable!("no limits"), full)
    }

    /// Sweeps a few buckets of the shard if the reaper does not serve this store.
    #[inline]
    fn sweep_before_write(&self, shard: usize) {
        if self.writes_sweep.load(Ordering::Relaxed) {
            self.sweep_some(shard);
        }
    }

    #[cold]
    fn sweep_some(&self, shard: usize) {
        let mut garbage = Garbage::default();
        let mut shard = self.write(shard);
        let reading = self.time.reading();
        shard.sweep_next(reading, &mut garbage);
        self.release_garbage(&garbage);
    }

    /// Releases the charges of removed entries, and returns their sum. Call it under the lock: a
    /// write that finds nothing to remove must find the room.
    fn release_garbage(&self, garbage: &Garbage) -> usize {
        let Some(limits) = &self.limits else { return 0 };
        let bytes = garbage.entries.iter().map(|entry| charge(entry.footprint())).sum();
        limits.release(garbage.entries.len(), bytes);
        bytes
    }

    fn release(&self, entry: &Removed) {
        if let Some(limits) = &self.limits {
            limits.release(1, charge(entry.footprint));
        }
    }

    /// Counts an eviction and tells the listener. An entry that had expired was not evicted.
    fn notify_eviction(&self, key: &str, evicted: Removed, reading: Reading<'_>) {
        if let Some(limits) = &self.limits
            && !reading.is_past(evicted.deadline)
        {
            limits.evicted(key, evicted.content);
        }
    }
}

/// Expiry.
impl Store {
    #[cold]
    fn enlist(&self) {
        if !self.is_enlisted.swap(true, Ordering::AcqRel) && !reaper::enlist(self.this.clone()) {
            self.writes_sweep.store(true, Ordering::Relaxed);
        }
    }

    /// Takes the store off the reaper's list. Returns `false` if it must stay there, because a
    /// concurrent write has stored an entry with a deadline. Returns `true` if that write has
    /// already enlisted the store again.
    pub(crate) fn delist(&self) -> bool {
        self.is_enlisted.store(false, Ordering::Release);
        // A write that did not see the flag cleared above is visible here, because both this thread
        // and the write take the lock of its shard.
        !self.has_expiring() || self.is_enlisted.swap(true, Ordering::AcqRel)
    }

    /// Removes the expired entries of one shard in steps, and returns their number. Calls `pause`
    /// after each step. Other calls are served between the steps.
    pub(crate) fn reap_shard(&self, shard: usize, pause: impl FnMut()) -> usize {
        self.reap(shard, pause).0
    }

    /// Removes the expired entries of one shard as [`reap_shard`](Self::reap_shard) does, and
    /// returns their number and the sum of their charges.
    fn reap(&self, shard: usize, mut pause: impl FnMut()) -> (usize, usize) {
        let reading = self.time.reading();
        if !reading.is_past(self.read(shard).earliest()) {
            return (0, 0);
        }
        let (mut count, mut bytes) = (0, 0);
        let mut garbage = Garbage::with_room();
        let mut next = Some(0);
        while let Some(from) = next {
            let mut shard = self.write(shard);
            next = shard.sweep(from, reading, &mut garbage);
            count += garbage.entries.len();
            bytes += self.release_garbage(&garbage);
            drop(shard);
            garbage.clear();
            pause();
        }
        (count, bytes)
    }

    /// Removes the expired entries of all shards, and returns their number.
    pub(crate) fn reap_all(&self) -> usize {
        self.shards().map(|shard| self.reap_shard(shard, || {})).sum()
    }

    /// Removes expired entries from the first of these shards that has any, and returns the freed
    /// bytes.
    fn reap_any(&self, mut shards: impl Iterator<Item = usize>) -> Option<usize> {
        shards.find_map(|shard| match self.reap(shard, || {}) {
            (0, _) => None,
            (_, bytes) => Some(bytes),
        })
    }

    pub(crate) fn has_expiring(&self) -> bool {
        self.shards().any(|shard| self.read(shard).has_expiring())
    }
}

/// Totals.
impl Store {
    /// Returns the number of entries, including expired entries that have not been reaped yet.
    pub(crate) fn entries(&self) -> usize {
        self.shards().map(|shard| self.read(shard).len()).sum()
    }

    /// Returns the number of changes since the store was created.
    pub(crate) fn changes(&self) -> u64 {
        self.shards().map(|shard| self.read(shard).changes()).sum()
    }

    /// Returns how many bytes have been requested from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let shards: usize = self.shards().map(|shard| self.read(shard).footprint()).sum();
        size_of::<Self>() + size_of_val(&*self.shards) + shards
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::limits::WhenFull;

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
