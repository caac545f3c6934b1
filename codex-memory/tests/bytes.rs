//! `used_bytes` is exact, and reading and counting allocate nothing.

use std::alloc::System;

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_traits::{Expiry, KvBackend, OnMissing, SetOptions};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the output of a future that completes when it is first polled.
fn now<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).unwrap_or_else(|| unreachable!("a memory backend waited"))
}

// A single test, because the counters cover the whole process.
#[test]
fn the_bytes_are_those_that_were_allocated_and_reading_allocates_none() {
    now(async {
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

        let store = MemoryBackend::with_clock(ManualClock::new());
        for len in [0, 10, 200, 1000, 2000, 5000] {
            let _ = store
                .set("k", Bytes::from(vec![7; len]), SetOptions::new())
                .await
                .unwrap();
            // Replaces an existing entry while the caller still holds the value.
            let value = Bytes::from(vec![7; len]);
            let _ = store.set("k", value.clone(), SetOptions::new()).await.unwrap();
            let region = Region::new(ALLOCATOR);
            let value = store.get("k").await.unwrap();
            let again = value.clone();
            assert_eq!(region.change().allocations, 0, "a value of {len} bytes");
            assert_eq!(again.unwrap().len(), len);
        }

        // A larger value that replaced another stays in the caller's buffer. The first read
        // allocates the bytes that make the buffer shareable, which `used_bytes` already includes.
        for (len, allocations) in [(10, 0), (512, 0), (513, 1), (4000, 1)] {
            let _ = store
                .set("k", Bytes::from(vec![7; len]), SetOptions::new())
                .await
                .unwrap();
            let said = store.used_bytes();
            let region = Region::new(ALLOCATOR);
            let first = store.get("k").await.unwrap();
            let second = store.get("k").await.unwrap();
            let change = region.change();
            assert_eq!(
                (change.allocations, change.bytes_allocated),
                (allocations, 24 * allocations)
            );
            assert_eq!((store.used_bytes(), first), (said, second));
        }

        let count = async || store.incr("n", 1, OnMissing::Create(Expiry::Never)).await.unwrap();
        assert_eq!(count().await, Some(1));
        let region = Region::new(ALLOCATOR);
        for expected in 2..100 {
            assert_eq!(count().await, Some(expected));
        }
        assert_eq!(region.change().allocations, 0);
    });
}
