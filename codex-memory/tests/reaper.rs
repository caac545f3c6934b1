//! Freeing the memory of expired entries.

use std::{
    thread,
    time::{Duration, Instant},
};

use codex_memory::{ManualClock, MemoryBackend};
use codex_traits::{Expiry, KvBackend, Pattern, ScanRequest, SetOptions, SetOutcome};

const SECOND: Duration = Duration::from_secs(1);

fn key(number: usize) -> String {
    format!("key {number:028}")
}

async fn put(store: &MemoryBackend, number: usize, expiry: Expiry) -> codex_traits::Result<SetOutcome> {
    let options = SetOptions::new().with_expiry(expiry);
    store.set(&key(number), vec![b'v'; 200].into(), options).await
}

async fn fill(store: &MemoryBackend, keys: std::ops::Range<usize>, expiry: Expiry) {
    for number in keys {
        assert_eq!(put(store, number, expiry).await.ok(), Some(SetOutcome::Written));
    }
}

#[tokio::test]
async fn on_the_callers_clock_expired_entries_are_freed_when_asked() {
    let clock = ManualClock::new();
    let store = MemoryBackend::with_clock(clock.clone());
    fill(&store, 0..1000, Expiry::Never).await;
    fill(&store, 1000..50_000, SECOND.into()).await;
    let before = store.used_bytes();
    assert_eq!(store.reclaim_expired(), 0);
    clock.advance(SECOND);
    assert_eq!(store.len(), 50_000);
    assert_eq!(store.reclaim_expired(), 49_000);
    assert_eq!((store.len(), store.reclaim_expired()), (1000, 0));
    assert!(
        store.used_bytes() < before / 10,
        "{} of {before} bytes",
        store.used_bytes()
    );
}

#[tokio::test]
async fn on_the_callers_clock_writes_free_expired_entries_too() {
    let clock = ManualClock::new();
    let store = MemoryBackend::with_clock(clock.clone());
    fill(&store, 0..20_000, SECOND.into()).await;
    clock.advance(SECOND);
    // Keys hash to random shards, and a write sweeps only its own shard. One write per entry is
    // enough to empty every shard.
    let mut writes = 0;
    while !store.is_empty() && writes < 20_000 {
        store.del(&[&format!("no such key {writes}")]).await.unwrap();
        writes += 1;
    }
    assert_eq!(store.len(), 0, "after {writes} writes");
}

#[tokio::test]
async fn a_page_of_a_scan_looks_at_few_entries_even_if_all_have_expired() {
    let clock = ManualClock::new();
    let store = MemoryBackend::with_clock(clock.clone());
    fill(&store, 0..10_000, SECOND.into()).await;
    clock.advance(SECOND);
    let pattern = Pattern::all();
    let mut request = ScanRequest::new(&pattern).with_count_hint(100);
    let mut pages = 1;
    while let Some(next) = {
        let page = store.scan(request).await.unwrap();
        assert!(page.keys.is_empty());
        page.next
    } {
        request = ScanRequest::new(&pattern).with_count_hint(100).with_cursor(next);
        pages += 1;
    }
    assert!((50..=101).contains(&pages), "{pages} pages");
}

#[tokio::test]
async fn a_changed_deadline_is_the_one_that_counts() {
    let clock = ManualClock::new();
    let store = MemoryBackend::with_clock(clock.clone());
    fill(&store, 0..100, SECOND.into()).await;
    store.expire(&key(1), (10 * SECOND).into()).await.unwrap();
    store.expire(&key(2), Expiry::Never).await.unwrap();
    fill(&store, 3..4, (10 * SECOND).into()).await;
    clock.advance(SECOND);
    assert_eq!(store.reclaim_expired(), 97);
    store.expire(&key(2), SECOND.into()).await.unwrap();
    clock.advance(SECOND);
    assert_eq!(store.reclaim_expired(), 1);
    clock.advance(8 * SECOND);
    assert_eq!((store.reclaim_expired(), store.len()), (2, 0));
}

#[tokio::test]
async fn on_the_system_clock_expired_entries_are_freed_unasked() {
    let stores = [MemoryBackend::new(), MemoryBackend::new()];
    for store in &stores {
        fill(store, 0..100, Expiry::Never).await;
        fill(store, 100..20_000, Duration::from_millis(30).into()).await;
    }
    let deadline = Instant::now() + 60 * SECOND;
    while stores.iter().any(|store| store.len() > 100) {
        assert!(
            Instant::now() < deadline,
            "{} and {} left",
            stores[0].len(),
            stores[1].len()
        );
        thread::sleep(Duration::from_millis(10));
    }
    // The thread may be asleep by now, and must wake up again.
    fill(&stores[0], 100..200, Duration::from_millis(30).into()).await;
    while stores[0].len() > 100 {
        assert!(Instant::now() < deadline, "{} left", stores[0].len());
        thread::sleep(Duration::from_millis(10));
    }
}
