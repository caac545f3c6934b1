//! Tests of concurrent requests of one browser.

use codex_kv::{AnyBackend, SessionError, memory::MemoryBackend, redis::RedisBackend};
use codex_testkit::redis::Database;
use tokio::task::JoinSet;

use crate::app::{Browser, app, store};

/// Makes eight concurrent requests that set different names, in each of several rounds. Asserts
/// that every name is present afterwards.
async fn nobodys_key_is_lost(backend: AnyBackend, rounds: u32) {
    let app = app(backend.clone());
    for round in 0..rounds {
        let mut browser = Browser::new(app.clone());
        browser.get("/set/first/x").await;
        let mut requests = JoinSet::new();
        for number in 0..8 {
            let browser = browser.clone();
            requests.spawn(async move { browser.peek(&format!("/set/key{number}/{round}")).await });
        }
        while let Some(page) = requests.join_next().await {
            let page = page.unwrap();
            assert_eq!(
                (page.status.as_u16(), page.body.as_str()),
                (200, "set"),
                "round {round}"
            );
        }
        let key = browser.key();
        let session = store(backend.clone()).load(&key).await.unwrap().unwrap();
        for number in 0..8 {
            let value = session.get::<String>(&format!("key{number}")).unwrap();
            assert_eq!(value, Some(round.to_string()), "key {number} of round {round}");
        }
        assert_eq!(session.keys().count(), 9);
    }
}

/// Makes eight concurrent requests that increment a counter. An increment is computed again if
/// another request was faster.
async fn nobodys_count_is_lost(backend: AnyBackend, rounds: u32) {
    let app = app(backend.clone());
    let mut browser = Browser::new(app);
    assert_eq!(browser.get("/count/visits").await.body, "1");
    for round in 0..rounds {
        let mut requests = JoinSet::new();
        for _ in 0..8 {
            let browser = browser.clone();
            requests.spawn(async move { browser.peek("/count/visits").await.status.as_u16() });
        }
        assert_eq!(requests.join_all().await, [200; 8], "round {round}");
    }
    let session = store(backend).load(&browser.key()).await.unwrap().unwrap();
    assert_eq!(session.get::<u32>("visits").unwrap(), Some(1 + 8 * rounds));
}

/// Returns the number of rounds. `scripts/long parallel-sessions` makes the full run of 1,000
/// rounds.
fn rounds() -> u32 {
    std::env::var("CODEX_ROUNDS").map_or(100, |rounds| rounds.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_parallel_requests_lose_no_key_on_memory() {
    nobodys_key_is_lost(AnyBackend::new(MemoryBackend::new()), rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_parallel_requests_lose_no_key_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    nobodys_key_is_lost(AnyBackend::new(backend), rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_parallel_requests_lose_no_count_on_memory() {
    nobodys_count_is_lost(AnyBackend::new(MemoryBackend::new()), rounds() / 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_parallel_requests_lose_no_count_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    let backend = RedisBackend::connect(&database.patient_url()).await.unwrap();
    nobodys_count_is_lost(AnyBackend::new(backend), rounds() / 4).await;
}

#[tokio::test]
async fn a_merge_does_again_what_was_done_and_not_what_differs() {
    let store = store(MemoryBackend::new());
    let mut first = store.create().await.unwrap();
    first.insert("same", "old").unwrap();
    first.insert("count", 1).unwrap();
    store.save(&mut first).await.unwrap();
    let key = first.key().unwrap().clone();
    let mut other = store.load(&key).await.unwrap().unwrap();

    first.insert("same", "new").unwrap();
    first.insert("count", 10).unwrap();
    first.insert("set", 5).unwrap();
    store.save(&mut first).await.unwrap();

    // Setting the loaded value again is a change too, and it wins because it is later.
    other.insert("same", "old").unwrap();
    assert_eq!(
        other.update("count", |count: Option<u32>| count.unwrap() + 1).unwrap(),
        2
    );
    assert_eq!(
        other.update("count", |count: Option<u32>| count.unwrap() * 2).unwrap(),
        4
    );
    // The counter continues from this side's value, regardless of other clients' values.
    other.insert("set", 100).unwrap();
    assert_eq!(other.update("set", |set: Option<u32>| set.unwrap() + 1).unwrap(), 101);
    store.save_merged(&mut other).await.unwrap();
    let merged = store.load(&key).await.unwrap().unwrap();
    for session in [&other, &merged] {
        assert_eq!(session.get::<String>("same").unwrap().as_deref(), Some("old"));
        assert_eq!(session.get::<u32>("count").unwrap(), Some(22));
        assert_eq!(session.get::<u32>("set").unwrap(), Some(101));
    }

    // A saved change is not applied again.
    store.update(&key, |session| session.insert("count", 0)).await.unwrap();
    other.insert("late", 1).unwrap();
    store.save_merged(&mut other).await.unwrap();
    assert_eq!(other.get::<u32>("count").unwrap(), Some(0));

    // Nothing is saved if a change cannot be applied.
    store
        .update(&key, |session| session.insert("count", "no number"))
        .await
        .unwrap();
    other
        .update("count", |count: Option<u32>| count.unwrap_or(0) + 1)
        .unwrap();
    assert!(matches!(
        store.save_merged(&mut other).await,
        Err(SessionError::Codec(_))
    ));
    let stored = store.load(&key).await.unwrap().unwrap();
    assert_eq!(stored.get::<String>("count").unwrap().as_deref(), Some("no number"));
}

#[tokio::test]
async fn a_change_that_a_conflict_undid_is_not_forgotten() {
    let store = store(MemoryBackend::new());
    let mut first = store.create().await.unwrap();
    let key = first.key().unwrap().clone();
    first.insert("mine", 1).unwrap();
    store.update(&key, |session| session.insert("theirs", 1)).await.unwrap();
    // A new key is tried and removed again, and the changes are still unsaved.
    assert!(matches!(store.cycle_key(&mut first).await, Err(SessionError::Conflict)));
    assert_eq!(first.key(), Some(&key));
    assert!(first.is_modified());
    store.save_merged(&mut first).await.unwrap();
    let stored = store.load(&key).await.unwrap().unwrap();
    assert!(stored.contains_key("mine") && stored.contains_key("theirs"));
}

#[tokio::test]
async fn a_merge_keeps_removals_and_others_values() {
    let store = store(MemoryBackend::new());
    let mut first = store.create().await.unwrap();
    for name in ["a", "b", "c"] {
        first.insert(name, "old").unwrap();
    }
    store.save(&mut first).await.unwrap();
    let key = first.key().unwrap().clone();
    let mut other = store.load(&key).await.unwrap().unwrap();

    first.remove("a");
    first.insert("b", "mine").unwrap();
    first.insert("mine", 1).unwrap();
    store.save(&mut first).await.unwrap();

    other.insert("b", "theirs").unwrap();
    other.insert("c", "theirs").unwrap();
    other.set_expiry(std::time::Duration::from_secs(300)).unwrap();
    assert!(matches!(store.save(&mut other).await, Err(SessionError::Conflict)));
    store.save_merged(&mut other).await.unwrap();
    for session in [&other, &store.load(&key).await.unwrap().unwrap()] {
        assert_eq!(session.get::<String>("a").unwrap(), None, "removed by one");
        assert_eq!(
            session.get::<String>("b").unwrap().as_deref(),
            Some("theirs"),
            "the last one counts"
        );
        assert_eq!(session.get::<String>("c").unwrap().as_deref(), Some("theirs"));
        assert_eq!(session.get::<u64>("mine").unwrap(), Some(1));
        assert_eq!(session.expiry_age().as_secs(), 300);
    }

    // The same with a cycled key.
    store
        .update(&key, |session| session.insert("meanwhile", 1))
        .await
        .unwrap();
    other.insert("user", 42).unwrap();
    store.cycle_key_merged(&mut other).await.unwrap();
    assert_ne!(other.key(), Some(&key));
    assert!(other.contains_key("meanwhile") && other.contains_key("user"));
    assert!(!store.exists(&key).await.unwrap());

    let ended = other.key().unwrap().clone();
    store.delete(&ended).await.unwrap();
    other.insert("late", 1).unwrap();
    assert!(matches!(store.save_merged(&mut other).await, Err(SessionError::Gone)));
    assert!(matches!(
        store.cycle_key_merged(&mut other).await,
        Err(SessionError::Gone)
    ));
}

#[tokio::test]
async fn a_clear_beside_an_insert_keeps_what_was_inserted() {
    use axum::routing::get;
    use codex_kv::web::{Session, SessionLayer};
    let store = store(MemoryBackend::new());
    let elsewhere = store.clone();
    let handler = move |session: Session| async move {
        session.with(codex_kv::Session::clear).await?;
        let key = session.key().await?.unwrap();
        elsewhere.update(&key, |session| session.insert("new", "1")).await?;
        Ok::<_, SessionError>("cleared")
    };
    let routes = crate::app::routes().route("/clear-beside", get(handler));
    let mut browser = Browser::new(routes.layer(SessionLayer::new(store)));
    browser.get("/set/old/1").await;
    assert_eq!(browser.get("/clear-beside").await.status, 200);
    assert_eq!(browser.get("/get/old").await.body, "nothing");
    assert_eq!(browser.get("/get/new").await.body, "1");
}
