//! Snapshots: dumping, loading, limits, damage and versions.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend, WhenFull};
use codex_traits::{Expiry, KvBackend, KvBackendExt, Pattern, Result, SetOptions, Ttl};
use futures_util::TryStreamExt;

const SECOND: Duration = Duration::from_secs(1);

async fn put(store: &MemoryBackend, key: &str, value: impl Into<Bytes>, expiry: Expiry) -> Result<bool> {
    let outcome = store
        .set(key, value.into(), SetOptions::new().with_expiry(expiry))
        .await?;
    Ok(outcome.is_written())
}

/// Returns every key with its value and its time to live, sorted.
async fn contents(store: &MemoryBackend) -> Result<Vec<(String, Option<Bytes>, Ttl)>> {
    let pattern = Pattern::all();
    let mut keys: Vec<String> = store.scan_all(&pattern).try_collect().await?;
    keys.sort();
    let mut all = Vec::new();
    for key in keys {
        let (value, ttl) = (store.get(&key).await?, store.ttl(&key).await?);
        all.push((key, value, ttl));
    }
    Ok(all)
}

/// Creates a store with a few entries of each kind, on a clock that stands still.
async fn small(clock: &ManualClock) -> Result<MemoryBackend> {
    let store = MemoryBackend::with_clock(clock.clone());
    put(&store, "", "", Expiry::Never).await?;
    put(&store, "käse\0*", vec![0, 255, 10], Expiry::Never).await?;
    put(&store, "session", "payload", (100 * SECOND).into()).await?;
    put(&store, "late", "1", Duration::from_millis(1500).into()).await?;
    Ok(store)
}

fn dumped(store: &MemoryBackend) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    store.dump(&mut bytes)?;
    Ok(bytes)
}

#[tokio::test]
async fn what_was_dumped_comes_back() {
    let clock = ManualClock::new();
    let store = small(&clock).await.unwrap();
    for key in 0..5000 {
        put(&store, &format!("key {key}"), vec![7; key], (100 * SECOND).into())
            .await
            .unwrap();
    }
    put(&store, "over", "v", SECOND.into()).await.unwrap();
    clock.advance(SECOND);
    let mut bytes = Vec::new();
    assert_eq!(store.dump(&mut bytes).unwrap(), 5004);
    let other = MemoryBackend::with_clock(clock.clone());
    assert_eq!(other.load(&bytes[..]).unwrap(), 5004);
    assert_eq!(contents(&other).await.unwrap(), contents(&store).await.unwrap());
    // The copy behaves like the original afterwards.
    clock.advance(Duration::from_millis(500));
    assert_eq!(other.get("late").await.unwrap(), None);
    assert_eq!(
        other.ttl("session").await.unwrap(),
        Ttl::Remaining(Duration::from_millis(98_500))
    );
}

#[tokio::test]
async fn an_empty_store_is_a_snapshot_too() {
    let bytes = dumped(&MemoryBackend::new()).unwrap();
    assert_eq!(MemoryBackend::new().load(&bytes[..]).unwrap(), 0);
}

#[tokio::test]
async fn time_goes_on_while_the_process_is_down() {
    let before = ManualClock::new();
    let bytes = dumped(&small(&before).await.unwrap()).unwrap();
    // Another process a minute later, whose own clock begins at zero.
    let after = ManualClock::starting_at(before.system_time() + 60 * SECOND);
    let store = MemoryBackend::with_clock(after);
    assert_eq!(store.load(&bytes[..]).unwrap(), 3);
    assert_eq!(store.ttl("session").await.unwrap(), Ttl::Remaining(40 * SECOND));
    assert_eq!(store.ttl("").await.unwrap(), Ttl::Persistent);
    assert_eq!(store.ttl("late").await.unwrap(), Ttl::Missing);
    // An entry is expired exactly at its deadline.
    let at_the_end = ManualClock::starting_at(before.system_time() + 100 * SECOND);
    assert_eq!(MemoryBackend::with_clock(at_the_end).load(&bytes[..]).unwrap(), 2);
}

#[tokio::test]
async fn loading_replaces_what_is_there_under_the_same_key_and_nothing_else() {
    let clock = ManualClock::starting_at(SystemTime::now());
    let bytes = dumped(&small(&clock).await.unwrap()).unwrap();
    let store = MemoryBackend::with_clock(clock);
    put(&store, "session", "another", Expiry::Never).await.unwrap();
    put(&store, "mine", "v", Expiry::Never).await.unwrap();
    store.load(&bytes[..]).unwrap();
    assert_eq!(
        (store.len(), store.get("session").await.unwrap().as_deref()),
        (5, Some(&b"payload"[..]))
    );
    assert_eq!(store.ttl("session").await.unwrap(), Ttl::Remaining(100 * SECOND));
}

#[tokio::test]
async fn every_single_byte_change_is_refused_or_loads_the_same() {
    let clock = ManualClock::new();
    let store = small(&clock).await.unwrap();
    let (bytes, all) = (dumped(&store).unwrap(), contents(&store).await.unwrap());
    let mut refused = 0;
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut changed = bytes.clone();
            changed[at] = value;
            let other = MemoryBackend::with_clock(clock.clone());
            match other.load(&changed[..]) {
                Ok(_) => assert_eq!(contents(&other).await.unwrap(), all, "byte {at} as {value}"),
                Err(error) => {
                    assert!(
                        matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof),
                        "{error}"
                    );
                    assert!(other.is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert_eq!(refused, bytes.len() * 255);
}

#[tokio::test]
async fn every_truncation_is_refused() {
    let clock = ManualClock::new();
    let bytes = dumped(&small(&clock).await.unwrap()).unwrap();
    for len in 0..bytes.len() {
        let other = MemoryBackend::with_clock(clock.clone());
        let error = other.load(&bytes[..len]).unwrap_err();
        assert_eq!(
            (error.kind(), other.len()),
            (ErrorKind::UnexpectedEof, 0),
            "cut at {len}"
        );
    }
}

#[tokio::test]
async fn a_length_that_lies_takes_no_memory() {
    let mut bytes = b"CODEXMEM\x01\0\0\0\x01".to_vec();
    bytes.extend(u64::MAX.to_le_bytes());
    bytes.extend(u64::MAX.to_le_bytes());
    let error = MemoryBackend::new().load(&bytes[..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_store_without_room_is_left_as_it_was() {
    let clock = ManualClock::new();
    let bytes = dumped(&small(&clock).await.unwrap()).unwrap();
    let store = MemoryBackend::builder()
        .max_entries(5)
        .clock(clock.clone())
        .build()
        .unwrap();
    put(&store, "a", "v", Expiry::Never).await.unwrap();
    put(&store, "b", "v", Expiry::Never).await.unwrap();
    assert_eq!(store.load(&bytes[..]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(store.len(), 2);
    store.del(&["a"]).await.unwrap();
    assert_eq!((store.load(&bytes[..]).unwrap(), store.len()), (4, 5));
    let cache = MemoryBackend::builder()
        .max_entries(2)
        .when_full(WhenFull::Evict)
        .clock(clock);
    let cache = cache.build().unwrap();
    // Only two of the four entries were stored, so nothing was evicted.
    assert_eq!(cache.load(&bytes[..]).unwrap(), 2);
    assert_eq!((cache.len(), cache.evictions()), (2, 0));
}

#[tokio::test]
async fn what_has_expired_is_no_reason_to_refuse_a_snapshot() {
    let clock = ManualClock::new();
    let store = MemoryBackend::builder().max_entries(5).clock(clock.clone());
    let store = store.build().unwrap();
    for key in ["v", "w", "x", "y", "z"] {
        put(&store, key, "v", Expiry::After(SECOND)).await.unwrap();
    }
    clock.advance(SECOND);
    let bytes = dumped(&small(&clock).await.unwrap()).unwrap();
    assert_eq!(store.load(&bytes[..]).unwrap(), 4);
    assert_eq!(store.len(), 4);
}

#[tokio::test]
async fn bytes_have_to_suffice_as_well_as_entries() {
    let clock = ManualClock::new();
    let original = MemoryBackend::with_clock(clock.clone());
    for key in ["a", "b", "c", "d", "e"] {
        put(&original, key, vec![7; 10_000], Expiry::Never).await.unwrap();
    }
    let bytes = dumped(&original).unwrap();
    for (entries, most_bytes, is_room) in [(5, 60_000, true), (5, 40_000, false), (10, 40_000, false)] {
        let builder = MemoryBackend::builder().max_entries(entries).max_bytes(most_bytes);
        let store = builder.clock(clock.clone()).build().unwrap();
        let refused = store.load(&bytes[..]).err().map(|error| error.kind());
        assert_eq!(refused, (!is_room).then_some(ErrorKind::StorageFull));
        // Either all entries or none are stored.
        assert_eq!(store.len(), if is_room { 5 } else { 0 });
    }
}

/// A writer that fails after some bytes.
struct Failing(usize);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::PermissionDenied.into())
    }
}

#[tokio::test]
async fn the_error_of_a_writer_or_reader_is_handed_on() {
    let store = small(&ManualClock::new()).await.unwrap();
    for len in [0, 1, 50] {
        assert_eq!(store.dump(Failing(len)).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    assert_eq!(store.load(Failing(0)).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

/// A reader that counts the bytes read from it.
struct Counting<'a>(&'a [u8], &'a mut usize);

impl Read for Counting<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(bytes)?;
        *self.1 += read;
        Ok(read)
    }
}

#[tokio::test]
async fn a_snapshot_that_does_not_fit_is_refused_as_soon_as_it_does_not() {
    let clock = ManualClock::new();
    let original = MemoryBackend::with_clock(clock.clone());
    for key in 0..1000 {
        put(&original, &key.to_string(), vec![7; 10_000], Expiry::Never)
            .await
            .unwrap();
    }
    let bytes = dumped(&original).unwrap();
    let store = MemoryBackend::builder()
        .max_bytes(100_000)
        .clock(clock.clone())
        .build()
        .unwrap();
    let mut read = 0;
    let error = store.load(Counting(&bytes, &mut read)).unwrap_err();
    assert_eq!((error.kind(), store.len()), (ErrorKind::StorageFull, 0));
    assert!(read < 200_000, "{read} of {} bytes were read", bytes.len());

    // A store that evicts reads the whole snapshot, and keeps the last entries that fit.
    let cache = MemoryBackend::builder()
        .max_bytes(100_000)
        .when_full(WhenFull::Evict)
        .clock(clock);
    let cache = cache.build().unwrap();
    assert_eq!(cache.load(&bytes[..]).unwrap(), 9);
    assert_eq!(cache.len(), 9);
}

#[tokio::test]
async fn an_entry_larger_than_the_whole_of_a_cache_is_left_out() {
    let clock = ManualClock::new();
    let original = MemoryBackend::with_clock(clock.clone());
    put(&original, "large", vec![7; 100_000], Expiry::Never).await.unwrap();
    put(&original, "small", "v", Expiry::Never).await.unwrap();
    let bytes = dumped(&original).unwrap();
    let cache = MemoryBackend::builder()
        .max_bytes(50_000)
        .when_full(WhenFull::Evict)
        .clock(clock);
    let cache = cache.build().unwrap();
    assert_eq!(cache.load(&bytes[..]).unwrap(), 1);
    assert!(cache.get("small").await.unwrap().is_some());
}

/// Written by Python's `struct` and `zlib`, not by this crate: four persistent entries including a
/// counter, an entry that expires on 2100-01-01, and an entry that expired in 1971.
const STORED: &[u8] = include_bytes!("data/snapshot-v1.bin");

#[tokio::test]
async fn a_stored_snapshot_of_version_1_is_read() {
    let clock = ManualClock::new();
    let store = MemoryBackend::with_clock(clock.clone());
    assert_eq!(store.load(STORED).unwrap(), 5);
    assert_eq!(store.get("").await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(store.get("k\u{e4}se").await.unwrap().as_deref(), Some(&[0, 255][..]));
    assert_eq!(store.get("counter").await.unwrap().as_deref(), Some(&b"-42"[..]));
    assert_eq!(store.get("long").await.unwrap(), Some(Bytes::from(vec![b'x'; 70_000])));
    let in_2100 = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    let left = in_2100.duration_since(clock.system_time()).unwrap();
    assert_eq!(store.ttl("session").await.unwrap(), Ttl::Remaining(left));
    assert_eq!(store.ttl("old").await.unwrap(), Ttl::Missing);
}

#[test]
fn a_snapshot_of_another_version_is_refused() {
    for version in [0_u32, 2, u32::MAX, 1 << 24] {
        let mut bytes = STORED.to_vec();
        // 1 << 24 is version 1 in the wrong byte order.
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let store = MemoryBackend::new();
        let error = store.load(&bytes[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(error.to_string().contains("expected version 1") && store.is_empty());
    }
}

#[tokio::test]
async fn a_wall_clock_that_was_set_back_lengthens_loaded_lives_by_as_much() {
    let before = ManualClock::new();
    let bytes = dumped(&small(&before).await.unwrap()).unwrap();
    let after = ManualClock::starting_at(before.system_time() - 30 * SECOND);
    let store = MemoryBackend::with_clock(after);
    store.load(&bytes[..]).unwrap();
    assert_eq!(store.ttl("session").await.unwrap(), Ttl::Remaining(130 * SECOND));
}

#[tokio::test]
async fn a_wall_clock_that_is_set_changes_no_time_to_live() {
    let clock = ManualClock::new();
    let store = small(&clock).await.unwrap();
    for wall in [SystemTime::UNIX_EPOCH, clock.system_time() + 1_000_000 * SECOND] {
        clock.set_system_time(wall);
        assert_eq!(store.ttl("session").await.unwrap(), Ttl::Remaining(100 * SECOND));
    }
}
