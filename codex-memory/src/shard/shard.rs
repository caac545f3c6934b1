//! The entries of one shard, and their totals.

use std::time::Duration;

use crate::{
    index::bucket::BUCKET_CAPACITY,
    index::directory::{Directory, Slot},
    index::entry::Entry,
    index::value::{Content, Value},
    shard::garbage::Garbage,
    shard::s3_fifo::S3Fifo,
    time::clock::Reading,
    time::deadline::Deadline,
};

/// The number of buckets that one step of a sweep checks.
const BUCKETS_PER_STEP: usize = 64;

/// A step of a sweep ends once it has removed this many entries. It removes at most 39, because a
/// bucket is swept whole.
const ENTRIES_PER_STEP: usize = BUCKET_CAPACITY / 4;

#[derive(Debug, Default)]
pub(crate) struct Shard {
    directory: Directory,
    /// Present only in a store that evicts.
    fifo: Option<Box<S3Fifo>>,
    /// The sum of the entries' footprints.
    entry_bytes: usize,
    /// The number of entries with a deadline.
    expiring: usize,
    /// No entry expires before this.
    earliest: Deadline,
    /// The hash at which the next sweep by a write begins.
    sweep_from: u32,
    /// The number of changes since the store was created.
    changes: u64,
}

/// A removed entry. It must be dropped after the lock is released, because a value's owner may have
/// its own `Drop`.
#[derive(Debug)]
pub(crate) struct Removed {
    pub(crate) content: Content,
    pub(crate) deadline: Deadline,
    /// The footprint of the key and the value.
    pub(crate) footprint: usize,
}

impl Shard {
    pub(crate) fn evicting() -> Self {
        Self {
            fifo: Some(Box::new(S3Fifo::new())),
            ..Self::default()
        }
    }

    /// Returns the slot of `key`, expired or not.
    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &str) -> Option<Slot> {
        self.directory.find(hash, key.as_bytes())
    }

    /// Returns the entry in `slot` if it has not expired.
    #[inline]
    pub(crate) fn live_at(&self, slot: Slot, reading: Reading<'_>) -> Option<&Entry> {
        self.directory
            .get(slot)
            .filter(|entry| !reading.is_past(entry.deadline))
    }

    /// Returns the entry of `key`, expired or not.
    #[inline]
    pub(crate) fn entry(&self, hash: u32, key: &str) -> Option<&Entry> {
        self.directory.entry_of(hash, key.as_bytes())
    }

    /// Counts a read of an entry that has not expired.
    #[inline]
    pub(crate) fn record_read(&self, entry: &Entry) {
        if let Some(fifo) = &self.fifo {
            fifo.record_read(entry.node());
        }
    }

    /// Returns the entry of `key` if it exists and has not expired, and counts a read.
    #[inline]
    pub(crate) fn live(&self, hash: u32, key: &str, reading: Reading<'_>) -> Option<&Entry> {
        let entry = self.entry(hash, key);
        let entry = entry.filter(|entry| !reading.is_past(entry.deadline))?;
        self.record_read(entry);
        Some(entry)
    }

    /// Returns the footprint of the value in `slot`.
    pub(crate) fn value_footprint_at(&self, slot: Slot) -> usize {
        self.directory.get(slot).map_or(0, Entry::value_footprint)
    }

    /// Adds an entry. Its key must not exist.
    pub(crate) fn insert(&mut self, hash: u32, key: &str, value: Value, deadline: Deadline) {
        self.changes += 1;
        self.expiring += usize::from(!deadline.is_never());
        self.earliest = self.earliest.min(deadline);
        let node = self.fifo.as_mut().map_or(0, |fifo| fifo.admit(hash));
        let entry = Entry::new(hash, key, value, deadline, node);
        self.entry_bytes += entry.footprint();
        self.directory.insert(entry);
    }

    /// Stores another value and deadline in a slot. `value` then holds the old value, which the
    /// caller must drop after releasing the lock, because its owner may have its own `Drop`.
    #[inline]
    pub(crate) fn replace(&mut self, slot: Slot, value: &mut Value, deadline: Deadline) {
        if let Some(entry) = self.set_deadline_at(slot, deadline) {
            entry.swap(value);
            let (node, after) = (entry.node(), entry.value_footprint());
            self.entry_bytes = self.entry_bytes + after - value.footprint();
            if let Some(fifo) = &self.fifo {
                fifo.record_read(node);
            }
        }
    }

    /// Sets the deadline of the entry in a slot.
    pub(crate) fn set_deadline(&mut self, slot: Slot, deadline: Deadline) {
        self.set_deadline_at(slot, deadline);
    }

    #[inline]
    fn set_deadline_at(&mut self, slot: Slot, deadline: Deadline) -> Option<&mut Entry> {
        let (entry, old) = self.directory.set_deadline_at(slot, deadline)?;
        self.changes += 1;
        self.earliest = self.earliest.min(deadline);
        self.expiring = self.expiring + usize::from(!deadline.is_never()) - usize::from(!old.is_never());
        Some(entry)
    }

    /// Removes the entry in `slot`, expired or not.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Removed> {
        let entry = self.directory.remove(slot)?;
        self.forget(&entry);
        self.trim(1);
        Some(Removed {
            deadline: entry.deadline,
            footprint: entry.footprint(),
            content: entry.into_content(),
        })
    }

    /// Subtracts an entry that has left the directory from the totals.
    fn forget(&mut self, entry: &Entry) {
        self.changes += 1;
        self.entry_bytes -= entry.footprint();
        self.expiring -= usize::from(!entry.deadline.is_never());
        if let Some(fifo) = &mut self.fifo {
            fifo.unlink_node(entry.node());
        }
        if self.directory.len() == 0 {
            self.earliest = Deadline::NEVER;
        }
    }

    /// Frees memory of the eviction queues after this many removals. Every entry that was removed
    /// must have been forgotten.
    fn trim(&mut self, removals: usize) {
        if let Some(fifo) = &mut self.fifo {
            fifo.trim(&mut self.directory, 2 * removals);
        }
    }

    /// Removes the entry that S3-FIFO chooses, and returns it with its key. Spares the entry in the
    /// slot `spared`, unless it has expired.
    pub(crate) fn evict(&mut self, spared: Option<Slot>, reading: Reading<'_>) -> Option<(Removed, String)> {
        let spared = spared.and_then(|slot| self.directory.get(slot)).map(Entry::node);
        let fifo = self.fifo.as_mut()?;
        let slot = fifo.victim(&self.directory, spared, |end| reading.is_past(end))?;
        let key = key_text(self.directory.get(slot)?.key());
        Some((self.remove(slot)?, key))
    }

    /// Removes the expired entries of a few buckets, starting at the hash `from`. Ends with the
    /// bucket in which the number of removed entries reaches [`ENTRIES_PER_STEP`], so that no call
    /// waits long for the lock. Returns the hash to continue with, or `None` at the end.
    pub(crate) fn sweep(&mut self, from: u32, reading: Reading<'_>, garbage: &mut Garbage) -> Option<u32> {
        if self.expiring == 0 || !reading.is_past(self.earliest) {
            return None;
        }
        let before = garbage.entries.len();
        let next = self.sweep_step(from, reading.now(), garbage);
        self.trim(garbage.entries.len() - before);
        next
    }

    fn sweep_step(&mut self, mut from: u32, now: Duration, garbage: &mut Garbage) -> Option<u32> {
        for _ in 0..BUCKETS_PER_STEP {
            let (bucket, next) = self.directory.at(from);
            if bucket.earliest.is_past(now) {
                let before = garbage.entries.len();
                self.directory.remove_expired(from, |end| end.is_past(now), garbage);
                for entry in &garbage.entries[before..] {
                    self.forget(entry);
                }
            }
            let Some(next) = next else {
                self.earliest = self.directory.earliest();
                return None;
            };
            from = next;
            if garbage.entries.len() >= ENTRIES_PER_STEP {
                break;
            }
        }
        Some(from)
    }

    /// Sweeps the next few buckets, continuing where the last such sweep ended.
    pub(crate) fn sweep_next(&mut self, reading: Reading<'_>, garbage: &mut Garbage) {
        self.sweep_from = self.sweep(self.sweep_from, reading, garbage).unwrap_or(0);
    }

    /// Returns a lower bound of the entries' deadlines.
    pub(crate) fn earliest(&self) -> Deadline {
        self.earliest
    }

    /// Returns whether any entry has a deadline.
    #[inline]
    pub(crate) fn has_expiring(&self) -> bool {
        self.expiring > 0
    }

    /// Returns the number of changes since the store was created.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the number of entries, including expired entries.
    pub(crate) fn len(&self) -> usize {
        self.directory.len()
    }

    /// Returns how many bytes have been requested from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let fifo = self
            .fifo
            .as_ref()
            .map_or(0, |fifo| size_of::<S3Fifo>() + fifo.footprint());
        self.entry_bytes + self.directory.footprint() + fifo
    }

    /// Returns the entries in the bucket of the hash `from` whose hashes are at least `from`.
    pub(crate) fn page(&self, from: u32) -> Page<'_> {
        let (bucket, next) = self.directory.at(from);
        let entries = bucket.entries();
        Page { entries, from, next }
    }
}

/// The entries of one bucket, starting at a hash.
pub(crate) struct Page<'a> {
    entries: &'a [Entry],
    from: u32,
    /// The hash to continue with, or `None` at the end.
    pub(crate) next: Option<u32>,
}

impl<'a> Page<'a> {
    /// Returns the number of entries in the bucket, including expired entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn live(&self, reading: Reading<'a>) -> impl Iterator<Item = &'a Entry> {
        let from = self.from;
        let entries = self.entries.iter();
        entries.filter(move |entry| entry.hash >= from && !reading.is_past(entry.deadline))
    }
}

/// Returns a key as text. Nothing is replaced, because the key was stored from a `str`.
pub(crate) fn key_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    const NOW: Reading<'_> = Reading::Taken(Duration::from_secs(10));

    fn at(seconds: u64) -> Deadline {
        Deadline::after(Duration::from_secs(seconds), Duration::ZERO)
    }

    /// Returns a number that is distributed like a hash.
    fn hash(number: u32) -> u32 {
        number.wrapping_mul(0x9E37_79B9)
    }

    fn insert(shard: &mut Shard, number: u32, deadline: Deadline) {
        shard.insert(hash(number), &number.to_string(), Value::packed(b"v"), deadline);
    }

    fn find(shard: &Shard, number: u32) -> Slot {
        shard.find(hash(number), &number.to_string()).unwrap()
    }

    #[test]
    fn the_totals_are_those_of_the_entries() {
        for evicting in [false, true] {
            let mut shard = if evicting { Shard::evicting() } else { Shard::default() };
            let mut held: BTreeMap<u32, (usize, Deadline)> = BTreeMap::new();
            for step in 0..3000 {
                let (number, len) = (hash(step) % 97, (step % 700) as usize);
                let deadline = if step % 3 == 0 {
                    Deadline::NEVER
                } else {
                    at(u64::from(step))
                };
                let bytes = Bytes::from(vec![b'v'; len]);
                let kept = held.contains_key(&number);
                match step % 5 {
                    0 | 1 if !kept => shard.insert(hash(number), &number.to_string(), Value::packed(&bytes), deadline),
                    0 | 1 => {
                        // The buffer is kept, because the test shares it.
                        let mut value = Value::new(bytes.clone(), false);
                        let slot = find(&shard, number);
                        shard.replace(slot, &mut value, deadline);
                        assert_eq!(value.content.share().unwrap().len(), held[&number].0);
                    }
                    2 if kept => {
                        let slot = find(&shard, number);
                        shard.set_deadline(slot, deadline);
                    }
                    3 if kept => {
                        let slot = find(&shard, number);
                        let footprint = shard.value_footprint_at(slot);
                        let removed = shard.remove(slot).unwrap();
                        let (len, deadline) = held.remove(&number).unwrap();
                        assert_eq!((removed.footprint, removed.deadline), (footprint, deadline));
                        assert!(removed.content.share().unwrap().len() == len && footprint >= len);
                        continue;
                    }
                    _ => continue,
                }
                let len = if step % 5 == 2 { held[&number].0 } else { len };
                held.insert(number, (len, deadline));

                let value_bytes: usize = held
                    .keys()
                    .map(|&number| shard.value_footprint_at(find(&shard, number)))
                    .sum();
                let fifo = shard
                    .fifo
                    .as_ref()
                    .map_or(0, |fifo| size_of::<S3Fifo>() + fifo.footprint());
                assert_eq!(shard.footprint(), value_bytes + shard.directory.footprint() + fifo);
                assert_eq!(shard.len(), held.len());
                assert_eq!(shard.has_expiring(), held.values().any(|(_, end)| !end.is_never()));
                assert!(held.values().all(|&(_, end)| shard.earliest() <= end));
            }
            assert!(shard.len() > 10);
            for number in held.into_keys() {
                let slot = find(&shard, number);
                shard.remove(slot);
            }
            assert!(!shard.has_expiring() && shard.earliest().is_never() && shard.entry_bytes == 0);
        }
    }

    #[test]
    fn an_expired_entry_is_not_live() {
        let mut shard = Shard::default();
        for (number, deadline, is_live) in [(1, at(10), false), (2, at(11), true), (3, Deadline::NEVER, true)] {
            insert(&mut shard, number, deadline);
            let slot = find(&shard, number);
            assert_eq!(shard.live_at(slot, NOW).is_some(), is_live);
            assert_eq!(shard.live(hash(number), &number.to_string(), NOW).is_some(), is_live);
        }
    }

    #[test]
    fn a_sweep_removes_a_few_expired_entries_at_a_time() {
        let mut shard = Shard::default();
        for number in 0..3000 {
            insert(&mut shard, number, at(10 + u64::from(number % 2)));
        }
        let mut garbage = Garbage::default();
        assert_eq!(
            shard.sweep(0, Reading::Taken(Duration::from_secs(9)), &mut garbage),
            None
        );
        assert!(garbage.entries.is_empty() && shard.earliest() == at(10));
        let (mut next, mut count, mut steps) = (Some(0), 0, 0);
        while let Some(from) = next {
            garbage = Garbage::with_room();
            let buffers = [garbage.entries.capacity(), garbage.buffers.capacity()];
            next = shard.sweep(from, NOW, &mut garbage);
            assert_eq!([garbage.entries.capacity(), garbage.buffers.capacity()], buffers);
            let removed = garbage.entries.len();
            assert!(
                removed < BUCKET_CAPACITY + ENTRIES_PER_STEP
                    && garbage.entries.iter().all(|entry| entry.deadline == at(10))
            );
            assert!(removed >= ENTRIES_PER_STEP || next.is_none());
            count += removed;
            steps += 1;
        }
        assert_eq!((count, shard.len(), shard.earliest()), (1500, 1500, at(11)));
        assert!(
            (1500 / (BUCKET_CAPACITY + ENTRIES_PER_STEP)..=1500 / ENTRIES_PER_STEP + 1).contains(&steps),
            "{steps} steps"
        );
        // All entries have expired by now. The sweeps of writes must cover the whole shard.
        while shard.len() > 0 {
            garbage = Garbage::default();
            shard.sweep_next(Reading::Taken(Duration::from_secs(11)), &mut garbage);
            assert!(!garbage.entries.is_empty());
        }
        assert_eq!(shard.sweep_from, 0);
    }

    #[test]
    fn a_sweep_looks_at_a_few_buckets_at_a_time() {
        let mut shard = Shard::default();
        for number in 0..6000 {
            insert(
                &mut shard,
                number,
                if hash(number) > u32::MAX - 1_000_000 {
                    at(10)
                } else {
                    at(20)
                },
            );
        }
        let buckets = {
            let (mut from, mut count) = (Some(0), 0);
            while let Some(hash) = from {
                from = shard.page(hash).next;
                count += 1;
            }
            count
        };
        let (mut next, mut steps, mut garbage) = (Some(0), 0, Garbage::default());
        while let Some(from) = next {
            assert!(garbage.entries.is_empty());
            next = shard.sweep(from, NOW, &mut garbage);
            steps += 1;
        }
        assert!(!garbage.entries.is_empty());
        assert!(buckets > 2 * BUCKETS_PER_STEP);
        assert_eq!(steps, buckets.div_ceil(BUCKETS_PER_STEP));
    }
}
