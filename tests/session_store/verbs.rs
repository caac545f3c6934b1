//! What the verbs do to the record.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use codex_kv::{
    AnyBackend, Expiry, KvBackend as _, SessionError, SessionKey, SessionStore, Ttl, session::ClearExpired,
};

use crate::world::{World, key, on_every_backend, record};

on_every_backend! {
    sverb_01_create_stores_at_once_with_a_time_to_live,
    sverb_02_save_of_a_deleted_session_is_gone_and_writes_nothing,
    sverb_02_save_of_an_expired_session_is_gone_and_writes_nothing,
    sverb_03_save_of_a_session_changed_elsewhere_is_a_conflict_and_writes_nothing,
    sverb_03_a_session_can_be_saved_again_and_again,
    sverb_04_updates_of_many_tasks_are_all_kept,
    sverb_04_update_returns_what_the_closure_does,
    sverb_05_load_of_a_missing_session_creates_nothing,
    sverb_05_load_of_an_unreadable_session_is_none,
    sverb_07_cycle_key_keeps_the_data_and_removes_the_old_record,
    sverb_07_cycle_key_of_a_session_deleted_elsewhere_is_gone,
    sverb_07_cycle_key_of_a_session_changed_elsewhere_is_a_conflict,
    sverb_08_flush_removes_the_record_and_gives_an_empty_session,
    sverb_09_delete_and_exists,
    sverb_10_clear_expired_says_that_it_does_nothing,
    sverb_11_an_empty_session_that_is_saved_is_a_record,
    sverb_11_touch_renews_the_time_alone,
}

/// Every stored byte of a session; none where there is no record.
async fn stored(world: &World, key: &SessionKey) -> Option<Bytes> {
    world.backend.get(&record(key)).await.unwrap()
}

/// How many sessions are stored.
async fn count(world: &World) -> usize {
    use codex_kv::{Pattern, ScanRequest};
    let pattern = Pattern::prefix("shop:session:");
    let page = world.backend.scan(ScanRequest::new(&pattern)).await.unwrap();
    assert!(page.next.is_none(), "so few keys are one page");
    page.keys.len()
}

async fn sverb_01_create_stores_at_once_with_a_time_to_live(world: World) {
    let store = world.store();
    let session = store.create().await.unwrap();
    assert!(session.is_empty() && !session.is_modified() && !session.is_accessed());
    assert_eq!(key(&session).as_str().len(), 32);
    let ttl = world.backend.ttl(&record(&key(&session))).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left > Duration::from_secs(1_209_590)),
        "{ttl:?}"
    );
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());

    let lazy = store.new_session();
    assert!(lazy.key().is_none());
    assert_eq!(count(&world).await, 1, "a session that was never saved is not stored");
}

async fn sverb_02_save_of_a_deleted_session_is_gone_and_writes_nothing(world: World) {
    let store = world.store();
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    assert!(store.delete(&key(&session)).await.unwrap());
    assert!(matches!(store.save(&mut session).await, Err(SessionError::Gone)));
    assert_eq!(stored(&world, &key(&session)).await, None);
    assert!(session.is_modified(), "what was not saved is still to be");
    assert!(matches!(store.touch(&session).await, Err(SessionError::Gone)));
    let updated = store.update(&key(&session), |session| session.insert("a", 1)).await;
    assert!(matches!(updated, Err(SessionError::Gone)));
    assert_eq!(count(&world).await, 0);
}

async fn sverb_02_save_of_an_expired_session_is_gone_and_writes_nothing(world: World) {
    let store = world
        .builder()
        .project("shop")
        .cookie_age(Duration::from_millis(60))
        .build()
        .unwrap();
    let mut session = store.create().await.unwrap();
    world.pass(Duration::from_millis(80)).await;
    assert!(store.load(&key(&session)).await.unwrap().is_none());
    assert!(matches!(store.save(&mut session).await, Err(SessionError::Gone)));
    assert!(matches!(store.touch(&session).await, Err(SessionError::Gone)));
    assert!(matches!(store.cycle_key(&mut session).await, Err(SessionError::Gone)));
    assert!(!store.exists(&key(&session)).await.unwrap());
    assert_eq!(count(&world).await, 0);
}

async fn sverb_03_save_of_a_session_changed_elsewhere_is_a_conflict_and_writes_nothing(world: World) {
    let store = world.store();
    let mut mine = store.create().await.unwrap();
    let mut theirs = store.load(&key(&mine)).await.unwrap().unwrap();
    theirs.insert("theirs", 1).unwrap();
    theirs.set_expiry(Duration::from_secs(500));
    store.save(&mut theirs).await.unwrap();
    let written = stored(&world, &key(&mine)).await;

    mine.insert("mine", 2).unwrap();
    for _ in 0..2 {
        assert!(matches!(store.save(&mut mine).await, Err(SessionError::Conflict)));
    }
    assert_eq!(
        stored(&world, &key(&mine)).await,
        written,
        "the other's change is intact"
    );
    let ttl = world.backend.ttl(&record(&key(&mine))).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left <= Duration::from_secs(500)),
        "{ttl:?}"
    );
}

async fn sverb_03_a_session_can_be_saved_again_and_again(world: World) {
    let store = world.store();
    let mut session = store.new_session();
    for n in 0..3 {
        session.insert("n", n).unwrap();
        store.save(&mut session).await.unwrap();
        assert!(!session.is_modified());
        let loaded = store.load(&key(&session)).await.unwrap().unwrap();
        assert_eq!(loaded.get::<i32>("n").unwrap(), Some(n));
    }
    assert_eq!(count(&world).await, 1);
}

fn increment(session: &mut codex_kv::Session) -> Result<u64, SessionError> {
    let n = session.get::<u64>("n")?.unwrap_or(0) + 1;
    session.insert("n", n)?;
    Ok(n)
}

async fn sverb_04_updates_of_many_tasks_are_all_kept(world: World) {
    let store = world.store();
    let session = key(&store.create().await.unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, session) = (store.clone(), session.clone());
            tokio::spawn(async move {
                for _ in 0..100 {
                    store.update(&session, increment).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let loaded = store.load(&session).await.unwrap().unwrap();
    assert_eq!(loaded.get::<u64>("n").unwrap(), Some(800));
}

async fn sverb_04_update_returns_what_the_closure_does(world: World) {
    let store = world.store();
    let session = key(&store.create().await.unwrap());
    assert_eq!(store.update(&session, increment).await.unwrap(), 1);
    assert_eq!(store.update(&session, increment).await.unwrap(), 2);

    // Somebody else's change comes between load and save, twice: the closure runs three times on what is there then.
    let (others, mut runs) = (Arc::new(store.clone()), 0);
    let raced = store.update(&session, |session| {
        runs += 1;
        if runs < 3 {
            let (others, session) = (others.clone(), key(session));
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async { others.update(&session, increment).await.unwrap() })
            });
        }
        increment(session)
    });
    assert_eq!((raced.await.unwrap(), runs), (5, 3));

    let before = stored(&world, &session).await;
    let failed: Result<(), _> = store
        .update(&session, |session| {
            session.clear();
            session.insert("x", f64::NAN)
        })
        .await;
    assert!(matches!(failed, Err(SessionError::Codec(_))));
    assert_eq!(
        stored(&world, &session).await,
        before,
        "where the closure fails nothing is saved"
    );
}

async fn sverb_05_load_of_a_missing_session_creates_nothing(world: World) {
    let store = world.store();
    let missing: SessionKey = "aaaaaaaaaaaaaaaa".parse().unwrap();
    assert!(store.load(&missing).await.unwrap().is_none());
    assert!(matches!(
        store.update(&missing, increment).await,
        Err(SessionError::Gone)
    ));
    assert_eq!(count(&world).await, 0);
}

async fn sverb_05_load_of_an_unreadable_session_is_none(world: World) {
    let store = world.store();
    let session = key(&store.create().await.unwrap());
    let good = stored(&world, &session).await.unwrap();
    let mut changed_signature = good.to_vec();
    let last = changed_signature.len() - 5;
    changed_signature[last] = if changed_signature[last] == b'A' { b'B' } else { b'A' };
    for payload in [
        changed_signature.into(),
        good.slice(..good.len() - 1),
        Bytes::new(),
        Bytes::from_static(b"{\"uid\":42}"),
        Bytes::from_static(b"\xff\xfe\0"),
        // Signed, and a list.
        Bytes::from_static(b"WzEsMiwzXQ:1r31eq:oYNz0AE6dWUlPn_rywaSa72OTkxq32q9N2P23d9gn9g"),
    ] {
        world
            .backend
            .set_many(&[(&record(&session), payload.clone())], Expiry::Never)
            .await
            .unwrap();
        assert!(store.load(&session).await.unwrap().is_none());
        assert!(matches!(
            store.update(&session, increment).await,
            Err(SessionError::Gone)
        ));
        assert_eq!(stored(&world, &session).await, Some(payload), "it is left as it is");
        assert!(store.exists(&session).await.unwrap());
    }
}

/// A session with a value, loaded.
async fn loaded(store: &SessionStore<AnyBackend>) -> codex_kv::Session {
    let mut session = store.create().await.unwrap();
    session.insert("cart", ["SKU-1"]).unwrap();
    store.save(&mut session).await.unwrap();
    store.load(&key(&session)).await.unwrap().unwrap()
}

async fn sverb_07_cycle_key_keeps_the_data_and_removes_the_old_record(world: World) {
    let store = world.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    session.insert("user", 42).unwrap();
    session.set_expiry(Duration::from_secs(300));
    store.cycle_key(&mut session).await.unwrap();
    let new = key(&session);
    assert_ne!(new, old);
    assert!(!session.is_modified());
    assert!(store.load(&old).await.unwrap().is_none());
    let again = store.load(&new).await.unwrap().unwrap();
    assert_eq!(again.get::<Vec<String>>("cart").unwrap().unwrap(), ["SKU-1"]);
    assert_eq!(
        again.get::<u64>("user").unwrap(),
        Some(42),
        "unsaved changes are kept too"
    );
    let ttl = world.backend.ttl(&record(&new)).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left <= Duration::from_secs(300)),
        "{ttl:?}"
    );
    assert_eq!(count(&world).await, 1);

    session.insert("more", 1).unwrap();
    store.save(&mut session).await.unwrap();

    let mut without_key = store.new_session();
    store.cycle_key(&mut without_key).await.unwrap();
    assert!(store.exists(&key(&without_key)).await.unwrap());
}

async fn sverb_07_cycle_key_of_a_session_deleted_elsewhere_is_gone(world: World) {
    let store = world.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    store.delete(&old).await.unwrap();
    assert!(matches!(store.cycle_key(&mut session).await, Err(SessionError::Gone)));
    assert_eq!(key(&session), old, "the session is as before");
    assert_eq!(count(&world).await, 0, "a logout elsewhere stays one");
}

async fn sverb_07_cycle_key_of_a_session_changed_elsewhere_is_a_conflict(world: World) {
    let store = world.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    session.insert("mine", 1).unwrap();
    store.update(&old, increment).await.unwrap();
    let theirs = stored(&world, &old).await;
    assert!(matches!(
        store.cycle_key(&mut session).await,
        Err(SessionError::Conflict)
    ));
    assert_eq!(
        (key(&session), session.is_modified()),
        (old.clone(), true),
        "the session is as before"
    );
    assert_eq!(stored(&world, &old).await, theirs, "the other's change is intact");
    assert_eq!(count(&world).await, 1);
}

async fn sverb_08_flush_removes_the_record_and_gives_an_empty_session(world: World) {
    let store = world.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    store.update(&old, increment).await.unwrap();
    store.flush(&mut session).await.unwrap();
    assert!(session.is_empty() && session.is_modified() && session.key().is_none());
    assert_eq!(count(&world).await, 0, "changed elsewhere or not");

    store.flush(&mut session).await.unwrap();
    store.save(&mut session).await.unwrap();
    assert_ne!(key(&session), old, "a flushed session that is saved has a new key");
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());
}

async fn sverb_09_delete_and_exists(world: World) {
    let store = world.store();
    let session = key(&store.create().await.unwrap());
    assert!(store.exists(&session).await.unwrap());
    assert!(store.delete(&session).await.unwrap());
    assert!(!store.exists(&session).await.unwrap());
    assert!(!store.delete(&session).await.unwrap(), "what is not there is no error");
}

async fn sverb_10_clear_expired_says_that_it_does_nothing(world: World) {
    let store = world.store();
    store.create().await.unwrap();
    assert_eq!(store.clear_expired().await.unwrap(), ClearExpired::NotNeeded);
    assert_eq!(count(&world).await, 1);
}

async fn sverb_11_an_empty_session_that_is_saved_is_a_record(world: World) {
    let store = world.store();
    let mut session = store.new_session();
    store.save(&mut session).await.unwrap();
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());

    let mut emptied = loaded(&store).await;
    emptied.clear();
    store.save(&mut emptied).await.unwrap();
    assert!(store.load(&key(&emptied)).await.unwrap().unwrap().is_empty());
    assert_eq!(count(&world).await, 2);
}

async fn sverb_11_touch_renews_the_time_alone(world: World) {
    let store = world.store();
    let mut session = loaded(&store).await;
    session.set_expiry(Duration::from_secs(100));
    store.save(&mut session).await.unwrap();
    store.update(&key(&session), increment).await.unwrap();
    let before = stored(&world, &key(&session)).await;
    let shorter = Expiry::After(Duration::from_secs(5));
    assert!(world.backend.expire(&record(&key(&session)), shorter).await.unwrap());
    store.touch(&session).await.unwrap();
    let ttl = world.backend.ttl(&record(&key(&session))).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left > Duration::from_secs(90)),
        "{ttl:?}"
    );
    assert_eq!(stored(&world, &key(&session)).await, before, "a change elsewhere stays");
    assert!(matches!(
        store.touch(&store.new_session()).await,
        Err(SessionError::Gone)
    ));
}
