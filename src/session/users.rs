//! A bounded memory of which user a session key had, so that a session and its user's generation
//! are asked for together.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::SessionKey;

const SHARDS: usize = 16;

/// The number of entries that a shard takes in before it forgets those that were not asked for.
const PER_SHARD: usize = 2_048;

/// Longer names are not remembered, so that the whole takes some 10 MB at most: twice 16 × 2,048
/// entries.
const LONGEST_USER: usize = 128;

/// Its answer is a guess that the caller verifies. It holds hashes of session keys and no key.
pub(super) struct UserMemory {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

/// Entries that were asked for or put in since `recent` was last full are in it; earlier ones are
/// in `older`.
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
        // The low bits choose the place within a map.
        let shard = &self.shards[(hash >> 60) as usize % SHARDS];
        // Nothing is left half done in a shard, whoever panicked.
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
                "it is asked for all the time"
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
