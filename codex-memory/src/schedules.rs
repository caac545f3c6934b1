//! Tests of the store under shuttle, which explores thread interleavings. `CODEX_SHUTTLE_SCHEDULES`
//! sets the number of schedules per scenario. `scripts/long shuttle-memory` runs a hundred
//! thousand.

use std::{sync::Arc, time::Duration};

use codex_traits::{Condition, Expiry, OnMissing, Pattern, Result, ScanRequest, SetOptions, SetOutcome};
use shuttle::thread;

use crate::{
    accounting::limits::{Limits, WhenFull},
    store::Store,
    time::clock::{ManualClock, TimeSource},
};

const SECOND: Duration = Duration::from_secs(1);

fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let schedules = std::env::var("CODEX_SHUTTLE_SCHEDULES").ok();
    let schedules = schedules.and_then(|text| text.parse().ok()).unwrap_or(300);
    shuttle::check_random(scenario, schedules);
}

fn store(limits: Option<Limits>) -> (Arc<Store>, ManualClock) {
    let clock = ManualClock::new();
    let store = Store::new(TimeSource::Given(Box::new(clock.clone())), limits);
    (store, clock)
}

fn at_most(entries: usize, when_full: WhenFull) -> Limits {
    Limits::new(entries, usize::MAX, when_full, None)
}

fn set(store: &Store, key: &str, value: &str, options: &SetOptions) -> Result<bool> {
    let outcome = store.set(key, value.to_owned().into(), options)?;
    Ok(outcome == SetOutcome::Written)
}

/// Runs each function in its own thread, and returns the results in order.
fn race<T: Send + 'static>(store: &Arc<Store>, work: Vec<fn(&Store) -> T>) -> Vec<T> {
    let threads = work.into_iter().map(|work| {
        let store = store.clone();
        thread::spawn(move || work(&store))
    });
    let threads: Vec<_> = threads.collect();
    let join = |thread: thread::JoinHandle<T>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    threads.into_iter().map(join).collect()
}

fn keys(store: &Store) -> Result<Vec<String>> {
    let pattern = Pattern::all();
    let mut request = ScanRequest::new(&pattern).with_count_hint(1);
    let mut keys = Vec::new();
    loop {
        let page = store.scan(&request)?;
        keys.extend(page.keys);
        let Some(next) = page.next else { return Ok(keys) };
        request = ScanRequest::new(&pattern).with_count_hint(1).with_cursor(next);
    }
}

#[test]
fn one_of_three_racers_creates_the_key() {
    explore(|| {
        let (store, _) = store(None);
        let won = race(
            &store,
            vec![
                |store| set(store, "k", "1", &SetOptions::if_absent()).unwrap(),
                |store| set(store, "k", "2", &SetOptions::if_absent()).unwrap(),
                |store| set(store, "k", "3", &SetOptions::if_absent()).unwrap(),
            ],
        );
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let winner = won.iter().position(|won| *won).unwrap() + 1;
        assert_eq!(store.get("k").unwrap(), winner.to_string());
    });
}

#[test]
fn no_increment_is_lost() {
    explore(|| {
        let (store, _) = store(Some(at_most(1, WhenFull::Evict)));
        let add: fn(&Store) -> Option<i64> = |store| store.incr("k", 1, OnMissing::Create(Expiry::Never)).unwrap();
        let mut sums = race(&store, vec![add, add, add]);
        sums.sort_unstable();
        assert_eq!(sums, [Some(1), Some(2), Some(3)]);
    });
}

#[test]
fn compare_and_set_and_delete_have_one_winner() {
    explore(|| {
        let (store, _) = store(None);
        set(&store, "k", "old", &SetOptions::new()).unwrap();
        let won = race(
            &store,
            vec![
                |store| {
                    let if_old = SetOptions::new().with_condition(Condition::IfEquals("old".into()));
                    set(store, "k", "new", &if_old).unwrap()
                },
                |store| store.del_if_equals("k", b"old"),
                |store| store.del("k"),
            ],
        );
        // The first conditional call wins. The unconditional removal also succeeds after the
        // conditional write, but not after the conditional removal.
        assert!(!(won[0] && won[1]));
        assert_eq!(won[2], !won[1]);
        assert!(store.get("k").is_none());
    });
}

#[test]
fn a_full_store_takes_one_of_two() {
    explore(|| {
        let (store, _) = store(Some(at_most(1, WhenFull::Refuse)));
        let taken = race(
            &store,
            vec![|store| set(store, "a", "v", &SetOptions::new()).is_ok(), |store| {
                set(store, "b", "v", &SetOptions::new()).is_ok()
            }],
        );
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
        assert_eq!(store.entries(), 1);
        // The removal of the entry makes room again.
        assert!(store.del("a") != store.del("b"));
        assert!(set(&store, "c", "v", &SetOptions::new()).unwrap());
    });
}

#[test]
fn a_cache_keeps_its_limit_and_its_totals() {
    explore(|| {
        let (store, _) = store(Some(at_most(2, WhenFull::Evict)));
        let counts = race(
            &store,
            vec![
                |store| {
                    set(store, "a", "v", &SetOptions::new()).unwrap();
                    set(store, "b", "v", &SetOptions::new()).unwrap();
                    store.entries()
                },
                |store| {
                    set(store, "c", "v", &SetOptions::new()).unwrap();
                    store.del("a");
                    store.entries()
                },
                |store| {
                    set(store, "d", "v", &SetOptions::new()).unwrap();
                    store.entries()
                },
            ],
        );
        assert!(counts.into_iter().all(|count| count <= 2));
        for key in ["a", "b", "c", "d"] {
            store.del(key);
        }
        assert_eq!(store.entries(), 0);
        let limits = store.limits().unwrap();
        let evictions = limits.evictions();
        set(&store, "e", "v", &SetOptions::new()).unwrap();
        set(&store, "f", "v", &SetOptions::new()).unwrap();
        assert_eq!((store.entries(), limits.evictions()), (2, evictions));
    });
}

#[test]
fn reaping_removes_nothing_that_was_written_since() {
    explore(|| {
        let (store, clock) = store(None);
        set(&store, "k", "old", &SetOptions::expires_after(SECOND)).unwrap();
        set(&store, "l", "old", &SetOptions::expires_after(SECOND)).unwrap();
        clock.advance(SECOND);
        let done = race(
            &store,
            vec![
                |store| {
                    for shard in store.shards() {
                        store.reap_shard(shard, || {});
                    }
                    true
                },
                |store| set(store, "k", "new", &SetOptions::if_absent()).unwrap(),
                |store| !store.expire("l", Expiry::Never).unwrap(),
            ],
        );
        assert_eq!(done, [true, true, true]);
        assert_eq!(store.get("k").unwrap(), "new");
        assert!(store.get("l").is_none());
    });
}

#[test]
fn a_store_whose_entries_have_all_expired_has_room() {
    explore(|| {
        let (store, clock) = store(Some(at_most(1, WhenFull::Refuse)));
        set(&store, "old", "v", &SetOptions::expires_after(SECOND)).unwrap();
        clock.advance(SECOND);
        let done = race(
            &store,
            vec![
                |store| {
                    for shard in store.shards() {
                        store.reap_shard(shard, || {});
                    }
                    true
                },
                |store| set(store, "new", "v", &SetOptions::new()).unwrap(),
            ],
        );
        assert_eq!((done, store.entries()), (vec![true, true], 1));
    });
}

#[test]
fn a_scan_meets_every_key_that_exists_all_along() {
    explore(|| {
        // One shard, so that all keys compete for the same lock and room.
        let (store, _) = store(Some(at_most(100, WhenFull::Refuse)));
        for key in ["a", "stays", "b"] {
            set(&store, key, "v", &SetOptions::new()).unwrap();
        }
        let found = race(
            &store,
            vec![
                |store| keys(store).unwrap(),
                |store| {
                    store.del("a");
                    set(store, "c", "v", &SetOptions::new()).unwrap();
                    Vec::new()
                },
                |store| {
                    store.del("b");
                    set(store, "a", "v", &SetOptions::new()).unwrap();
                    Vec::new()
                },
            ],
        );
        assert_eq!(found[0].iter().filter(|key| *key == "stays").count(), 1);
    });
}
