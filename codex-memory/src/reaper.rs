//! The thread that frees the memory of expired entries.
//!
//! One thread serves all stores of the process that run on the system's clock. It starts with the
//! first entry that has a deadline, and sleeps while no entry has a deadline. Ten times a second,
//! as often as Redis, it removes the entries that have expired since. It removes at most 39 entries
//! each time it locks a shard, and pauses after each 200 µs of work. It therefore hardly delays
//! calls, and takes at most half of one processor.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use crate::store::Store;

const PERIOD: Duration = Duration::from_millis(100);
const WORK: Duration = Duration::from_micros(200);
const PAUSE: Duration = Duration::from_micros(200);

struct Enlisted {
    stores: Vec<Weak<Store>>,
    is_running: bool,
}

static ENLISTED: Mutex<Enlisted> = Mutex::new(Enlisted {
    stores: Vec::new(),
    is_running: false,
});
static MORE: Condvar = Condvar::new();

fn enlisted() -> MutexGuard<'static, Enlisted> {
    ENLISTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a store to the list. Returns `false` if the thread is not running and cannot be started.
pub(crate) fn enlist(store: Weak<Store>) -> bool {
    let mut enlisted = enlisted();
    if !enlisted.is_running {
        let thread = thread::Builder::new().name("codex-memory-reaper".to_owned());
        enlisted.is_running = thread.spawn(run).is_ok();
    }
    if enlisted.is_running {
        enlisted.stores.push(store);
        MORE.notify_one();
    }
    enlisted.is_running
}

fn run() {
    loop {
        let mut waiting = enlisted();
        while waiting.stores.is_empty() {
            waiting = MORE.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let stores = std::mem::take(&mut waiting.stores);
        drop(waiting);
        let mut pace = Pace(Instant::now());
        let still = stores.into_iter().filter(|store| {
            // A value's owner may panic in its `Drop`. The thread must survive for the other values
            // and stores.
            let pass = AssertUnwindSafe(|| pass(store, &mut pace));
            catch_unwind(pass).unwrap_or(true)
        });
        let still: Vec<_> = still.collect();
        enlisted().stores.extend(still);
        thread::sleep(PERIOD);
    }
}

/// Removes the expired entries of one store, and returns whether the store stays on the list.
fn pass(store: &Weak<Store>, pace: &mut Pace) -> bool {
    // Upgraded for the pass only, because a store must end with its last handle.
    let Some(store) = store.upgrade() else {
        return false;
    };
    for shard in store.shards() {
        store.reap_shard(shard, || pace.keep());
    }
    store.has_expiring() || !store.delist()
}

/// The time of the thread's last pause.
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
    use std::sync::Arc;

    use codex_traits::SetOptions;

    use super::*;
    use crate::time::clock::{ManualClock, TimeSource};

    /// Returns a store that is not on the thread's list, with its clock.
    fn store() -> (Arc<Store>, ManualClock) {
        let clock = ManualClock::new();
        (Store::new(TimeSource::Given(Box::new(clock.clone())), None), clock)
    }

    fn put_expiring(store: &Store) {
        let options = SetOptions::expires_after(Duration::from_secs(1));
        assert!(store.set("k", "v".into(), &options).is_ok());
    }

    #[test]
    fn a_store_stays_listed_while_an_entry_has_a_deadline() {
        let (store, clock) = store();
        put_expiring(&store);
        let (weak, mut pace) = (Arc::downgrade(&store), Pace(Instant::now()));
        assert!(pass(&weak, &mut pace));
        clock.advance(Duration::from_secs(1));
        assert!(!pass(&weak, &mut pace));
        assert_eq!(store.entries(), 0);
    }

    #[test]
    fn a_dropped_store_leaves_the_list() {
        let (store, _) = store();
        let weak = Arc::downgrade(&store);
        drop(store);
        assert!(!pass(&weak, &mut Pace(Instant::now())));
    }

    #[test]
    fn a_write_while_a_store_is_delisted_keeps_it_listed() {
        let (store, _) = store();
        put_expiring(&store);
        assert!(!store.delist());
    }

    #[test]
    fn a_pause_follows_some_work() {
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
