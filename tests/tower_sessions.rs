//! Tests of the store for `tower-sessions`, on memory and on a real Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_kv::{
    AnyBackend, KvBackend as _, SetOptions, Ttl,
    memory::{ManualClock, MemoryBackend},
    redis::RedisBackend,
    tower_sessions::TowerSessionStore,
};
use codex_testkit::redis::{Database, RedisServer};
use tower_sessions_core::{
    Session, SessionStore as _,
    session::{Id, Record},
    session_store::Error,
};

fn record(seconds: i64) -> Record {
    let now = SystemTime::now();
    let by = Duration::from_secs(seconds.unsigned_abs());
    let date = if seconds < 0 { now - by } else { now + by };
    Record {
        id: Id::default(),
        data: std::iter::once(("name".to_owned(), "Ada".into())).collect(),
        expiry_date: date.into(),
    }
}

fn key(record: &Record) -> String {
    format!("shop:tower-session:{}", record.id)
}

/// Generates each test once per backend.
macro_rules! on_every_backend {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::AnyBackend::new(super::MemoryBackend::new())).await;
            })+
        }

        mod redis {
            $(#[tokio::test]
            async fn $test() {
                let database = codex_testkit::require!("redis", super::Database::lease());
                let backend = super::RedisBackend::connect(&database.patient_url()).await.unwrap();
                super::$test(super::AnyBackend::new(backend)).await;
            })+
        }
    };
}

on_every_backend! {
    what_is_created_is_loaded_saved_and_deleted,
    create_does_not_overwrite,
    a_save_after_a_delete_does_not_resurrect,
    a_session_whose_time_has_passed_is_not_stored,
    a_cache_does_not_restore_a_session_that_was_saved_after_its_end,
    what_is_no_record_is_an_error,
    sessions_of_tower_sessions_work_on_it,
}

fn store(backend: &AnyBackend) -> TowerSessionStore<AnyBackend> {
    TowerSessionStore::new(backend.clone()).project("shop")
}

async fn what_is_created_is_loaded_saved_and_deleted(backend: AnyBackend) {
    let store = store(&backend);
    let mut record = record(300);
    store.create(&mut record).await.unwrap();
    assert_eq!(store.load(&record.id).await.unwrap().as_ref(), Some(&record));
    let ttl = backend.ttl(&key(&record)).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left <= Duration::from_secs(300) && left > Duration::from_secs(290)),
        "{ttl:?}"
    );
    record.data.insert("float".to_owned(), 31.245_270_191_439_438.into());
    store.save(&record).await.unwrap();
    assert_eq!(store.load(&record.id).await.unwrap().as_ref(), Some(&record));
    store.delete(&record.id).await.unwrap();
    store.delete(&record.id).await.unwrap();
    assert_eq!(store.load(&record.id).await.unwrap(), None);
}

async fn create_does_not_overwrite(backend: AnyBackend) {
    let store = store(&backend);
    let mut first = record(300);
    store.create(&mut first).await.unwrap();
    let mut second = record(300);
    second.id = first.id;
    second.data.clear();
    store.create(&mut second).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(store.load(&first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.load(&second.id).await.unwrap().as_ref(), Some(&second));
}

async fn a_save_after_a_delete_does_not_resurrect(backend: AnyBackend) {
    let store = store(&backend);
    let mut record = record(300);
    store.create(&mut record).await.unwrap();
    store.delete(&record.id).await.unwrap();
    assert!(matches!(store.save(&record).await, Err(Error::Backend(_))));
    assert_eq!(backend.get(&key(&record)).await.unwrap(), None);
}

async fn a_session_whose_time_has_passed_is_not_stored(backend: AnyBackend) {
    let store = store(&backend);
    let mut passed = record(-1);
    store.create(&mut passed).await.unwrap();
    assert_eq!(store.load(&passed.id).await.unwrap(), None);

    let mut living = record(300);
    store.create(&mut living).await.unwrap();
    living.expiry_date = passed.expiry_date;
    store.save(&living).await.unwrap();
    assert_eq!(backend.get(&key(&living)).await.unwrap(), None);
}

async fn a_cache_does_not_restore_a_session_that_was_saved_after_its_end(backend: AnyBackend) {
    let cache = store(&backend).as_cache();
    let mut ended = record(300);
    cache.save(&ended).await.unwrap();
    let in_flight = ended.clone();
    cache.delete(&ended.id).await.unwrap();
    ended.expiry_date = record(-1).expiry_date;
    cache.save(&ended).await.unwrap();
    cache.save(&in_flight).await.unwrap();
    assert_eq!(cache.load(&ended.id).await.unwrap(), None);
}

async fn what_is_no_record_is_an_error(backend: AnyBackend) {
    let store = store(&backend);
    let mut other = record(300);
    store.create(&mut other).await.unwrap();
    let id = record(300).id;
    let copied = backend.get(&key(&other)).await.unwrap().unwrap();
    let key = format!("shop:tower-session:{id}");
    for foreign in ["", "{}", "hunter2", "[1"] {
        let value = Bytes::from_static(foreign.as_bytes());
        assert!(backend.set(&key, value, SetOptions::new()).await.unwrap().is_written());
        match store.load(&id).await {
            Err(Error::Decode(text)) => assert!(!text.contains("hunter2")),
            other => panic!("{other:?}"),
        }
    }
    assert!(backend.set(&key, copied, SetOptions::new()).await.unwrap().is_written());
    assert_eq!(
        store.load(&id).await.unwrap(),
        None,
        "a record under another id is not that session"
    );
}

/// Uses the store in the way that `tower_sessions::SessionManagerLayer` does.
async fn sessions_of_tower_sessions_work_on_it(backend: AnyBackend) {
    let store = Arc::new(store(&backend));
    let session = Session::new(None, store.clone(), None);
    session.insert("cart", vec![1, 2]).await.unwrap();
    session.save().await.unwrap();
    let id = session.id().unwrap();

    let again = Session::new(Some(id), store.clone(), None);
    assert_eq!(again.get::<Vec<u64>>("cart").await.unwrap(), Some(vec![1, 2]));
    again.cycle_id().await.unwrap();
    again.save().await.unwrap();
    let cycled = again.id().unwrap();
    assert_ne!(cycled, id);
    assert_eq!(store.load(&id).await.unwrap(), None);

    let elsewhere = Session::new(Some(cycled), store.clone(), None);
    elsewhere.flush().await.unwrap();
    again.insert("late", 1).await.unwrap();
    assert!(again.save().await.is_err(), "logged out elsewhere");
    assert_eq!(store.load(&cycled).await.unwrap(), None);
}

#[tokio::test]
async fn the_record_expires_with_the_session() {
    let clock = ManualClock::new();
    let store = TowerSessionStore::new(MemoryBackend::with_clock(clock.clone()));
    let mut record = record(300);
    store.create(&mut record).await.unwrap();
    clock.advance(Duration::from_secs(301));
    assert_eq!(store.load(&record.id).await.unwrap(), None);
    assert!(store.save(&record).await.is_err());
}

#[tokio::test]
async fn an_outage_is_an_error_from_every_call() {
    let server = codex_testkit::require!("redis", RedisServer::start());
    let store = TowerSessionStore::new(RedisBackend::connect(&server.url()).await.unwrap());
    let mut record = record(300);
    store.create(&mut record).await.unwrap();
    drop(server);
    assert!(matches!(store.load(&record.id).await, Err(Error::Backend(_))));
    assert!(matches!(store.save(&record).await, Err(Error::Backend(_))));
    assert!(matches!(store.delete(&record.id).await, Err(Error::Backend(_))));
    let shown = format!("{:?}", store.create(&mut record).await.unwrap_err());
    assert!(
        !shown.contains(&record.id.to_string()) && !shown.contains("Ada"),
        "{shown}"
    );
}
