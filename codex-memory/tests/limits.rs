//! Bounded stores: limits, eviction and refusal.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend, WhenFull};
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, SetOptions, SetOutcome, Ttl};

/// Sets `key` and returns whether it was written.
async fn put(store: &MemoryBackend, key: &str, value: impl Into<Bytes>) -> Result<bool> {
    let outcome = store.set(key, value.into(), SetOptions::new()).await?;
    Ok(outcome.is_written())
}

async fn fill(store: &MemoryBackend, keys: std::ops::Range<usize>) {
    for key in keys {
        assert_eq!(put(store, &format!("key {key}"), "v").await.ok(), Some(true));
    }
}

fn evicting(entries: usize) -> Result<MemoryBackend> {
    let builder = MemoryBackend::builder().max_entries(entries);
    builder.when_full(WhenFull::Evict).build()
}

#[tokio::test]
async fn a_full_store_refuses_and_changes_nothing() {
    let store = MemoryBackend::builder().max_entries(100).build().unwrap();
    fill(&store, 0..100).await;
    let error = put(&store, "one more", "v").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(!error.may_have_executed());
    assert!(!format!("{error} {error:?}").contains("one more"));
    let limits = "it holds at most 100 entries and any number of bytes";
    assert!(error.to_string().contains(limits), "{error}");
    assert_eq!(
        store
            .incr("counter", 1, OnMissing::Create(Expiry::Never))
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Server
    );
    assert_eq!((store.len(), store.get("one more").await.unwrap()), (100, None));
    assert_eq!(store.evictions(), 0);
}

#[tokio::test]
async fn what_needs_no_room_works_on_a_full_store() {
    let store = MemoryBackend::builder().max_entries(100).build().unwrap();
    fill(&store, 0..100).await;
    assert!(put(&store, "key 7", "another").await.unwrap());
    let refused = store
        .set("one more", "v".into(), SetOptions::if_present())
        .await
        .unwrap();
    assert_eq!(refused, SetOutcome::Refused);
    assert_eq!(store.incr("counter", 1, OnMissing::Refuse).await.unwrap(), None);
    assert_eq!(store.del(&["key 1"]).await.unwrap(), 1);
    assert!(put(&store, "one more", "v").await.unwrap());
}

#[tokio::test]
async fn what_has_expired_is_no_reason_to_refuse() {
    let clock = ManualClock::new();
    let store = MemoryBackend::builder()
        .max_entries(100)
        .clock(clock.clone())
        .build()
        .unwrap();
    for key in 0..100 {
        let options = SetOptions::expires_after(Duration::from_secs(1));
        let _ = store.set(&format!("key {key}"), "v".into(), options).await.unwrap();
    }
    assert!(put(&store, "one more", "v").await.is_err());
    clock.advance(Duration::from_secs(1));
    fill(&store, 200..300).await;
    assert_eq!(store.len(), 100);
}

#[tokio::test]
async fn a_cache_holds_as_many_as_it_may_and_no_more() {
    for most in [1, 2, 10, 100, 5_000] {
        let store = evicting(most).unwrap();
        fill(&store, 0..most).await;
        // All entries fit, even if their shards are unbalanced.
        assert_eq!((store.len(), store.evictions()), (most, 0));
        fill(&store, most..3 * most).await;
        assert_eq!((store.len(), store.evictions()), (most, 2 * most as u64));
    }
}

#[tokio::test]
async fn bytes_are_counted_with_all_that_an_entry_takes() {
    let most = 1 << 20;
    let store = MemoryBackend::builder()
        .max_bytes(most)
        .when_full(WhenFull::Evict)
        .build()
        .unwrap();
    for round in 0..20_usize {
        for key in 0..1000_usize {
            let value = vec![b'v'; (key * 37 + round * 101) % 6000];
            assert!(put(&store, &format!("key {key}"), value).await.unwrap());
        }
        // The fixed cost of the shards, each with a first bucket, is not charged to any entry.
        assert!(store.used_bytes() <= most + (64 << 10), "{} bytes", store.used_bytes());
    }
    assert!(store.evictions() > 0 && store.len() > 100);
}

#[tokio::test]
async fn many_small_entries_leave_no_memory_behind_when_large_ones_replace_them() {
    let most = 16 << 20;
    let store = MemoryBackend::builder().max_bytes(most);
    let store = store.when_full(WhenFull::Evict).build().unwrap();
    let empty = store.used_bytes();
    for (kind, entries, len) in [
        (0, 100_000, 1),
        (1, 100, 1 << 20),
        (2, 100_000, 0),
        (3, 300, 60_000),
        (4, 20, 7 << 20),
    ] {
        for key in 0..entries {
            assert!(put(&store, &format!("{kind} {key}"), vec![b'v'; len]).await.unwrap());
        }
        let used = store.used_bytes();
        assert!(used <= most + most / 20 + empty, "{used} bytes after values of {len}");
    }
    store.del_matching(&Pattern::all()).await.unwrap();
    assert!(
        store.used_bytes() < 10 * empty,
        "{} bytes, {empty} at first",
        store.used_bytes()
    );
}

#[tokio::test]
async fn what_is_larger_than_the_store_is_refused_and_evicts_nothing() {
    for when_full in [WhenFull::Refuse, WhenFull::Evict] {
        let store = MemoryBackend::builder()
            .max_bytes(100_000)
            .when_full(when_full)
            .build()
            .unwrap();
        fill(&store, 0..100).await;
        let error = put(&store, "key 1", vec![0; 100_000]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!((store.len(), store.evictions()), (100, 0));
        assert_eq!(store.get("key 1").await.unwrap().as_deref(), Some(&b"v"[..]));
    }
}

#[tokio::test]
async fn a_large_value_may_evict_any_number_of_entries() {
    let store = MemoryBackend::builder().max_bytes(1 << 20);
    let store = store.when_full(WhenFull::Evict).build().unwrap();
    for key in 0..5_000 {
        assert!(put(&store, &format!("key {key}"), vec![b'v'; 100]).await.unwrap());
    }
    let before = store.evictions();
    assert!(put(&store, "large", vec![b'v'; 512 << 10]).await.unwrap());
    let evicted = store.evictions() - before;
    assert!(evicted > 1_000 && store.len() > 1_000, "{evicted} evictions");
}

#[tokio::test]
async fn a_write_that_needs_room_does_not_evict_its_own_key() {
    let minute = Duration::from_secs(60);
    let keep = SetOptions::new().with_expiry(Expiry::Keep);
    let if_equal = Condition::IfEquals(vec![b'o'; 100].into());
    for options in [
        keep.clone(),
        SetOptions::if_present().with_expiry(Expiry::Keep),
        keep.with_condition(if_equal),
    ] {
        // One shard, and several: their entries go when the own shard has no other entry left.
        for (most, size) in [(20_000, 600), (20_000, 5_000), (20_000, 19_800), (400_000, 390_000)] {
            let told: Arc<Mutex<Vec<String>>> = Arc::default();
            let store = MemoryBackend::builder().max_bytes(most).when_full(WhenFull::Evict);
            let store = store.on_eviction({
                let told = told.clone();
                move |key, _| told.lock().unwrap().push(key.to_owned())
            });
            let store = store.build().unwrap();
            // The oldest entry, which was never read, is the first to be evicted.
            let expiring = SetOptions::expires_after(minute);
            let old = store.set("own", vec![b'o'; 100].into(), expiring).await.unwrap();
            assert!(old.is_written());
            // 166 bytes for each entry, 120 for its value.
            for key in 1..most / 286 {
                assert!(put(&store, &format!("key {key}"), vec![b'v'; 100]).await.unwrap());
            }
            assert_eq!(store.evictions(), 0);
            let outcome = store
                .set("own", vec![b'n'; size].into(), options.clone())
                .await
                .unwrap();
            assert!(outcome.is_written(), "{size} bytes");
            let ttl = store.ttl("own").await.unwrap();
            assert!(matches!(ttl, Ttl::Remaining(left) if left <= minute), "{ttl:?}");
            let told = told.lock().unwrap();
            assert!(!told.is_empty() && told.iter().all(|key| key != "own"));
        }
    }
}

#[tokio::test]
async fn what_fits_exactly_is_taken() {
    // 166 bytes for the entry and its short key, 24 for a one-byte value.
    for (most, fits) in [(189, false), (190, true)] {
        let builder = MemoryBackend::builder().max_bytes(most);
        let store = builder.when_full(WhenFull::Evict).build().unwrap();
        for key in ["a", "b"] {
            assert_eq!(put(&store, key, "v").await.is_ok(), fits, "{most} bytes");
        }
        assert_eq!((store.len(), store.evictions()), if fits { (1, 1) } else { (0, 0) });
    }
}

#[tokio::test]
async fn room_given_back_can_be_used_again() {
    let store = MemoryBackend::builder().max_bytes(40_000).build().unwrap();
    let clock = ManualClock::new();
    let mortal = MemoryBackend::builder()
        .max_bytes(40_000)
        .clock(clock.clone())
        .build()
        .unwrap();
    for _ in 0..200 {
        // The charges must add up after every kind of change and removal.
        assert!(put(&store, "k", vec![1; 10_000]).await.unwrap());
        assert!(put(&store, "k", "1").await.unwrap());
        store.incr("k", 5, OnMissing::Refuse).await.unwrap();
        let swap = SetOptions::new().with_condition(Condition::IfEquals("6".into()));
        assert!(store.set("k", vec![2; 20_000].into(), swap).await.unwrap().is_written());
        assert!(store.del_if_equals("k", &vec![2; 20_000]).await.unwrap());
        assert!(put(&store, "k", vec![3; 30_000]).await.unwrap());
        assert!(store.expire("k", Expiry::After(Duration::ZERO)).await.unwrap());

        let options = SetOptions::expires_after(Duration::from_secs(1));
        assert!(
            mortal
                .set("k", vec![1; 30_000].into(), options)
                .await
                .unwrap()
                .is_written()
        );
        clock.advance(Duration::from_secs(1));
        assert_eq!(mortal.reclaim_expired(), 1);
    }
}

#[tokio::test]
async fn what_is_read_survives_a_scan() {
    let store = evicting(1000).unwrap();
    for key in 0..100 {
        assert!(put(&store, &format!("hot {key}"), "v").await.unwrap());
    }
    for key in 0..20_000 {
        assert!(put(&store, &format!("cold {key}"), "v").await.unwrap());
        store.get(&format!("hot {}", key % 100)).await.unwrap();
    }
    let mut held = 0;
    for key in 0..100 {
        held += usize::from(store.get(&format!("hot {key}")).await.unwrap().is_some());
    }
    assert!(held >= 95, "{held} of 100 are left");
}

#[tokio::test]
async fn a_listener_is_told_of_each_eviction_and_may_use_the_store() {
    let told: Arc<Mutex<Vec<(String, Bytes)>>> = Arc::default();
    let handle: Arc<OnceLock<MemoryBackend>> = Arc::default();
    let store = MemoryBackend::builder().max_entries(10).when_full(WhenFull::Evict);
    let store = store.on_eviction({
        let (told, handle) = (told.clone(), handle.clone());
        move |key, value| {
            // This call would deadlock if a lock were held.
            assert!(handle.get().unwrap().len() <= 10);
            told.lock().unwrap().push((key.to_owned(), value));
        }
    });
    let store = store.build().unwrap();
    handle.set(store.clone()).unwrap();
    for key in 0..50 {
        assert!(
            put(&store, &format!("key {key}"), format!("value {key}"))
                .await
                .unwrap()
        );
    }
    store.del(&["key 49"]).await.unwrap();
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert_eq!((told.len(), store.evictions()), (40, 40));
    for (key, value) in &told {
        assert_eq!(*value, key.replace("key", "value"));
        assert_eq!(store.get(key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_expired_entry_is_never_reported_as_evicted() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let store = MemoryBackend::builder().max_entries(10).when_full(WhenFull::Evict);
    let store = store.on_eviction({
        let told = told.clone();
        move |key, _| told.lock().unwrap().push(key.to_owned())
    });
    let store = store.build().unwrap();
    for key in 0..10 {
        let options = SetOptions::expires_after(Duration::from_millis(1));
        let key = format!("short {key}");
        assert!(store.set(&key, "v".into(), options).await.unwrap().is_written());
    }
    // The clock is the system's: with another clock, writes free expired entries before they evict.
    thread::sleep(Duration::from_millis(5));
    fill(&store, 0..20).await;
    let told = told.lock().unwrap();
    assert!(told.iter().all(|key| key.starts_with("key ")), "{told:?}");
    assert_eq!((store.len(), store.evictions()), (10, told.len() as u64));
}

#[tokio::test]
async fn a_panic_in_the_listener_harms_nothing() {
    let store = MemoryBackend::builder().max_entries(10).when_full(WhenFull::Evict);
    let store = store.on_eviction(|_, _| panic!("the listener's own")).build().unwrap();
    fill(&store, 0..20).await;
    assert_eq!((store.len(), store.evictions()), (10, 10));
}

#[test]
fn the_limit_holds_at_every_moment_under_eight_writers() {
    let store = evicting(1000).unwrap();
    let most_seen = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..8 {
            let (store, most_seen) = (&store, &most_seen);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                for key in 0..5_000 {
                    runtime.block_on(put(store, &format!("{writer} {key}"), "v")).unwrap();
                    if key % 100 == 0 {
                        most_seen.fetch_max(store.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(store.len(), 1000);
    assert!(most_seen.into_inner() <= 1000);
    assert_eq!(store.evictions(), 39_000);
}

#[test]
fn a_limit_of_zero_is_refused() {
    for builder in [
        MemoryBackend::builder().max_entries(0),
        MemoryBackend::builder().max_bytes(0),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::Config);
    }
}

#[test]
fn what_has_no_limit_keeps_no_account_of_what_to_evict() {
    let builder = MemoryBackend::builder().when_full(WhenFull::Evict);
    assert_eq!(builder.build().unwrap().used_bytes(), MemoryBackend::new().used_bytes());
}
