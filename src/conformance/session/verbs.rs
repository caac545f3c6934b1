//! Clauses on the effects of verbs on the record.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use codex_testkit::{
    Harness, OutageKind,
    suite::{Checked, spawn},
};
use futures_util::TryStreamExt as _;

use super::super::face::SessionStore;
use super::{
    super::context::{Context, Cx, clauses, not_the_outage, part},
    cases::{
        a_nearly_equal_payload_is_a_change, nearly_equal_keys_are_different_sessions, payloads_of_every_size_are_kept,
    },
    failing::a_key_that_is_taken_is_left_alone,
    key,
    merges::{
        a_change_is_repeated_until_it_wins, a_merge_applies_exactly_the_unsaved_changes,
        a_merge_recreates_no_ended_session, a_merge_repeats_the_changes_in_their_order,
        a_merged_session_has_the_expiry_of_both,
    },
    record,
};
use crate::{
    Expiry, KvBackend, KvBackendExt as _, Pattern, Session, SessionError, SessionKey, Ttl, session::ClearExpired,
};

pub(super) use super::web::sverb_12_each_kind_of_failure_has_its_own_answer;

clauses! {
    sverb_01_create_stores_at_once {
        create_stores_at_once_with_a_time_to_live
        a_key_that_is_taken_is_left_alone
    }
    sverb_02_save_of_a_session_that_is_gone_writes_nothing {
        save_of_a_deleted_session_is_gone_and_writes_nothing
        save_of_an_expired_session_is_gone_and_writes_nothing
        save_is_one_step
    }
    sverb_03_save_of_a_session_changed_elsewhere_is_a_conflict {
        save_of_a_session_changed_elsewhere_is_a_conflict_and_writes_nothing
        a_session_can_be_saved_again_and_again
        a_nearly_equal_payload_is_a_change
        payloads_of_every_size_are_kept
    }
    sverb_04_update_loses_nothing {
        updates_of_many_tasks_are_all_kept
        update_returns_what_the_closure_does
        a_merge_keeps_the_changes_of_both_sides
        a_merge_applies_exactly_the_unsaved_changes
        a_merge_repeats_the_changes_in_their_order
        a_merge_recreates_no_ended_session
        a_merged_session_has_the_expiry_of_both
        a_change_is_repeated_until_it_wins
    }
    sverb_05_load_of_what_is_missing_or_unreadable_is_none {
        load_of_a_missing_session_creates_nothing
        load_of_an_unreadable_session_is_none
        a_payload_with_a_changed_byte_is_unreadable
        a_payload_without_its_signature_is_unreadable
    }
    sverb_07_cycle_key_keeps_the_data_under_a_new_key {
        cycle_key_keeps_the_data_and_removes_the_old_record
        cycle_key_of_a_session_deleted_elsewhere_is_gone
        cycle_key_of_a_session_changed_elsewhere_is_a_conflict
        the_new_record_is_stored_before_the_old_one_is_removed
    }
    sverb_08_flush_removes_the_record_and_gives_an_empty_session {
        flush_removes_the_record_and_gives_an_empty_session
    }
    sverb_09_delete_and_exists {
        delete_and_exists
        nearly_equal_keys_are_different_sessions
    }
    sverb_10_clear_expired_says_that_it_does_nothing {
        clear_expired_says_that_it_does_nothing
    }
    sverb_11_an_empty_session_that_is_saved_is_a_record {
        an_empty_session_that_is_saved_is_a_record
        touch_renews_the_time_alone
    }
}

/// Returns the stored bytes of a session, or `None` if there is no record.
async fn stored<B: KvBackend>(cx: &Cx<B>, key: &SessionKey) -> Option<Bytes> {
    cx.backend.get(&record(key)).await.unwrap()
}

/// Returns the number of stored sessions.
async fn count<B: KvBackend>(cx: &Cx<B>) -> usize {
    let pattern = Pattern::prefix("shop:session:");
    let keys = cx.backend.scan_all(&pattern).try_collect::<BTreeSet<String>>().await;
    keys.unwrap().len()
}

async fn create_stores_at_once_with_a_time_to_live<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = store.create().await.unwrap();
    assert!(session.is_empty() && !session.is_modified() && !session.is_accessed());
    assert_eq!(key(&session).as_str().len(), 32);
    let ttl = cx.backend.ttl(&record(&key(&session))).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left > Duration::from_secs(1_209_590)),
        "the time to live is {ttl:?}"
    );
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());

    let lazy = store.new_session();
    assert!(lazy.key().is_none());
    assert_eq!(count(cx).await, 1, "a session that was never saved is not stored");
}

async fn save_of_a_deleted_session_is_gone_and_writes_nothing<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    assert!(store.delete(&key(&session)).await.unwrap());
    assert!(matches!(store.save(&mut session).await, Err(SessionError::Gone)));
    assert_eq!(stored(cx, &key(&session)).await, None);
    assert!(session.is_modified(), "the unsaved changes are kept");
    assert!(matches!(store.touch(&session).await, Err(SessionError::Gone)));
    let updated = store.update(&key(&session), |session| session.insert("a", 1)).await;
    assert!(matches!(updated, Err(SessionError::Gone)));
    assert_eq!(count(cx).await, 0);
}

async fn save_of_an_expired_session_is_gone_and_writes_nothing<B: KvBackend>(cx: &Cx<B>) {
    let short = cx.clock.short();
    let store = cx.sessions().project("shop").cookie_age(short).build().unwrap();
    let mut session = store.create().await.unwrap();
    cx.clock.outlive(short).await;
    assert!(store.load(&key(&session)).await.unwrap().is_none());
    assert!(matches!(store.save(&mut session).await, Err(SessionError::Gone)));
    assert!(matches!(store.touch(&session).await, Err(SessionError::Gone)));
    assert!(matches!(store.cycle_key(&mut session).await, Err(SessionError::Gone)));
    assert!(!store.exists(&key(&session)).await.unwrap());
    assert_eq!(count(cx).await, 0);
}

async fn save_of_a_session_changed_elsewhere_is_a_conflict_and_writes_nothing<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut mine = store.create().await.unwrap();
    let mut theirs = store.load(&key(&mine)).await.unwrap().unwrap();
    theirs.insert("theirs", 1).unwrap();
    theirs.set_expiry(Duration::from_secs(500)).unwrap();
    store.save(&mut theirs).await.unwrap();
    let written = stored(cx, &key(&mine)).await;

    mine.insert("mine", 2).unwrap();
    for _ in 0..2 {
        assert!(matches!(store.save(&mut mine).await, Err(SessionError::Conflict)));
    }
    assert_eq!(stored(cx, &key(&mine)).await, written, "the other's change is intact");
    let ttl = cx.backend.ttl(&record(&key(&mine))).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left <= Duration::from_secs(500)),
        "the time to live is {ttl:?}"
    );
}

async fn a_session_can_be_saved_again_and_again<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.new_session();
    for n in 0..3 {
        session.insert("n", n).unwrap();
        store.save(&mut session).await.unwrap();
        assert!(!session.is_modified());
        let loaded = store.load(&key(&session)).await.unwrap().unwrap();
        assert_eq!(loaded.get::<i32>("n").unwrap(), Some(n));
    }
    assert_eq!(count(cx).await, 1);
}

fn increment(session: &mut Session) -> Result<u64, SessionError> {
    let n = session.get::<u64>("n")?.unwrap_or(0) + 1;
    session.insert("n", n)?;
    Ok(n)
}

async fn updates_of_many_tasks_are_all_kept<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = key(&store.create().await.unwrap());
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, session) = (store.clone(), session.clone());
            spawn(async move {
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

async fn update_returns_what_the_closure_does<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = key(&store.create().await.unwrap());
    assert_eq!(store.update(&session, increment).await.unwrap(), 1);
    assert_eq!(store.update(&session, increment).await.unwrap(), 2);

    // Another client's change comes between load and save, twice. The closure runs three times,
    // each time on the current data.
    let (watched_store, watched) = cx.watched_store();
    for _ in 0..2 {
        let (store, session) = (store.clone(), session.clone());
        watched.before("set", async move {
            store.update(&session, increment).await.unwrap();
        });
    }
    let mut runs = 0;
    let raced = watched_store.update(&session, |session| {
        runs += 1;
        increment(session)
    });
    assert_eq!((raced.await.unwrap(), runs), (5, 3));

    let before = stored(cx, &session).await;
    let failed: Result<(), _> = store
        .update(&session, |session| {
            session.clear();
            session.insert("x", f64::NAN)
        })
        .await;
    assert!(matches!(failed, Err(SessionError::Codec(_))));
    assert_eq!(
        stored(cx, &session).await,
        before,
        "nothing is saved if the closure fails"
    );
}

async fn a_merge_keeps_the_changes_of_both_sides<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let theirs = async |session: &Session| {
        let key = key(session);
        let change = store.update(&key, |session| {
            session.insert("theirs", 1)?;
            increment(session)
        });
        change.await.unwrap();
    };
    let mut mine = loaded(&store).await;
    theirs(&mine).await;
    for _ in 0..2 {
        mine.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap();
    }
    assert!(mine.is_modified());
    mine.set_expiry(Duration::from_secs(300)).unwrap();
    store.save_merged(&mut mine).await.unwrap();
    let merged = store.load(&key(&mine)).await.unwrap().unwrap();
    assert_eq!(merged.get::<u64>("n").unwrap(), Some(3), "every increment is kept");
    assert!(merged.contains_key("cart") && merged.contains_key("theirs"));
    assert_eq!(merged.expiry_age(), Duration::from_secs(300));

    let mut cleared = loaded(&store).await;
    theirs(&cleared).await;
    cleared.clear();
    cleared.insert("mine", 1).unwrap();
    store.save_merged(&mut cleared).await.unwrap();
    let merged = store.load(&key(&cleared)).await.unwrap().unwrap();
    assert!(
        !merged.contains_key("cart"),
        "it was there when the session was cleared"
    );
    assert!(merged.contains_key("theirs") && merged.contains_key("mine"));
}

async fn load_of_a_missing_session_creates_nothing<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let missing: SessionKey = "aaaaaaaaaaaaaaaa".parse().unwrap();
    assert!(store.load(&missing).await.unwrap().is_none());
    assert!(matches!(
        store.update(&missing, increment).await,
        Err(SessionError::Gone)
    ));
    assert_eq!(count(cx).await, 0);
}

async fn load_of_an_unreadable_session_is_none<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = key(&store.create().await.unwrap());
    let good = stored(cx, &session).await.unwrap();
    let mut changed_signature = good.to_vec();
    let last = changed_signature.len() - 5;
    changed_signature[last] = if changed_signature[last] == b'A' { b'B' } else { b'A' };
    for payload in [
        changed_signature.into(),
        good.slice(..good.len() - 1),
        Bytes::new(),
        Bytes::from_static(b"{\"uid\":42}"),
        Bytes::from_static(b"\xff\xfe\0"),
        // A signed list.
        Bytes::from_static(b"WzEsMiwzXQ:1r31eq:oYNz0AE6dWUlPn_rywaSa72OTkxq32q9N2P23d9gn9g"),
    ] {
        cx.backend
            .set_many(&[(&record(&session), payload.clone())], Expiry::Never)
            .await
            .unwrap();
        assert!(store.load(&session).await.unwrap().is_none());
        assert!(matches!(
            store.update(&session, increment).await,
            Err(SessionError::Gone)
        ));
        assert_eq!(stored(cx, &session).await, Some(payload), "it stays unchanged");
        assert!(store.exists(&session).await.unwrap());
    }
}

async fn a_payload_with_a_changed_byte_is_unreadable<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = key(&store.create().await.unwrap());
    let good = stored(cx, &session).await.unwrap();
    for at in 0..good.len() {
        let mut changed = good.to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        cx.put(&record(&session), changed).await;
        let loaded = store.load(&session).await.unwrap();
        assert!(loaded.is_none(), "byte {at} of {} was changed", good.len());
    }
    cx.put(&record(&session), good).await;
    assert!(store.load(&session).await.unwrap().is_some());
}

/// Loads payloads that anyone can make without the secret.
async fn a_payload_without_its_signature_is_unreadable<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = key(&store.create().await.unwrap());
    let good = stored(cx, &session).await.unwrap();
    let good = std::str::from_utf8(&good).unwrap();
    let (signed, signature) = good.rsplit_once(':').unwrap();
    let body = signed.split(':').next().unwrap();
    for payload in [
        body.to_owned(),
        signed.to_owned(),
        format!("{signed}:"),
        format!("{signed}:{}", &signature[..22]),
        format!("{signed}:{signature}{signature}"),
        format!("{signed}:{signature}="),
        format!("{signed}: {signature}"),
        format!("{body}::{signature}"),
        format!("{body}:{signature}"),
        format!(":{good}"),
        format!("{good}:"),
        format!("{good}\n"),
        format!("{signed}:{}", "A".repeat(43)),
        "{}".to_owned(),
        "null".to_owned(),
    ] {
        cx.put(&record(&session), payload.clone()).await;
        assert!(store.load(&session).await.unwrap().is_none(), "{payload:?}");
        assert!(store.exists(&session).await.unwrap(), "{payload:?}");
    }
    // It can be deleted nevertheless.
    assert!(store.delete(&session).await.unwrap());
    assert!(!store.exists(&session).await.unwrap());
}

/// Returns a loaded session with a value.
async fn loaded<B: KvBackend>(store: &SessionStore<B>) -> Session {
    let mut session = store.create().await.unwrap();
    session.insert("cart", ["SKU-1"]).unwrap();
    store.save(&mut session).await.unwrap();
    store.load(&key(&session)).await.unwrap().unwrap()
}

async fn cycle_key_keeps_the_data_and_removes_the_old_record<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    session.insert("user", 42).unwrap();
    session.set_expiry(Duration::from_secs(300)).unwrap();
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
    let ttl = cx.backend.ttl(&record(&new)).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left <= Duration::from_secs(300)),
        "the time to live is {ttl:?}"
    );
    assert_eq!(count(cx).await, 1);

    session.insert("more", 1).unwrap();
    store.save(&mut session).await.unwrap();

    let mut without_key = store.new_session();
    store.cycle_key(&mut without_key).await.unwrap();
    assert!(store.exists(&key(&without_key)).await.unwrap());
}

async fn cycle_key_of_a_session_deleted_elsewhere_is_gone<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    store.delete(&old).await.unwrap();
    assert!(matches!(store.cycle_key(&mut session).await, Err(SessionError::Gone)));
    assert_eq!(key(&session), old, "the session is unchanged");
    assert_eq!(count(cx).await, 0, "a logout elsewhere stays in effect");
}

async fn cycle_key_of_a_session_changed_elsewhere_is_a_conflict<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    session.insert("mine", 1).unwrap();
    store.update(&old, increment).await.unwrap();
    let theirs = stored(cx, &old).await;
    assert!(matches!(
        store.cycle_key(&mut session).await,
        Err(SessionError::Conflict)
    ));
    assert_eq!(
        (key(&session), session.is_modified()),
        (old.clone(), true),
        "the session is unchanged"
    );
    assert_eq!(stored(cx, &old).await, theirs, "the other's change is intact");
    assert_eq!(count(cx).await, 1);
}

async fn flush_removes_the_record_and_gives_an_empty_session<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = loaded(&store).await;
    let old = key(&session);
    store.update(&old, increment).await.unwrap();
    store.flush(&mut session).await.unwrap();
    assert!(session.is_empty() && session.is_modified() && session.key().is_none());
    assert_eq!(count(cx).await, 0, "even if it was changed");

    store.flush(&mut session).await.unwrap();
    store.save(&mut session).await.unwrap();
    assert_ne!(key(&session), old, "a flushed session that is saved has a new key");
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());
}

async fn delete_and_exists<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let session = key(&store.create().await.unwrap());
    assert!(store.exists(&session).await.unwrap());
    assert!(store.delete(&session).await.unwrap());
    assert!(!store.exists(&session).await.unwrap());
    assert!(!store.delete(&session).await.unwrap(), "a missing session was deleted");
}

async fn clear_expired_says_that_it_does_nothing<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    store.create().await.unwrap();
    assert_eq!(store.clear_expired().await.unwrap(), ClearExpired::NotNeeded);
    assert_eq!(count(cx).await, 1);
}

async fn an_empty_session_that_is_saved_is_a_record<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.new_session();
    store.save(&mut session).await.unwrap();
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());

    let mut emptied = loaded(&store).await;
    emptied.clear();
    store.save(&mut emptied).await.unwrap();
    assert!(store.load(&key(&emptied)).await.unwrap().unwrap().is_empty());
    assert_eq!(count(cx).await, 2);
}

async fn touch_renews_the_time_alone<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = loaded(&store).await;
    session.set_expiry(Duration::from_secs(100)).unwrap();
    store.save(&mut session).await.unwrap();
    store.update(&key(&session), increment).await.unwrap();
    let before = stored(cx, &key(&session)).await;
    let shorter = Expiry::After(Duration::from_secs(5));
    assert!(cx.backend.expire(&record(&key(&session)), shorter).await.unwrap());
    cx.assert_ttl(&record(&key(&session)), Duration::from_secs(5)).await;
    store.touch(&session).await.unwrap();
    let ttl = cx.backend.ttl(&record(&key(&session))).await.unwrap();
    assert!(
        matches!(ttl, Ttl::Remaining(left) if left > Duration::from_secs(90)),
        "the time to live is {ttl:?}"
    );
    assert_eq!(stored(cx, &key(&session)).await, before, "a change elsewhere is kept");
    assert!(matches!(
        store.touch(&store.new_session()).await,
        Err(SessionError::Gone)
    ));
}

async fn save_is_one_step<B: KvBackend>(cx: &Cx<B>) {
    let (store, watched) = cx.watched_store();
    let mut session = store.create().await.unwrap();
    assert_eq!(watched.take(), ["set"], "create is one step too");
    store.save(&mut session).await.unwrap();
    assert_eq!(watched.take(), ["set"]);
    store
        .update(&key(&session), |session| session.insert("a", 1))
        .await
        .unwrap();
    assert_eq!(watched.take(), ["get", "set"]);
}

async fn the_new_record_is_stored_before_the_old_one_is_removed<B: KvBackend>(cx: &Cx<B>) {
    let (store, watched) = cx.watched_store();
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    store.save(&mut session).await.unwrap();
    watched.take();
    store.cycle_key(&mut session).await.unwrap();
    assert_eq!(watched.take(), ["set", "del_if_equals"]);

    // The store fails halfway: both records exist, and the session has the new key.
    let old = key(&session);
    watched.fail_after(1);
    assert!(matches!(
        store.cycle_key(&mut session).await,
        Err(SessionError::Backend(_))
    ));
    watched.fail_after(usize::MAX);
    assert_ne!(key(&session), old);
    for key in [&old, &key(&session)] {
        let loaded = store.load(key).await.unwrap().expect("nothing is lost");
        assert_eq!(loaded.get::<u64>("a").unwrap(), Some(1));
    }
    store.save(&mut session).await.unwrap();
}

pub(super) async fn sverb_06_an_outage_is_an_error_from_every_verb<H: Harness>(context: &Context<'_, H>) -> Checked {
    let (outage, kind) = context.outage().await?;
    let cx = context.fresh().await;
    // A watched backend yields at each call, so a verb that calls a broken backend forever is
    // interrupted.
    let (store, _) = cx.watched_store();
    let mut session = store.new_session();
    part("before the outage", async {
        session.insert("a", 1).unwrap();
        store.save(&mut session).await.unwrap();
    })
    .await?;
    outage.begin(kind).await;
    let checked = every_verb(&store, &mut session, kind).await;
    outage.end().await;
    checked?;
    part("the session is unchanged", async {
        assert_eq!(session.get::<u64>("a").unwrap(), Some(1));
    })
    .await
}

/// Calls every verb, and stops at the first verb that does not return the backend's error.
async fn every_verb<B: KvBackend>(store: &SessionStore<B>, session: &mut Session, kind: OutageKind) -> Checked {
    let key = key(session);
    let fails = |verb, answer| match answer {
        Err(SessionError::Backend(_)) => Ok(()),
        answer => Err(not_the_outage(verb, kind, &answer)),
    };
    fails("create", store.create().await.map(drop))?;
    fails("load", store.load(&key).await.map(drop))?;
    fails("save", store.save(session).await)?;
    fails("save of a new session", store.save(&mut store.new_session()).await)?;
    fails("update", store.update(&key, |_| Ok(())).await)?;
    fails("delete", store.delete(&key).await.map(drop))?;
    fails("exists", store.exists(&key).await.map(drop))?;
    fails("touch", store.touch(session).await)?;
    fails("cycle_key", store.cycle_key(session).await)?;
    fails("flush", store.flush(session).await)
}
