//! The thread that gives back the memory of what expired unread.
//!
//! There is one for all stores of the process that run on the system's clock. It starts with the
//! first entry that has an end and waits, without waking up, while there is none. Ten times a
//! second, as often as Redis looks, it removes what has ended since: 63 entries under one hold of a
//! shard's lock at most, and a pause after each fifth of a millisecond, so that it never holds up a
//! call and takes half of a processor at most.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::{store::Store, sync::Ordering};

const PERIOD: Duration = Duration::from_millis(100);
const WORK: Duration = Duration::from_micros(200);
const PAUSE: Duration = Duration::from_micros(200);

struct Watched {
    stores: Vec<Weak<Store>>,
    is_running: bool,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched {
    stores: Vec::new(),
    is_running: false,
});
static MORE: Condvar = Condvar::new();

fn watched() -> MutexGuard<'static, Watched> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To be called after an entry was given an end.
#[inline]
pub(crate) fn watch(store: &Arc<Store>) {
    if !store.is_watched.load(Ordering::Acquire) {
        enlist(store);
    }
}

#[cold]
fn enlist(store: &Arc<Store>) {
    if store.is_watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let mut watched = watched();
    if !watched.is_running {
        let thread = thread::Builder::new().name("codex-memory-reclaim".to_owned());
        watched.is_running = thread.spawn(run).is_ok();
    }
    if watched.is_running {
        watched.stores.push(Arc::downgrade(store));
        MORE.notify_one();
    } else {
        // No thread is to be had: writes do the work then.
        store.writers_sweep.store(true, Ordering::Relaxed);
    }
}

fn run() {
    loop {
        let mut waiting = watched();
        while waiting.stores.is_empty() {
            waiting = MORE.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let stores = std::mem::take(&mut waiting.stores);
        drop(waiting);
        let mut pace = Pace(Instant::now());
        let still = stores.into_iter().filter(|store| {
            // A value's owner may panic in its `Drop`. That is no reason to serve the others no
            // more.
            let pass = AssertUnwindSafe(|| pass(store, &mut pace));
            catch_unwind(pass).unwrap_or(true)
        });
        let still: Vec<_> = still.collect();
        watched().stores.extend(still);
        thread::sleep(PERIOD);
    }
}

/// Clears one store once, and answers whether it is to be looked at again.
fn pass(store: &Weak<Store>, pace: &mut Pace) -> bool {
    // Not held from one pass to the next: a store ends with its last handle.
    let Some(store) = store.upgrade() else {
        return false;
    };
    for shard in 0..store.shards.len() {
        store.reclaim_shard(shard, || pace.keep());
    }
    store.has_mortals() || !retire(&store)
}

/// Watches a store no more, and answers whether it is off the list: not where something has an end
/// in it all the same, which a write has brought meanwhile. One that found the store unwatched has
/// listed it anew.
fn retire(store: &Store) -> bool {
    store.is_watched.store(false, Ordering::Release);
    // A write that has not seen the line above is seen here, because the lock of its shard lies in
    // between.
    !store.has_mortals() || store.is_watched.swap(true, Ordering::AcqRel)
}

/// When the thread last paused.
struct Pace(Instant);

impl Pace {
    fn keep(&mut self) {
        if self.0.elapsed() >= WORK {
            thread::sleep(PAUSE);
            self.0 = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use codex_traits::SetOptions;

    use super::*;
    use crate::clock::{ManualClock, TimeSource};

    /// A store that the thread does not know, with its clock.
    fn store() -> (Arc<Store>, ManualClock) {
        let clock = ManualClock::new();
        let store = Store::new(TimeSource::Given(Box::new(clock.clone())), None);
        (Arc::new(store), clock)
    }

    fn is_watched(store: &Store) -> bool {
        store.is_watched.load(Ordering::Acquire)
    }

    fn put_mortal(store: &Store) {
        let options = SetOptions::expires_after(Duration::from_secs(1));
        assert!(store.set("k", "v".into(), &options).is_ok());
    }

    #[test]
    fn a_store_is_watched_while_something_in_it_has_an_end() {
        let (store, clock) = store();
        put_mortal(&store);
        let (weak, mut pace) = (Arc::downgrade(&store), Pace(Instant::now()));
        assert!(pass(&weak, &mut pace) && is_watched(&store));
        clock.advance(Duration::from_secs(1));
        // Nothing wakes the thread for a store that has nothing to give back.
        assert!(!pass(&weak, &mut pace) && !is_watched(&store));
        assert_eq!(store.entries(), 0);
    }

    #[test]
    fn a_store_that_is_gone_is_not_looked_at_again() {
        let (store, _) = store();
        let weak = Arc::downgrade(&store);
        drop(store);
        assert!(!pass(&weak, &mut Pace(Instant::now())));
    }

    #[test]
    fn a_write_that_comes_while_a_store_is_retired_keeps_it_watched() {
        let (store, _) = store();
        put_mortal(&store);
        assert!(!retire(&store) && is_watched(&store));
    }

    #[test]
    fn there_is_a_pause_after_some_work_and_not_before() {
        let last = Instant::now();
        thread::sleep(WORK);
        let mut pace = Pace(last);
        pace.keep();
        assert!(pace.0 > last);
        let in_an_hour = Instant::now() + Duration::from_secs(3600);
        let mut pace = Pace(in_an_hour);
        pace.keep();
        assert_eq!(pace.0, in_an_hour);
    }
}
