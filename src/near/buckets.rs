//! The order of fills and changes of a key.
//!
//! Keys share buckets by their hash, so that the memory for this is bounded. Keys of one bucket are
//! taken for one another, which refuses a fill now and then and keeps nothing wrong. A bucket's
//! lock is held while the entry of a key is put or removed, so that a fill and a change of the same
//! key never overlap.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The number of buckets: with 64 writes at a time, one read in 64 shares a bucket with one of
/// them.
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
    /// Writes under way.
    pub(super) writes: u32,
    /// Until when nothing is kept, because a write ended without an answer.
    pub(super) quiet_until: u64,
}

impl Buckets {
    pub(super) fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Locks the bucket of `key`. Two are never locked at a time.
    pub(super) fn of(&self, key: &str) -> MutexGuard<'_, Bucket> {
        let hash = self.hasher.hash_one(key);
        // The remainder fits.
        let at = usize::try_from(hash % BUCKETS as u64).unwrap_or_default();
        // A panic elsewhere has left no change half done: each is one assignment.
        self.buckets[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
