//! A bounded memory of the users of session keys, which lets a session and its user's generation be
//! read together.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::SessionKey;

const SHARDS: usize = 16;

/// The capacity of each half of a shard. When the recent half is full, the older half is dropped.
const PER_SHARD: usize = 2_048;

/// The longest remembered user id, in bytes. It bounds the memory to about 10 MB: twice 16 × 2,048
/// entries.
const LONGEST_USER: usize = 128;

/// A map from session keys to users. It stores hashes of the keys, not the keys. The caller must
/// verify its results.
pub(super) struct UserMemory {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

/// Two halves of a shard. `recent` holds the entries that were used or added since it was last
/// full, and `older` holds the entries before that.
#[derive(Default)]
struct Shard {
    recent: HashMap<u64, Arc<str>>,
    older: HashMap<u64, Arc<str>>,
}

impl UserMemory {
    pub(super) fn new() -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, key: &SessionKey) -> Option<Arc<str>> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        if let Some(user) = shard.recent.get(&hash) {
            return Some(user.clone());
        }
        let user = shard.older.remove(&hash)?;
        shard.insert(hash, user.clone());
        Some(user)
    }

    pub(super) fn remember(&self, key: &SessionKey, user: &str) {
        if user.len() > LONGEST_USER {
            return self.forget(key);
        }
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        if shard.recent.get(&hash).is_none_or(|known| **known != *user) {
            shard.insert(hash, user.into());
        }
    }

    pub(super) fn forget(&self, key: &SessionKey) {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.shard(hash);
        shard.recent.remove(&hash);
        shard.older.remove(&hash);
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The high bits choose the shard, because the low bits choose the bucket within a map.
        let shard = &self.shards[(hash >> 60) as usize % SHARDS];
        // A panic leaves no shard inconsistent, so a poisoned lock is used as it is.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn insert(&mut self, hash: u64, user: Arc<str>) {
        if self.recent.len() >= PER_SHARD {
            self.older = mem::take(&mut self.recent);
        }
        self.recent.insert(hash, user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> SessionKey {
        format!("{number:032}").parse().unwrap()
    }

    #[test]
    fn what_is_asked_for_is_kept_and_the_rest_is_bounded() {
        let memory = UserMemory::new();
        for number in 0..200_000 {
            memory.remember(&key(number), &number.to_string());
            assert_eq!(
                memory.get(&key(0)).as_deref(),
                Some("0"),
                "a key that is in constant use"
            );
        }
        let held = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.recent.len() + shard.older.len()
        };
        let held: usize = memory.shards.iter().map(held).sum();
        assert!(
            (SHARDS * PER_SHARD / 2..=2 * SHARDS * PER_SHARD).contains(&held),
            "{held}"
        );
        assert_eq!(memory.get(&key(1)), None);
        assert_eq!(memory.get(&key(199_999)).as_deref(), Some("199999"));
    }

    #[test]
    fn the_last_user_of_a_key_counts() {
        let memory = UserMemory::new();
        memory.remember(&key(1), "ada");
        memory.remember(&key(1), "bob");
        assert_eq!(memory.get(&key(1)).as_deref(), Some("bob"));
        memory.remember(&key(1), &"x".repeat(LONGEST_USER + 1));
        assert_eq!(memory.get(&key(1)), None);
        memory.remember(&key(1), "ada");
        memory.forget(&key(1));
        assert_eq!(memory.get(&key(1)), None);
    }
}
