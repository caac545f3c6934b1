//! Tests of closures that panic: nothing is stored, and the session and its store keep working.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use codex_kv::memory::MemoryBackend;
use futures_util::FutureExt as _;

use crate::support::{key, store};

#[tokio::test]
async fn a_panic_in_an_update_of_the_store_stores_nothing() {
    let store = store(MemoryBackend::new());
    let mut session = store.create().await.unwrap();
    session.insert("name", "Ada").unwrap();
    store.save(&mut session).await.unwrap();
    let key = key(&session);

    let update = store.update(&key, |session| {
        session.insert("name", "Eve")?;
        assert!(session.is_empty(), "planted");
        Ok(())
    });
    assert!(AssertUnwindSafe(update).catch_unwind().await.is_err());
    let stored = store.load(&key).await.unwrap().unwrap();
    assert_eq!(stored.get::<String>("name").unwrap().as_deref(), Some("Ada"));
    store
        .update(&key, |session| session.insert("name", "Grace"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_panic_while_changes_are_merged_stores_nothing() {
    let store = store(MemoryBackend::new());
    let mut first = store.create().await.unwrap();
    first.insert("visits", 1).unwrap();
    store.save(&mut first).await.unwrap();
    let key = key(&first);

    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut second = store.load(&key).await.unwrap().unwrap();
    let computed = second.update("visits", move |visits: Option<u32>| {
        assert_eq!(counted.fetch_add(1, Ordering::SeqCst), 0, "planted");
        visits.unwrap_or(0) + 1
    });
    assert_eq!(computed.unwrap(), 2);
    // Another request was faster, so the closure runs again for the merge.
    first.insert("visits", 7).unwrap();
    store.save(&mut first).await.unwrap();
    let merged = AssertUnwindSafe(store.save_merged(&mut second)).catch_unwind().await;
    assert!(merged.is_err());
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    let stored = store.load(&key).await.unwrap().unwrap();
    assert_eq!(stored.get::<u32>("visits").unwrap(), Some(7));
}

#[tokio::test]
async fn a_panic_in_an_update_of_a_session_changes_nothing() {
    let store = store(MemoryBackend::new());
    let mut session = store.create().await.unwrap();
    session.insert("visits", 1).unwrap();
    let update = std::panic::catch_unwind(AssertUnwindSafe(|| {
        session.update("visits", |_: Option<u32>| -> u32 { panic!("planted") })
    }));
    assert!(update.is_err());
    assert_eq!(session.get::<u32>("visits").unwrap(), Some(1));
    store.save(&mut session).await.unwrap();
}
