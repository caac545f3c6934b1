//! Extendible hashing, which finds an entry by the hash of its key.
//!
//! Fagin, Nievergelt, Pippenger, Strong, "Extendible hashing - a fast access method for dynamic
//! files", ACM TODS 4 (3), 1979. The directory maps each hash prefix to a bucket. A full bucket is
//! split into two, and two nearly empty buckets are merged. No growth step copies all entries: only
//! the directory and the list of buckets are copied whole, and they take a few bytes per entry. A
//! walk in hash order visits every entry that exists throughout exactly once, even if other entries
//! are added and removed.

use crate::{
    index::bucket::{BUCKET_CAPACITY, Bucket},
    index::entry::Entry,
    index::prefix::Prefix,
    shard::garbage::Garbage,
    time::deadline::Deadline,
};

/// Two sibling buckets are merged if together they have at most this many entries.
const MERGED: usize = BUCKET_CAPACITY / 3;

/// The maximum number of directory cells per bucket. Well-distributed hashes need two or four.
const MAX_CELLS: usize = 32;

/// The position of an entry, valid until the directory changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    bucket: u32,
    at: u32,
}

#[derive(Debug)]
pub(crate) struct Directory {
    /// The bucket of each hash prefix. The length is a power of two.
    cells: Vec<u32>,
    /// The number of low bits of a hash that the directory ignores.
    shift: u32,
    buckets: Vec<Bucket>,
    /// The prefix of each bucket. Kept outside the bucket, because lookups do not need it.
    prefixes: Vec<Prefix>,
    len: usize,
    /// The sum of the buckets' footprints.
    bucket_bytes: usize,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            cells: vec![0],
            shift: 32,
            buckets: vec![Bucket::default()],
            prefixes: vec![Prefix::ALL],
            len: 0,
            bucket_bytes: 0,
        }
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or_else(|_| unreachable!("four thousand million entries in one shard"))
}

impl Directory {
    #[inline]
    fn cell_of(&self, hash: u32) -> usize {
        hash.unbounded_shr(self.shift) as usize
    }

    #[inline]
    fn bucket_of(&self, hash: u32) -> usize {
        self.cells[self.cell_of(hash)] as usize
    }

    /// Returns the cells of a prefix that is no longer than the prefixes of the directory.
    fn cells_of(&mut self, prefix: Prefix) -> &mut [u32] {
        let cells = self.cell_of(prefix.first())..=self.cell_of(prefix.last());
        &mut self.cells[cells]
    }

    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> Option<Slot> {
        self.slot(hash, |bucket| bucket.find(hash, key))
    }

    /// Returns the entry of `key`.
    #[inline]
    pub(crate) fn entry_of(&self, hash: u32, key: &[u8]) -> Option<&Entry> {
        let bucket = &self.buckets[self.bucket_of(hash)];
        bucket.entries().get(bucket.find(hash, key)?)
    }

    /// Returns the slot of the entry with this node in the eviction queues.
    pub(crate) fn find_node(&self, hash: u32, node: u32) -> Option<Slot> {
        self.slot(hash, |bucket| {
            bucket.entries().iter().position(|entry| entry.node() == node)
        })
    }

    /// Returns the slot that `find` finds in the bucket of a hash.
    #[inline]
    fn slot(&self, hash: u32, find: impl FnOnce(&Bucket) -> Option<usize>) -> Option<Slot> {
        let bucket = self.bucket_of(hash);
        let at = find(&self.buckets[bucket])?;
        Some(Slot {
            bucket: number(bucket),
            at: number(at),
        })
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot) -> Option<&Entry> {
        self.buckets.get(slot.bucket as usize)?.entries().get(slot.at as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Entry> {
        self.buckets.get_mut(slot.bucket as usize)?.entry_mut(slot.at as usize)
    }

    /// Sets the deadline of the entry in a slot, and returns the entry with its old deadline.
    #[inline]
    pub(crate) fn set_deadline_at(&mut self, slot: Slot, deadline: Deadline) -> Option<(&mut Entry, Deadline)> {
        let bucket = self.buckets.get_mut(slot.bucket as usize)?;
        // Written only if necessary, so that the bucket's cache line stays shared among the
        // processors.
        if deadline < bucket.earliest {
            bucket.earliest = deadline;
        }
        let entry = bucket.entry_mut(slot.at as usize)?;
        let old = std::mem::replace(&mut entry.deadline, deadline);
        Some((entry, old))
    }

    /// Adds an entry. Its key must not exist.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let mut bucket = self.bucket_of(entry.hash);
        while self.buckets[bucket].len() >= BUCKET_CAPACITY && self.split(bucket) {
            bucket = self.bucket_of(entry.hash);
        }
        self.change(bucket, |bucket| bucket.push(entry));
    }

    /// Modifies a bucket and updates the totals.
    fn change<T>(&mut self, at: usize, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let bucket = &mut self.buckets[at];
        let (len, bytes) = (bucket.len(), bucket.footprint());
        let answer = change(bucket);
        self.len = self.len + bucket.len() - len;
        self.bucket_bytes = self.bucket_bytes + bucket.footprint() - bytes;
        answer
    }

    /// Splits a bucket by the next bit of the hashes. Returns `false` if the hashes share too many
    /// bits for a split to help.
    fn split(&mut self, at: usize) -> bool {
        let Some((low, high)) = self.prefixes[at].halves() else {
            return false;
        };
        if high.bits() > 32 - self.shift {
            if self.cells.len() * 2 > MAX_CELLS * self.buckets.len() {
                return false;
            }
            self.cells = self.cells.iter().flat_map(|&bucket| [bucket; 2]).collect();
            self.shift -= 1;
        }
        let bucket = &mut self.buckets[at];
        let before = bucket.footprint();
        let mut other = Bucket::default();
        bucket.move_into(&mut other, |entry| entry.hash >= high.first());
        self.bucket_bytes = self.bucket_bytes + bucket.footprint() + other.footprint() - before;
        let new = number(self.buckets.len());
        self.cells_of(high).fill(new);
        if self.buckets.len() == self.buckets.capacity() {
            let more = self.buckets.len() / 8 + 1;
            self.buckets.reserve_exact(more);
            self.prefixes.reserve_exact(more);
        }
        self.buckets.push(other);
        self.prefixes[at] = low;
        self.prefixes.push(high);
        true
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Entry> {
        let hash = self.get(slot)?.hash;
        let removed = self.change(slot.bucket as usize, |bucket| {
            let removed = bucket.remove(slot.at as usize);
            drop(bucket.shrink());
            removed
        });
        while self.merge(self.bucket_of(hash)).is_some() {}
        removed
    }

    /// Merges a bucket with its sibling if both are nearly empty. Returns the memory of the bucket
    /// that is gone, for the caller to drop.
    fn merge(&mut self, at: usize) -> Option<Vec<Entry>> {
        let len = self.buckets[at].len();
        let (whole, other) = self.prefixes[at].whole().filter(|_| len <= MERGED)?;
        let from = self.bucket_of(other.first());
        if self.prefixes[from] != other || len + self.buckets[from].len() > MERGED {
            return None;
        }
        let gone = std::mem::take(&mut self.buckets[from]);
        let bucket = &mut self.buckets[at];
        let before = gone.footprint() + bucket.footprint();
        let buffer = bucket.absorb(gone);
        self.prefixes[at] = whole;
        self.bucket_bytes = self.bucket_bytes + bucket.footprint() - before;
        self.cells_of(whole).fill(number(at));
        // The last bucket moves into the vacated place.
        self.buckets.swap_remove(from);
        self.prefixes.swap_remove(from);
        if let Some(&moved) = self.prefixes.get(from) {
            self.cells_of(moved).fill(number(from));
        }
        if self.buckets.capacity() > 16 && self.buckets.len() < self.buckets.capacity() / 4 {
            self.buckets.shrink_to(self.buckets.len() * 2);
            self.prefixes.shrink_to(self.buckets.len() * 2);
        }
        self.shrink_directory();
        Some(buffer)
    }

    /// Halves the directory while no bucket needs the last bit of its prefixes. Works in place,
    /// because the shard is locked and an allocation can wait for another thread.
    fn shrink_directory(&mut self) {
        let has_twins = |directory: &[u32]| directory.as_chunks().0.iter().all(|[one, other]| one == other);
        let before = self.cells.len();
        while self.cells.len() > 1 && has_twins(&self.cells) {
            let half = self.cells.len() / 2;
            for at in 1..half {
                self.cells[at] = self.cells[2 * at];
            }
            self.cells.truncate(half);
            self.shift += 1;
        }
        if self.cells.len() < before {
            self.cells.shrink_to_fit();
        }
    }

    /// Returns the bucket of the hash `from`, and the first hash after that bucket, or `None` if
    /// the bucket is the last.
    pub(crate) fn at(&self, from: u32) -> (&Bucket, Option<u32>) {
        let at = self.bucket_of(from);
        (&self.buckets[at], self.prefixes[at].last().checked_add(1))
    }

    /// Moves the expired entries of the bucket of the hash `from` into `garbage`.
    pub(crate) fn remove_expired(&mut self, from: u32, is_past: impl Fn(Deadline) -> bool, garbage: &mut Garbage) {
        self.change(self.bucket_of(from), |bucket| {
            // Backwards, so that the entry moved into the place of a removed entry has already been
            // checked.
            for at in (0..bucket.len()).rev() {
                if bucket.entries().get(at).is_some_and(|entry| is_past(entry.deadline)) {
                    garbage.entries.extend(bucket.remove(at));
                }
            }
            garbage.buffers.extend(bucket.shrink());
            bucket.refresh_earliest();
        });
        while let Some(buffer) = self.merge(self.bucket_of(from)) {
            garbage.buffers.push(buffer);
        }
    }

    /// Returns a lower bound of the entries' deadlines.
    pub(crate) fn earliest(&self) -> Deadline {
        let ends = self.buckets.iter().map(|bucket| bucket.earliest);
        ends.min().unwrap_or(Deadline::NEVER)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns how many bytes have been requested from the allocator.
    pub(crate) fn footprint(&self) -> usize {
        let bucket = self.buckets.capacity() * size_of::<Bucket>() + self.prefixes.capacity() * size_of::<Prefix>();
        self.cells.capacity() * size_of::<u32>() + bucket + self.bucket_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::index::value::Value;

    fn entry(hash: u32, key: &str, deadline: Deadline) -> Entry {
        Entry::new(hash, key, Value::packed(key.as_bytes()), deadline, hash)
    }

    fn filled(keys: &BTreeMap<String, u32>) -> Directory {
        let mut directory = Directory::default();
        for (key, &hash) in keys {
            assert_eq!(directory.find(hash, key.as_bytes()), None);
            directory.insert(entry(hash, key, Deadline::NEVER));
            assert!(directory.cells.len() <= MAX_CELLS * directory.buckets.len());
            let most = directory.buckets.len() + directory.buckets.len() / 8 + 1;
            assert!(directory.buckets.capacity() <= most && directory.prefixes.capacity() <= most);
            assert_sound(&directory);
        }
        directory
    }

    /// Returns keys with well-distributed hashes.
    fn spread(count: u32) -> BTreeMap<String, u32> {
        let mix = |number: u32| {
            let number = number.wrapping_mul(0x9E37_79B9);
            (number ^ number >> 15).wrapping_mul(0x85EB_CA6B)
        };
        let hashes = (0..count).map(|number| mix(number) ^ mix(number) >> 13);
        hashes.map(|hash| (format!("key {hash}"), hash)).collect()
    }

    /// Lists with at most this capacity are not shrunk.
    const FEW: usize = 16;

    fn remove(directory: &mut Directory, key: &str, hash: u32) {
        let slot = directory.find(hash, key.as_bytes()).unwrap();
        assert_eq!(directory.get(slot).unwrap().key(), key.as_bytes());
        let buffers = |directory: &Directory| [directory.buckets.capacity(), directory.prefixes.capacity()];
        let before = buffers(directory);
        assert_eq!(directory.remove(slot).unwrap().key(), key.as_bytes());
        for (before, after) in before.into_iter().zip(buffers(directory)) {
            // Memory is freed once three quarters of it are unused, and half of it is then kept.
            assert!(
                after == before || (before > FEW && after / 2 < before / 4 && after >= 2 * directory.buckets.len())
            );
            assert!(after <= FEW || directory.buckets.len() >= after / 4);
        }
        assert_eq!(directory.find(hash, key.as_bytes()), None);
        assert_sound(directory);
    }

    fn assert_sound(directory: &Directory) {
        assert_eq!(directory.cells.len(), 1 << (32 - directory.shift));
        assert_eq!(directory.buckets.len(), directory.prefixes.len());
        let deepest = directory.prefixes.iter().map(|prefix| prefix.bits()).max();
        assert_eq!(deepest, Some(32 - directory.shift));
        let (mut len, mut bytes, mut cells) = (0, 0, 0);
        for (at, (bucket, prefix)) in directory.buckets.iter().zip(&directory.prefixes).enumerate() {
            for cell in directory.cell_of(prefix.first())..=directory.cell_of(prefix.last()) {
                assert_eq!(directory.cells[cell] as usize, at);
                cells += 1;
            }
            if let Some((_, other)) = prefix.whole() {
                let from = directory.bucket_of(other.first());
                assert!(directory.prefixes[from] != other || bucket.len() + directory.buckets[from].len() > 10);
            }
            for entry in bucket.entries() {
                assert!((prefix.first()..=prefix.last()).contains(&entry.hash));
                assert!(bucket.earliest <= entry.deadline);
            }
            len += bucket.len();
            bytes += bucket.footprint();
        }
        assert_eq!(
            (directory.len, directory.bucket_bytes, directory.cells.len()),
            (len, bytes, cells)
        );
        let lists =
            directory.cells.capacity() * 4 + directory.buckets.capacity() * 64 + directory.prefixes.capacity() * 4;
        assert_eq!(directory.footprint(), lists + bytes);
    }

    /// Returns the keys that a walk visits, sorted.
    fn walk(directory: &Directory) -> Vec<String> {
        let (mut keys, mut from) = (Vec::new(), Some(0));
        while let Some(hash) = from {
            let (bucket, next) = directory.at(hash);
            let keys_here = bucket
                .entries()
                .iter()
                .map(|entry| String::from_utf8_lossy(entry.key()).into_owned());
            keys.extend(keys_here);
            from = next;
        }
        keys.sort();
        keys
    }

    #[test]
    fn a_directory_grows_and_shrinks() {
        let mut keys = spread(3000);
        let mut directory = filled(&keys);
        // The buckets are neither nearly empty nor too full.
        assert!(
            (3000 / BUCKET_CAPACITY..3000 / 10).contains(&directory.buckets.len()),
            "{}",
            directory.buckets.len()
        );
        assert!(directory.buckets.iter().all(|bucket| bucket.len() <= BUCKET_CAPACITY));
        assert!(directory.buckets.capacity() <= directory.buckets.len() * 9 / 8 + 1);
        while let Some((key, hash)) = keys.pop_first() {
            remove(&mut directory, &key, hash);
            if keys.len().is_multiple_of(500) {
                assert_eq!(walk(&directory), keys.keys().cloned().collect::<Vec<_>>());
                assert!(
                    keys.iter()
                        .all(|(key, &hash)| directory.entry_of(hash, key.as_bytes()).is_some())
                );
                assert!(directory.buckets.iter().all(|bucket| bucket.len() <= BUCKET_CAPACITY));
            }
        }
        assert_eq!(
            (directory.buckets.len(), directory.cells.len(), directory.len()),
            (1, 1, 0)
        );
        assert!(directory.footprint() < 4096);
    }

    #[test]
    fn keys_whose_hashes_are_the_same_are_told_apart() {
        for bits in [0, 3, 6] {
            let hashes = (0..200_u32).map(|number| 0x7654_3210 ^ number & ((1 << bits) - 1));
            let mut keys: BTreeMap<String, u32> = hashes
                .enumerate()
                .map(|(at, hash)| (format!("key {at}"), hash))
                .collect();
            let mut directory = filled(&keys);
            assert!(bits > 0 || directory.cells.len() * 2 > MAX_CELLS * directory.buckets.len());
            assert!(directory.footprint() < 200 * 200, "{}", directory.footprint());
            assert_eq!(walk(&directory), keys.keys().cloned().collect::<Vec<_>>());
            while let Some((key, hash)) = keys.pop_last() {
                remove(&mut directory, &key, hash);
                assert!(
                    keys.iter()
                        .all(|(key, &hash)| directory.find(hash, key.as_bytes()).is_some())
                );
            }
            assert_eq!((directory.buckets.len(), directory.cells.len()), (1, 1));
        }
    }

    #[test]
    fn what_has_ended_is_taken_out_of_a_block_at_once() {
        let second = |seconds| Deadline::after(Duration::from_secs(seconds), Duration::ZERO);
        let mut directory = Directory::default();
        for number in 0..number(BUCKET_CAPACITY) {
            directory.insert(entry(
                number << 16,
                &format!("key {number}"),
                second(u64::from(number % 4)),
            ));
        }
        assert_eq!(directory.earliest(), second(0));
        let now = Duration::from_secs(1);
        let mut garbage = Garbage::default();
        directory.remove_expired(7, |end| end.is_past(now), &mut garbage);
        assert_eq!((garbage.entries.len(), garbage.buffers.len()), (BUCKET_CAPACITY / 2, 0));
        assert!(garbage.entries.iter().all(|entry| entry.deadline.is_past(now)));
        assert_sound(&directory);
        assert_eq!(
            (directory.len(), directory.earliest()),
            (BUCKET_CAPACITY / 2, second(2))
        );
        directory.remove_expired(7, |end| end.is_past(now), &mut garbage);
        assert_eq!((garbage.entries.len(), garbage.buffers.len()), (BUCKET_CAPACITY / 2, 0));
        directory.remove_expired(7, |end| !end.is_never(), &mut garbage);
        // The caller gets the bucket's memory.
        assert_eq!((garbage.entries.len(), garbage.buffers.len()), (BUCKET_CAPACITY, 1));
        assert!(
            garbage
                .buffers
                .iter()
                .all(|room| room.is_empty() && room.capacity() > 0)
        );
        assert_eq!(
            (directory.len(), directory.earliest(), directory.bucket_bytes),
            (0, Deadline::NEVER, 0)
        );
    }

    #[test]
    fn a_sweep_hands_the_memory_of_merged_buckets_to_the_caller() {
        let keys = spread(200);
        let mut directory = filled(&keys);
        let (buckets, bytes) = (directory.buckets.len(), directory.bucket_bytes);
        let end = Deadline::after_nanos(1, 0);
        for (key, &hash) in keys.iter().skip(5) {
            let slot = directory.find(hash, key.as_bytes()).unwrap();
            directory.set_deadline_at(slot, end);
        }
        let mut garbage = Garbage::default();
        let mut from = Some(0);
        while let Some(hash) = from {
            directory.remove_expired(hash, |deadline| deadline == end, &mut garbage);
            assert_sound(&directory);
            from = directory.at(hash).1;
        }
        assert_eq!((directory.len(), garbage.entries.len()), (5, 195));
        assert!(directory.buckets.len() < buckets && directory.bucket_bytes < bytes);
        assert!(garbage.buffers.len() >= buckets - directory.buckets.len());
        assert!(garbage.buffers.iter().all(Vec::is_empty));
    }

    #[test]
    fn an_entry_is_found_by_its_seat_and_given_another_end() {
        let keys = spread(100);
        let mut directory = filled(&keys);
        for (key, &hash) in &keys {
            let slot = directory.find(hash, key.as_bytes()).unwrap();
            let node = directory.get(slot).unwrap().node();
            assert_eq!(directory.find_node(hash, node), Some(slot));
            assert_eq!(directory.find_node(hash, node ^ 1), None);
            let (end, other) = (Deadline::after_nanos(5, 5), Deadline::after_nanos(1, 1));
            assert_eq!(directory.set_deadline_at(slot, end).unwrap().1, Deadline::NEVER);
            assert_eq!(directory.set_deadline_at(slot, other).unwrap().1, end);
            assert_sound(&directory);
        }
    }
}
