//! The order of fills and changes of a key.
//!
//! Keys share buckets by their hash, so that the memory is bounded. A bucket does not distinguish
//! its keys. This sometimes refuses a fill, and never keeps a wrong answer. A bucket's lock is held
//! while the entry of a key is put or removed, so that a fill and a change of the same key never
//! overlap.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The number of buckets. With 64 writes at the same time, one read in 64 shares a bucket with a
/// write.
const BUCKETS: usize = 4096;

#[derive(Debug)]
pub(super) struct Buckets {
    buckets: Box<[Mutex<Bucket>]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Raised by each change, each write and each read that bypassed the memory.
    pub(super) generation: u64,
    /// The number of writes in flight.
    pub(super) writes: u32,
    /// The time until which nothing is kept, because a write ended without an answer.
    pub(super) quiet_until: u64,
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Returns the place of the bucket of `key`.
    pub(super) fn place(&self, key: &str) -> usize {
        let hash = self.hasher.hash_one(key);
        // The remainder fits.
        usize::try_from(hash % BUCKETS as u64).unwrap_or_default()
    }

    /// Locks the bucket in a place. Two buckets are never locked at the same time.
    pub(super) fn at(&self, place: usize) -> MutexGuard<'_, Bucket> {
        // Every change is one assignment, so a panic elsewhere leaves no partial change.
        self.buckets[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the bucket of `key`.
    pub(super) fn of(&self, key: &str) -> MutexGuard<'_, Bucket> {
        self.at(self.place(key))
    }
}
