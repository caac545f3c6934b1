//! Buckets: the entries whose hashes share a prefix.

use wide::u8x16;

use crate::{index::entry::Entry, time::deadline::Deadline};

/// The maximum number of entries in a bucket. Only entries with almost equal hashes can exceed it.
pub(crate) const BUCKET_CAPACITY: usize = 32;

/// The number of fingerprints compared at once.
const LANES: usize = 16;

/// The memory of a bucket grows by this many entries.
const STEP: usize = 4;

/// Entries in no particular order. The bucket itself is one cache line, the only one that a lookup
/// reads before the entry.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Bucket {
    /// The fingerprints of the first [`BUCKET_CAPACITY`] entries: the lowest byte of each hash.
    fingerprints: [[u8; LANES]; BUCKET_CAPACITY / LANES],
    entries: Vec<Entry>,
    /// No entry of the bucket expires before this.
    pub(crate) earliest: Deadline,
}

#[inline]
fn fingerprint(hash: u32) -> u8 {
    hash.to_le_bytes()[0]
}

impl Bucket {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, at: usize) -> Option<&mut Entry> {
        self.entries.get_mut(at)
    }

    /// Returns the index of the entry of `key`.
    #[inline]
    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> Option<usize> {
        let is_it = |entry: &Entry| entry.hash == hash && entry.key() == key;
        let mut alike = self.with_fingerprint(fingerprint(hash));
        while alike != 0 {
            let at = alike.trailing_zeros() as usize;
            if self.entries.get(at).is_some_and(is_it) {
                return Some(at);
            }
            alike &= alike - 1;
        }
        if self.entries.len() <= BUCKET_CAPACITY {
            return None;
        }
        self.entries.iter().position(is_it)
    }

    /// Returns a bit mask of the first entries that have this fingerprint. Removed entries may
    /// leave bits set beyond the last entry.
    #[inline]
    fn with_fingerprint(&self, fingerprint: u8) -> u32 {
        let wanted = u8x16::splat(fingerprint);
        let same = |lanes: [u8; LANES]| u8x16::new(lanes).simd_eq(wanted).to_bitmask();
        let [first, second] = self.fingerprints;
        same(first) | same(second) << LANES
    }

    fn set_fingerprint(&mut self, at: usize, hash: u32) {
        if let Some(place) = self.fingerprints.as_flattened_mut().get_mut(at) {
            *place = fingerprint(hash);
        }
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(STEP);
        }
        self.set_fingerprint(self.entries.len(), entry.hash);
        self.earliest = self.earliest.min(entry.deadline);
        self.entries.push(entry);
    }

    /// Removes an entry, and moves the last entry into its place. Call [`shrink`](Self::shrink)
    /// afterwards.
    pub(crate) fn remove(&mut self, at: usize) -> Option<Entry> {
        if at >= self.entries.len() {
            return None;
        }
        let entry = self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            self.set_fingerprint(at, moved.hash);
        }
        Some(entry)
    }

    /// Frees unused memory, unless there is only a little. Returns the memory of an empty bucket
    /// for the caller to drop.
    pub(crate) fn shrink(&mut self) -> Option<Vec<Entry>> {
        if self.entries.is_empty() {
            return Some(std::mem::take(self).entries);
        }
        if self.entries.len() + 2 * STEP <= self.entries.capacity() {
            self.entries.shrink_to(self.entries.len() + STEP / 2);
        }
        None
    }

    /// Moves the entries for which `is_it` returns `true` into another bucket.
    pub(crate) fn move_into(&mut self, other: &mut Self, is_it: impl Fn(&Entry) -> bool) {
        for entry in std::mem::take(self).entries {
            let bucket = if is_it(&entry) { &mut *other } else { &mut *self };
            bucket.push(entry);
        }
    }

    /// Adds the entries of another bucket. Returns the smaller of the two buffers, empty, for the
    /// caller to drop.
    pub(crate) fn absorb(&mut self, mut other: Self) -> Vec<Entry> {
        // The larger buffer usually has room for all, so that nothing is allocated.
        if other.entries.capacity() > self.entries.capacity() {
            std::mem::swap(self, &mut other);
        }
        let mut entries = other.entries;
        for entry in entries.drain(..) {
            self.push(entry);
        }
        entries
    }

    /// Sets `earliest` to the earliest deadline of the entries.
    pub(crate) fn refresh_earliest(&mut self) {
        let ends = self.entries.iter().map(|entry| entry.deadline);
        self.earliest = ends.min().unwrap_or(Deadline::NEVER);
    }

    /// Returns how many bytes have been requested from the allocator for the list of entries,
    /// without their keys and values.
    pub(crate) fn footprint(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::value::Value;

    fn entry(hash: u32) -> Entry {
        Entry::new(hash, &format!("key {hash}"), Value::packed(b"v"), Deadline::NEVER, 0)
    }

    #[test]
    fn memory_grows_and_shrinks_by_a_few_entries() {
        let mut bucket = Bucket::default();
        for hash in 1..=32 {
            bucket.push(entry(hash));
            assert_eq!(
                bucket.footprint(),
                bucket.len().next_multiple_of(STEP) * size_of::<Entry>()
            );
        }
        let mut room = BUCKET_CAPACITY;
        while bucket.remove(0).is_some() {
            bucket.shrink();
            if bucket.len() + 8 == room {
                room = bucket.len() + 2;
            }
            assert!(bucket.len() + 8 > room);
            let room = if bucket.len() == 0 { 0 } else { room };
            assert_eq!(bucket.footprint(), room * size_of::<Entry>());
        }
    }

    #[test]
    fn entries_with_equal_fingerprints_are_told_apart() {
        let mut bucket = Bucket::default();
        let hashes: Vec<u32> = (0..40_u32).map(|number| (number << 8) | (number % 3)).collect();
        for &hash in &hashes {
            bucket.push(entry(hash));
        }
        for (at, &hash) in hashes.iter().enumerate() {
            assert_eq!(bucket.find(hash, format!("key {hash}").as_bytes()), Some(at));
            assert_eq!(bucket.find(hash, b"another key"), None);
            assert_eq!(bucket.find(hash ^ 1 << 31, format!("key {hash}").as_bytes()), None);
        }
        // The last entry moves, even if it has no fingerprint.
        for &hash in &hashes {
            let at = bucket.find(hash, format!("key {hash}").as_bytes());
            assert_eq!(at.and_then(|at| bucket.remove(at)).map(|entry| entry.hash), Some(hash));
        }
        assert_eq!((bucket.len(), bucket.remove(0).is_none()), (0, true));
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_bucket_is_one_cache_line() {
        assert_eq!(size_of::<Bucket>(), 64);
    }
}
