//! What is said of the memory is true, and reading takes none.

use std::alloc::System;

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_traits::{KvBackend, SetOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The counters are of the whole process, so each test has it to itself.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn the_bytes_are_those_that_were_allocated() {
    let _alone = ALONE.lock().await;
    for count in [1000, 10_000, 50_000] {
        let region = Region::new(ALLOCATOR);
        let store = MemoryBackend::with_clock(ManualClock::new());
        for number in 0..count {
            let (key, value) = (format!("key {number:028}"), Bytes::from(vec![b'v'; 200]));
            assert!(store.set(&key, value, SetOptions::new()).await.unwrap().is_written());
        }
        let stats = region.change();
        let held = stats.bytes_allocated - stats.bytes_deallocated;
        let said = store.used_bytes();
        assert!(
            said.abs_diff(held) < held / 50,
            "{count} entries: {said} said, {held} allocated"
        );
        assert_eq!(store.len(), count);
    }
}

#[tokio::test]
async fn reading_allocates_nothing() {
    let _alone = ALONE.lock().await;
    let store = MemoryBackend::with_clock(ManualClock::new());
    for len in [0, 10, 200, 1000, 2000, 5000] {
        let _ = store
            .set("k", Bytes::from(vec![7; len]), SetOptions::new())
            .await
            .unwrap();
        let region = Region::new(ALLOCATOR);
        let value = store.get("k").await.unwrap();
        let again = value.clone();
        assert_eq!(region.change().allocations, 0, "a value of {len} bytes");
        assert_eq!(again.unwrap().len(), len);
    }
}
