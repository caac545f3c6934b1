//! Computed values that are not stored yet, and the writes that make them outdated.
//!
//! A computation registers a [`Fill`] before its last read of the store. A verb that removes or
//! replaces values marks the fills of its keys before it calls the backend, and afterwards marks
//! the fills that were registered in the meantime. A marked fill stores nothing.
//!
//! Marking alone leaves one race: the fill checks its mark, the verb marks and removes, and then
//! the fill's write arrives. A fill therefore holds a lock while it writes, and the verb waits for
//! that lock. The task that holds the lock may no longer be polled, so the verb waits for at most
//! the cache's `max_wait`. If the wait times out, the fill finds the mark after its write and
//! removes the value again.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::timer::within;

/// The fills of a cache and its clones.
#[derive(Default)]
pub(super) struct Fills {
    /// The number of fills in `by_key`. A verb takes no lock while it is zero.
    count: AtomicUsize,
    by_key: Mutex<HashMap<String, Vec<Arc<Mark>>>>,
}

#[derive(Default)]
struct Mark {
    outdated: AtomicBool,
    /// Held while the value is written.
    writing: tokio::sync::Mutex<()>,
}

impl Fills {
    /// Registers a computation whose result will be stored under `key`.
    pub(super) fn begin(self: &Arc<Self>, key: &str) -> Fill {
        let mark = Arc::new(Mark::default());
        // Count before inserting: a verb that reads zero must have begun before this fill.
        self.count.fetch_add(1, Ordering::SeqCst);
        self.lock().entry(key.to_owned()).or_default().push(Arc::clone(&mark));
        Fill {
            fills: Arc::clone(self),
            key: key.to_owned(),
            mark,
        }
    }

    /// Marks the fills of `keys` and waits for those that are writing. Fills that are registered
    /// before the returned guard is dropped are marked too.
    pub(super) async fn outdate<'a>(&'a self, max_wait: Duration, keys: Keys<'a>) -> Outdating<'a> {
        // Created first, so that a cancelled call still marks the fills.
        let outdating = Outdating { fills: self, keys };
        let marks = outdating.mark();
        if !marks.is_empty() {
            // One limit for all of them: several fills may be stuck.
            let _ = within(max_wait, all_written(&marks)).await;
        }
        outdating
    }

    /// Locks the map. The lock is never held across an await or a caller's code. A panic while it
    /// is held leaves at most one stale fill, whose only cost is that every verb takes the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Arc<Mark>>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the fills that are writing.
async fn all_written(marks: &[Arc<Mark>]) {
    for mark in marks {
        drop(mark.writing.lock().await);
    }
}

/// The stored keys that a verb removes or replaces.
pub(super) enum Keys<'a> {
    One(&'a str),
    Many(&'a [&'a str]),
    Prefix(&'a str),
    All,
}

/// The guard of a verb that removes or replaces values, held from before its call to the backend
/// until the answer arrives.
pub(super) struct Outdating<'a> {
    fills: &'a Fills,
    keys: Keys<'a>,
}

impl Outdating<'_> {
    fn mark(&self) -> Vec<Arc<Mark>> {
        if self.fills.count.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let by_key = self.fills.lock();
        let of_key = |key: &str| by_key.get(key).into_iter().flatten();
        let marks: Vec<_> = match self.keys {
            Keys::One(key) => of_key(key).cloned().collect(),
            Keys::Many(keys) => keys.iter().flat_map(|key| of_key(key)).cloned().collect(),
            Keys::Prefix(prefix) => {
                let affected = by_key.iter().filter(|(key, _)| key.starts_with(prefix));
                affected.flat_map(|(_, marks)| marks).cloned().collect()
            }
            Keys::All => by_key.values().flatten().cloned().collect(),
        };
        for mark in &marks {
            mark.outdated.store(true, Ordering::SeqCst);
        }
        marks
    }
}

impl Drop for Outdating<'_> {
    fn drop(&mut self) {
        self.mark();
    }
}

/// A computation whose result will be stored.
pub(super) struct Fill {
    fills: Arc<Fills>,
    key: String,
    mark: Arc<Mark>,
}

impl Fill {
    /// Runs `write` unless the result is outdated, and then `take_back` if it became outdated
    /// during the write. Returns `None` if the result was outdated and is therefore not stored.
    pub(super) async fn write<T>(
        &self,
        write: impl Future<Output = T>,
        take_back: impl Future<Output = ()>,
    ) -> Option<T> {
        let _writing = self.mark.writing.lock().await;
        if self.is_outdated() {
            return None;
        }
        let written = write.await;
        if self.is_outdated() {
            take_back.await;
            return None;
        }
        Some(written)
    }

    pub(super) fn is_outdated(&self) -> bool {
        self.mark.outdated.load(Ordering::SeqCst)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        let mut by_key = self.fills.lock();
        if let Some(marks) = by_key.get_mut(&self.key) {
            marks.retain(|mark| !Arc::ptr_eq(mark, &self.mark));
            if marks.is_empty() {
                by_key.remove(&self.key);
            }
        }
        self.fills.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        sync::Arc,
        time::Duration,
    };

    use futures_util::FutureExt as _;

    use super::{Fill, Fills, Keys};

    #[tokio::test(start_paused = true)]
    async fn stuck_writes_delay_a_verb_by_one_limit() {
        let fills = Arc::new(Fills::default());
        let begun: Vec<_> = (0..5).map(|at| fills.begin(&at.to_string())).collect();
        let mut stuck: Vec<_> = begun
            .iter()
            .map(|fill| Box::pin(fill.write(pending::<()>(), ready(()))))
            .collect();
        for write in &mut stuck {
            assert!(write.as_mut().now_or_never().is_none());
        }
        let limit = Duration::from_secs(10);
        let started = tokio::time::Instant::now();
        drop(fills.outdate(limit, Keys::All).await);
        let waited = started.elapsed();
        assert!(waited >= limit && waited < limit * 2, "{waited:?}");
        assert!(begun.iter().all(Fill::is_outdated));
    }
}
