//! Clauses on merges: which changes of two clients a session holds afterwards.

use std::time::Duration;

use super::{
    super::{context::Cx, face::SessionStore},
    key, record,
};
use crate::{KvBackend, Login, Session, SessionError, SessionKey};

/// The verbs that merge.
const MERGING: [&str; 3] = ["save_merged", "cycle_key_merged", "login"];

async fn merge<B: KvBackend>(store: &SessionStore<B>, verb: &str, session: &mut Session) -> Result<(), SessionError> {
    match verb {
        "save_merged" => store.save_merged(session).await,
        "cycle_key_merged" => store.cycle_key_merged(session).await,
        "login" => store.login(session, &Login::new("42")).await,
        _ => unreachable!("{verb}"),
    }
}

/// Returns a stored session with `names`, all of which have the value 1.
async fn with_ones<B: KvBackend>(store: &SessionStore<B>, names: &[&str]) -> Session {
    let mut session = store.new_session();
    for name in names {
        session.insert(name, 1).unwrap();
    }
    store.save(&mut session).await.unwrap();
    session
}

async fn change<B: KvBackend>(
    store: &SessionStore<B>,
    key: &SessionKey,
    change: impl Fn(&mut Session) -> Result<(), SessionError> + Send + Sync,
) {
    store.update(key, |session| change(session)).await.unwrap();
}

pub(super) async fn a_merge_applies_exactly_the_unsaved_changes<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for verb in MERGING {
        let names = ["saved", "theirs", "gone", "both", "mine", "same", "n"];
        let mut session = with_ones(&store, &names).await;
        // A saved change is no longer a change.
        session.insert("saved", 2).unwrap();
        store.save(&mut session).await.unwrap();
        session.insert("both", 2).unwrap();
        assert!(session.remove("mine"));
        session.insert("same", 1).unwrap();
        session.insert("new", 2).unwrap();
        assert_eq!(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).unwrap(), 2);
        change(&store, &key(&session), |session| {
            for name in ["saved", "theirs", "both", "mine"] {
                session.insert(name, 3)?;
            }
            session.insert("n", 10)?;
            session.insert("added", 3)?;
            assert!(session.remove("gone") && session.remove("same"));
            Ok(())
        })
        .await;
        merge(&store, verb, &mut session).await.unwrap();
        let expected = [
            ("saved", Some(3)),
            ("theirs", Some(3)),
            ("gone", None),
            ("both", Some(2)),
            ("mine", None),
            ("same", Some(1)),
            ("n", Some(11)),
            ("added", Some(3)),
            ("new", Some(2)),
        ];
        let stored = store.load(&key(&session)).await.unwrap().expect("it was stored");
        for (name, value) in expected {
            assert_eq!(session.get::<u64>(name).unwrap(), value, "{name} after {verb}");
            assert_eq!(stored.get::<u64>(name).unwrap(), value, "stored {name} after {verb}");
        }
        assert!(!session.is_modified(), "{verb}");
        session.insert("more", 1).unwrap();
        store.save(&mut session).await.unwrap();
    }
}

/// Sets, computes and removes the same value in each order. The last operation decides whether the
/// value of the other client counts.
pub(super) async fn a_merge_repeats_the_changes_in_their_order<B: KvBackend>(cx: &Cx<B>) {
    type Change = fn(&mut Session) -> Result<(), SessionError>;
    fn add(session: &mut Session) -> Result<(), SessionError> {
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).map(drop)
    }
    let remove: Change = |session| {
        assert!(session.remove("n"));
        Ok(())
    };
    let cases: [(&str, &[Change], Option<u64>); 7] = [
        ("computed", &[add], Some(101)),
        ("computed twice", &[add, add], Some(102)),
        ("set, then computed", &[|session| session.insert("n", 5), add], Some(6)),
        ("computed, then set", &[add, |session| session.insert("n", 5)], Some(5)),
        ("computed, then removed", &[add, remove], None),
        ("removed, then computed", &[remove, add], Some(1)),
        (
            "cleared, then computed",
            &[
                |session| {
                    session.clear();
                    Ok(())
                },
                add,
            ],
            Some(1),
        ),
    ];
    let store = cx.store();
    for (what, changes, expected) in cases {
        let mut session = with_ones(&store, &["n"]).await;
        for change in changes {
            change(&mut session).unwrap();
        }
        change(&store, &key(&session), |session| session.insert("n", 100)).await;
        store.save_merged(&mut session).await.unwrap();
        let stored = store.load(&key(&session)).await.unwrap().expect("it was stored");
        assert_eq!(stored.get::<u64>("n").unwrap(), expected, "{what}");
    }
}

pub(super) async fn a_merge_recreates_no_ended_session<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for verb in ["save_merged", "cycle_key_merged"] {
        for is_unreadable in [false, true] {
            let mut session = with_ones(&store, &["a"]).await;
            session.insert("b", 1).unwrap();
            let stored = record(&key(&session));
            if is_unreadable {
                cx.put(&stored, "unreadable").await;
            } else {
                assert!(store.delete(&key(&session)).await.unwrap());
            }
            let merged = merge(&store, verb, &mut session).await;
            assert!(matches!(merged, Err(SessionError::Gone)), "{verb}: {merged:?}");
            let left = cx.stored(&stored).await;
            assert_eq!(left.as_deref(), is_unreadable.then_some(&b"unreadable"[..]), "{verb}");
            assert_eq!(
                record(&key(&session)),
                stored,
                "{verb} leaves no record under a new key"
            );
        }
    }
}

/// Lets another client win many times in a row.
pub(super) async fn a_change_is_repeated_until_it_wins<B: KvBackend>(cx: &Cx<B>) {
    const LOST: u64 = 20;
    let (watched, watch) = cx.watched_store();
    let store = cx.store();
    let mut session = with_ones(&store, &[]).await;
    for is_update in [true, false] {
        for _ in 0..LOST {
            let (store, session) = (store.clone(), key(&session));
            watch.before("set", async move {
                let add = |session: &mut Session| session.update("theirs", |n: Option<u64>| n.unwrap_or(0) + 1);
                store.update(&session, add).await.unwrap();
            });
        }
        if is_update {
            let (mut runs, stored) = (0, key(&session));
            let updated = watched.update(&stored, |session| {
                runs += 1;
                session.insert("mine", runs)
            });
            updated.await.unwrap();
            assert_eq!(runs, LOST + 1);
        } else {
            session.insert("merged", 1).unwrap();
            watched.save_merged(&mut session).await.unwrap();
        }
    }
    let stored = store.load(&key(&session)).await.unwrap().expect("it is there");
    assert_eq!(stored.get::<u64>("theirs").unwrap(), Some(2 * LOST));
    assert_eq!(stored.get::<u64>("mine").unwrap(), Some(LOST + 1));
    assert_eq!(stored.get::<u64>("merged").unwrap(), Some(1));
}

/// Merges with a session whose time to live another client has shortened.
pub(super) async fn a_merged_session_has_the_expiry_of_both<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let (theirs, mine) = (Duration::from_secs(500), Duration::from_secs(300));
    for (own, expected) in [(None, theirs), (Some(mine), mine)] {
        let mut session = with_ones(&store, &[]).await;
        session.insert("a", 1).unwrap();
        if let Some(own) = own {
            session.set_expiry(own).unwrap();
        }
        change(&store, &key(&session), |session| session.set_expiry(theirs)).await;
        store.save_merged(&mut session).await.unwrap();
        assert_eq!(session.expiry_age(), expected);
        cx.assert_ttl(&record(&key(&session)), expected).await;
    }
}
