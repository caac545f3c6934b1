//! The ordering of fills and changes of the same key.
//!
//! Keys share buckets by their hash, which bounds the memory. A bucket does not distinguish its
//! keys. Sharing sometimes refuses a fill, but never keeps a wrong answer. A bucket's lock is held
//! while the entry of a key is put or removed, so that a fill and a change of the same key never
//! overlap.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The number of buckets. With 64 concurrent writes, one read in 64 shares a bucket with a write.
const BUCKETS: usize = 4096;

#[derive(Debug)]
pub(super) struct Buckets {
    buckets: Box<[Mutex<Bucket>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Incremented by each change, each write and each read that bypasses the memory.
    pub(super) generation: u64,
    /// The number of writes in flight.
    pub(super) writes: u32,
    /// The time until which no answer is kept, because the outcome of a write is unknown.
    pub(super) quiet_until: u64,
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Returns the index of the bucket of `key`.
    pub(super) fn place(&self, key: &str) -> usize {
        let hash = self.hasher.hash_one(key);
        // The remainder always fits.
        usize::try_from(hash % BUCKETS as u64).unwrap_or_default()
    }

    /// Locks the bucket at an index. No caller locks two buckets at the same time.
    pub(super) fn at(&self, place: usize) -> MutexGuard<'_, Bucket> {
        // Every change is a single assignment, so a panic elsewhere leaves no partial change.
        self.buckets[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the bucket of `key`.
    pub(super) fn of(&self, key: &str) -> MutexGuard<'_, Bucket> {
        self.at(self.place(key))
    }
}
