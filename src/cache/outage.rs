//! Reads during an outage of the backend.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use codex_traits::ErrorKind;
use indexmap::IndexMap;

use super::CacheError;

/// The result of a read while the backend cannot be reached; see
/// [`CacheBuilder::on_outage`](crate::CacheBuilder::on_outage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// A read is a miss.
    Miss,
    /// A read returns the value that this process last saw, regardless of its age. If the process
    /// has seen no value, the read is a miss.
    ///
    /// The cache keeps up to 1,000 values of at most 16 KiB each: values that were read, and values
    /// that were written by a verb other than `incr` and `incr_version`, or by a loader.
    Stale,
}

/// The maximum number of values that [`Outage::Stale`] keeps.
const MAX_VALUES: usize = 1000;
const MAX_LENGTH: usize = 16 << 10;

pub(super) struct OutagePolicy {
    /// `None` under [`Outage::Miss`].
    seen: Option<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    values: IndexMap<String, Bytes>,
    /// The next value to evict.
    hand: usize,
}

impl OutagePolicy {
    pub(super) fn new(outage: Outage) -> Self {
        Self {
            seen: (outage == Outage::Stale).then(Mutex::default),
        }
    }

    /// Returns the value of `key` that this process last saw.
    pub(super) fn last(&self, key: &str) -> Option<Bytes> {
        lock(self.seen.as_ref()?).values.get(key).cloned()
    }

    pub(super) fn saw(&self, key: &str, value: Option<&Bytes>) {
        let Some(seen) = &self.seen else { return };
        let mut seen = lock(seen);
        let Some(value) = value.filter(|value| value.len() <= MAX_LENGTH) else {
            seen.values.swap_remove(key);
            return;
        };
        if let Some(old) = seen.values.get_mut(key) {
            *old = value.clone();
            return;
        }
        if seen.values.len() >= MAX_VALUES {
            let hand = seen.hand % seen.values.len();
            // The last value moves into the freed slot, and the hand advances past it.
            seen.values.swap_remove_index(hand);
            seen.hand = hand + 1;
        }
        seen.values.insert(key.to_owned(), value.clone());
    }

    pub(super) fn forget_all(&self) {
        if let Some(seen) = &self.seen {
            lock(seen).values.clear();
        }
    }
}

/// Locks the values. A panic leaves the map consistent, so poisoning is ignored.
fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CacheError {
    /// Returns whether the backend could not be reached, did not answer or refused the request.
    pub(super) fn is_outage(&self) -> bool {
        let Self::Backend(error) = self else { return false };
        matches!(
            error.kind(),
            ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Server
        )
    }
}
