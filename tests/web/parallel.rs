//! Requests of one browser side by side.

use codex_kv::{AnyBackend, SessionError, memory::MemoryBackend, redis::RedisBackend};
use codex_testkit::redis::Database;
use tokio::task::JoinSet;

use crate::app::{Browser, app, store};

/// Eight requests at once, each with a name of its own, again and again: every name is there afterwards.
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

/// The whole bar, 1,000 rounds, is `CODEX_ROUNDS=1000`.
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
    let backend = RedisBackend::connect(&database.url()).await.unwrap();
    nobodys_key_is_lost(AnyBackend::new(backend), rounds()).await;
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
    other.set_expiry(std::time::Duration::from_secs(300));
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

    // The same where the key is cycled.
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
