//! Clauses on the sessions of a user.

use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_testkit::suite::spawn;

use super::super::face::SessionStore;
use super::{
    super::context::{Cx, clauses},
    SECRET, key, record,
};
use crate::{
    DjangoSigned, KvBackend, Login, Session, SessionError, SessionKey, SetOptions,
    session::{SessionCodec, SessionData},
};

clauses! {
    suser_01_the_sessions_of_a_user_are_listed_and_ended {
        live_sessions_are_listed_by_an_id_that_is_no_key
        a_session_is_ended_by_its_id
        a_session_whose_key_changes_while_it_is_ended_is_ended
        a_login_gives_a_new_key
        a_login_takes_nothing_from_another_user
        all_others_are_ended_listed_or_not
        ending_the_others_restores_no_revoked_session
        the_oldest_gives_way_to_a_login_too_many
        a_login_in_place_of_a_session_ends_no_other
        an_ended_session_gives_way_before_a_live_one
        an_unreadable_session_counts
        logins_at_once_are_all_listed
        a_new_key_keeps_the_id
        a_session_that_is_ended_while_its_key_changes_stays_ended
        a_session_whose_key_changes_while_the_list_is_read_is_listed
        a_new_key_ends_no_login_that_has_taken_its_place
        nearly_equal_users_are_different_users
        a_user_of_another_program_may_be_a_number
        a_label_stays_as_it_is
        a_login_without_a_user_is_refused
    }
}

/// Returns the stored key of the list of a user's logins.
pub(super) fn list_of(user: &str) -> String {
    format!("shop:session-logins:{user}")
}

pub(super) async fn log_in<B: KvBackend>(store: &SessionStore<B>, user: &str, label: &str) -> Session {
    let mut session = store.new_session();
    store.login(&mut session, &Login::new(user).label(label)).await.unwrap();
    session
}

pub(super) async fn lives<B: KvBackend>(store: &SessionStore<B>, session: &Session) -> bool {
    store.load(&key(session)).await.unwrap().is_some()
}

/// Returns the labels of a user's sessions, in the order of the list.
pub(super) async fn labels<B: KvBackend>(store: &SessionStore<B>, user: &str) -> Vec<String> {
    let sessions = store.sessions(user).await.unwrap();
    sessions.into_iter().filter_map(|session| session.label).collect()
}

/// Returns the key of a session as Django's own `login` creates it, without an entry in the list.
async fn unlisted<B: KvBackend>(cx: &Cx<B>, user: &str) -> SessionKey {
    let key: SessionKey = "djangodjangodjangodjangodjango00".parse().unwrap();
    let data = SessionData::from_json(&format!(r#"{{"_auth_user_id":"{user}"}}"#)).unwrap();
    let payload: Bytes = DjangoSigned::new(SECRET).encode(&data, cx.now()).unwrap();
    cx.put(&record(&key), payload).await;
    key
}

async fn live_sessions_are_listed_by_an_id_that_is_no_key<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    assert_eq!(store.sessions("42").await.unwrap(), []);
    let before = cx.now();
    let phone = log_in(&store, "42", "phone").await;
    let mut laptop = log_in(&store, "42", "laptop").await;
    let _other = log_in(&store, "43", "theirs").await;
    let after = cx.now();

    let listed = store.sessions("42").await.unwrap();
    assert_eq!(
        labels(&store, "42").await,
        ["laptop", "phone"],
        "the latest login first"
    );
    for (session, device) in [&laptop, &phone].into_iter().zip(&listed) {
        assert_eq!(session.login_id().as_ref(), Some(&device.id));
        assert_ne!(device.id, key(session).as_str());
        // The time has a resolution of a millisecond.
        assert!(before - Duration::from_millis(1) <= device.created && device.created <= after);
        assert!(device.created <= device.last_seen);
        assert!(
            store.load(&device.id.parse().unwrap()).await.unwrap().is_none(),
            "an id loads no session"
        );
        assert!(!format!("{device:?}").contains(&device.id));
    }

    let short = cx.clock.short();
    cx.clock.pass(short).await;
    laptop.insert("a", 1).unwrap();
    store.save(&mut laptop).await.unwrap();
    let listed = store.sessions("42").await.unwrap();
    let seen = |device: &crate::session::UserSession| device.last_seen.duration_since(device.created).unwrap();
    assert!(
        seen(&listed[0]) + Duration::from_millis(100) > short,
        "{:?}",
        seen(&listed[0])
    );
    assert!(seen(&listed[1]) < seen(&listed[0]), "the phone was not used");

    let labelled = Login::new("42").label("x".repeat(1_025));
    let refused = store.login(&mut store.new_session(), &labelled).await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
    assert_eq!(store.sessions("42").await.unwrap().len(), 2);
    let longest = "x".repeat(1_024);
    let labelled = log_in(&store, "44", &longest).await;
    assert_eq!(labels(&store, "44").await, [longest]);

    // Another program makes another user of it.
    let change = store
        .update(&key(&labelled), |session| session.insert("_auth_user_id", "45"))
        .await;
    change.unwrap();
    assert_eq!(store.sessions("44").await.unwrap(), []);

    // A logged-out session is no longer listed.
    store.flush(&mut laptop).await.unwrap();
    assert_eq!(labels(&store, "42").await, ["phone"]);
}

async fn a_session_is_ended_by_its_id<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let (phone, laptop) = (
        log_in(&store, "42", "phone").await,
        log_in(&store, "42", "laptop").await,
    );
    let theirs = log_in(&store, "43", "theirs").await;
    let id = phone.login_id().unwrap();
    assert!(!store.end("43", &id).await.unwrap(), "it belongs to another user");
    assert!(!store.end("42", &theirs.login_id().unwrap()).await.unwrap());
    assert!(!store.end("42", key(&phone).as_str()).await.unwrap(), "not by its key");
    assert!(!store.end("42", "").await.unwrap());
    assert!(
        !store.end("42", &id[..id.len() - 1]).await.unwrap(),
        "not by a part of it"
    );
    assert!(store.end("42", &id).await.unwrap());
    assert!(!store.exists(&key(&phone)).await.unwrap());
    assert!(lives(&store, &laptop).await && lives(&store, &theirs).await);
    assert_eq!(labels(&store, "42").await, ["laptop"]);
    assert!(!store.end("42", &id).await.unwrap(), "it has already ended");
    let id = laptop.login_id().unwrap();
    assert!(store.delete(&key(&laptop)).await.unwrap());
    assert!(!store.end("42", &id).await.unwrap(), "it was deleted before");
}

async fn a_session_whose_key_changes_while_it_is_ended_is_ended<B: KvBackend>(cx: &Cx<B>) {
    let (watched, watch) = cx.watched_store();
    let store = cx.store();
    let mut session = log_in(&store, "42", "phone").await;
    let id = session.login_id().unwrap();
    // The list has been read, and the record under the old key is about to be deleted.
    let cycling = store.clone();
    watch.before("del", async move {
        cycling.cycle_key(&mut session).await.unwrap();
    });
    assert!(watched.end("42", &id).await.unwrap());
    assert_eq!(store.sessions("42").await.unwrap(), []);
}

/// Checks that a login keeps the data, but never the key, which someone else may have chosen.
async fn a_login_gives_a_new_key<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    session.insert("cart", "full").unwrap();
    let age = Duration::from_secs(300);
    session.set_expiry(age).unwrap();
    store.save(&mut session).await.unwrap();
    for is_logged_in in [false, true] {
        assert_eq!(session.user().is_some(), is_logged_in);
        let old = key(&session);
        store.login(&mut session, &Login::new("42")).await.unwrap();
        assert_ne!(key(&session), old);
        assert!(!store.exists(&old).await.unwrap());
        let loaded = store.load(&key(&session)).await.unwrap().expect("it is logged in");
        assert_eq!(loaded.user().as_deref(), Some("42"));
        assert_eq!(loaded.get::<String>("cart").unwrap().as_deref(), Some("full"));
        assert_eq!(loaded.expiry_age(), age, "the session keeps its own expiry");
    }
    assert_eq!(store.sessions("42").await.unwrap().len(), 1);
}

async fn a_login_takes_nothing_from_another_user<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let of_password = |password| Login::django("42", password, SECRET);
    let mut session = store.new_session();
    store.login(&mut session, &of_password("old")).await.unwrap();
    session.insert("cart", "full").unwrap();
    store.login(&mut session, &of_password("old")).await.unwrap();
    assert!(session.contains_key("cart"));
    store.login(&mut session, &of_password("new")).await.unwrap();
    assert!(!session.contains_key("cart"), "the password was changed");

    // A login for this program is none for Django.
    session.insert("cart", "full").unwrap();
    store.login(&mut session, &Login::new("42")).await.unwrap();
    assert!(session.contains_key("cart"));
    assert!(!session.contains_key("_auth_user_hash") && !session.contains_key("_auth_user_backend"));

    let old = key(&session);
    store.login(&mut session, &Login::new("43")).await.unwrap();
    assert!(!store.exists(&old).await.unwrap());
    let loaded = store.load(&key(&session)).await.unwrap().expect("it is logged in");
    assert_eq!(loaded.user().as_deref(), Some("43"));
    assert!(!loaded.contains_key("cart"));

    // The last step of a login fails: a logout removes the other user's record too.
    let (watched, watch) = cx.watched_store();
    let mut session = log_in(&watched, "42", "this").await;
    let old = key(&session);
    watch.take();
    watch.fail_after(4);
    let failed = watched.login(&mut session, &Login::new("43")).await;
    assert!(matches!(failed, Err(SessionError::Backend(_))), "{failed:?}");
    watch.fail_after(usize::MAX);
    assert!(store.exists(&old).await.unwrap());
    watched.flush(&mut session).await.unwrap();
    assert!(!store.exists(&old).await.unwrap());
}

async fn all_others_are_ended_listed_or_not<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut this = log_in(&store, "42", "this").await;
    let other = log_in(&store, "42", "other").await;
    let django = unlisted(cx, "42").await;
    let theirs = log_in(&store, "43", "theirs").await;
    assert!(store.load(&django).await.unwrap().is_some());

    let concurrent = store
        .update(&key(&this), |session| session.insert("concurrent", 1))
        .await;
    concurrent.unwrap();
    this.insert("unsaved", 2).unwrap();
    store.end_others(&mut this).await.unwrap();
    assert!(!lives(&store, &other).await);
    assert!(store.load(&django).await.unwrap().is_none(), "it was not listed");
    assert!(lives(&store, &theirs).await);
    let loaded = store.load(&key(&this)).await.unwrap().expect("this session stays");
    assert_eq!(loaded.get::<u8>("concurrent").unwrap(), Some(1));
    assert_eq!(loaded.get::<u8>("unsaved").unwrap(), Some(2));
    assert_eq!(labels(&store, "42").await, ["this"]);
    store.end_others(&mut this).await.unwrap();
    assert!(lives(&store, &this).await);
    let again = log_in(&store, "42", "again").await;
    assert!(lives(&store, &again).await && lives(&store, &this).await);

    // Another program makes it another user's session before it is saved.
    let (watched, watch) = cx.watched_store();
    let mut this = log_in(&watched, "44", "this").await;
    let (backend, taken) = (cx.backend.clone(), record(&key(&this)));
    let data = SessionData::from_json(r#"{"_auth_user_id":"45"}"#).unwrap();
    let payload: Bytes = DjangoSigned::new(SECRET).encode(&data, cx.now()).unwrap();
    watch.before("set", async {});
    watch.before("set", async move {
        let written = backend.set(&taken, payload, SetOptions::new()).await;
        assert!(written.unwrap().is_written());
    });
    let ended = watched.end_others(&mut this).await;
    assert!(matches!(ended, Err(SessionError::Gone)), "{ended:?}");

    let mut nobody = store.create().await.unwrap();
    let refused = store.end_others(&mut nobody).await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
}

async fn ending_the_others_restores_no_revoked_session<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for revoked_before in [false, true] {
        if revoked_before {
            store.revoke_all("42").await.unwrap();
        }
        let mut this = log_in(&store, "42", "this").await;
        let mut copy = store.load(&key(&this)).await.unwrap().unwrap();
        let mut other = log_in(&store, "42", "other").await;
        store.end_others(&mut this).await.unwrap();
        let ended = store.end_others(&mut other).await;
        assert!(matches!(ended, Err(SessionError::Gone)), "{ended:?}");
        assert!(!lives(&store, &other).await && lives(&store, &this).await);
        // Two requests of the same browser are the same session.
        let mut stale = store.load(&key(&this)).await.unwrap().unwrap();
        store.end_others(&mut copy).await.unwrap();
        assert!(lives(&store, &this).await);
        stale.insert("a", 1).unwrap();
        store.save_merged(&mut stale).await.unwrap();
        assert!(
            lives(&store, &this).await,
            "a merge keeps the login of the stored session"
        );

        store.revoke_all("42").await.unwrap();
        let later = log_in(&store, "42", "later").await;
        let ended = store.end_others(&mut copy).await;
        assert!(matches!(ended, Err(SessionError::Gone)), "{ended:?}");
        assert!(!lives(&store, &copy).await && lives(&store, &later).await);
    }
}

async fn the_oldest_gives_way_to_a_login_too_many<B: KvBackend>(cx: &Cx<B>) {
    let limit = NonZeroUsize::new(2).unwrap();
    let store = cx.sessions().project("shop").sessions_per_user(limit).build().unwrap();
    let first = log_in(&store, "42", "first").await;
    let mut second = log_in(&store, "42", "second").await;
    let theirs = log_in(&store, "43", "theirs").await;
    store.flush(&mut second).await.unwrap();
    let third = log_in(&store, "42", "third").await;
    assert!(lives(&store, &first).await, "a flushed session does not count");
    let fourth = log_in(&store, "42", "fourth").await;
    assert!(!store.exists(&key(&first)).await.unwrap(), "the oldest was ended");
    assert!(lives(&store, &third).await && lives(&store, &fourth).await && lives(&store, &theirs).await);
    assert_eq!(labels(&store, "42").await, ["fourth", "third"]);

    let logins: Vec<_> = (0..8)
        .map(|number| {
            let store = store.clone();
            spawn(async move { key(&log_in(&store, "42", &number.to_string()).await) })
        })
        .collect();
    let mut keys = Vec::new();
    for login in logins {
        keys.push(login.await.unwrap());
    }
    let mut live = 0;
    for key in &keys {
        live += usize::from(store.load(key).await.unwrap().is_some());
    }
    assert_eq!(
        live,
        store.sessions("42").await.unwrap().len(),
        "all live sessions are listed"
    );
    assert!((1..=2).contains(&live), "{live}");

    // A lower limit ends as many as are too many.
    let mut before = Vec::new();
    for label in ["a", "b", "c"] {
        before.push(log_in(&cx.store(), "44", label).await);
    }
    log_in(&store, "44", "d").await;
    assert_eq!(labels(&store, "44").await, ["d", "c"]);
    for ended in &before[..2] {
        assert!(!store.exists(&key(ended)).await.unwrap());
    }
}

async fn a_login_in_place_of_a_session_ends_no_other<B: KvBackend>(cx: &Cx<B>) {
    for limit in [1, 2, 3] {
        let limit = NonZeroUsize::new(limit).unwrap();
        let user = &format!("user {limit}");
        let store = cx.sessions().project("shop").sessions_per_user(limit).build().unwrap();
        let mut others = Vec::new();
        for _ in 1..limit.get() {
            others.push(log_in(&store, user, "other").await);
        }
        let mut this = log_in(&store, user, "this").await;
        this.insert("cart", 1).unwrap();
        // The same user, with and without a change of the password, and after a change elsewhere.
        let logins = [
            Login::new(user),
            Login::django(user, "new", SECRET),
            Login::django(user, "newer", SECRET),
        ];
        for login in logins {
            let changed = store.update(&key(&this), |session| session.insert("theirs", 1)).await;
            changed.unwrap();
            let replaced = key(&this);
            store.login(&mut this, &login.label("this")).await.unwrap();
            assert!(lives(&store, &this).await, "limit {limit}");
            assert!(!store.exists(&replaced).await.unwrap());
            for other in &others {
                assert!(lives(&store, other).await, "limit {limit}");
            }
            assert_eq!(store.sessions(user).await.unwrap().len(), limit.get());
            store.login(&mut this, &Login::new(user).label("this")).await.unwrap();
        }
        let next = log_in(&store, user, "next").await;
        let listed = store.sessions(user).await.unwrap();
        assert_eq!(listed.len(), limit.get(), "another session counts");
        assert_eq!(Some(&listed[0].id), next.login_id().as_ref());
    }
}

async fn an_ended_session_gives_way_before_a_live_one<B: KvBackend>(cx: &Cx<B>) {
    let limit = NonZeroUsize::new(2).unwrap();
    let store = cx.sessions().project("shop").sessions_per_user(limit).build().unwrap();
    let mut first = log_in(&store, "42", "first").await;
    let second = log_in(&store, "42", "second").await;
    store.end_others(&mut first).await.unwrap();
    assert!(store.exists(&key(&second)).await.unwrap(), "its record is still there");
    let third = log_in(&store, "42", "third").await;
    assert!(lives(&store, &first).await && lives(&store, &third).await);
    assert_eq!(labels(&store, "42").await, ["third", "first"]);
}

async fn an_unreadable_session_counts<B: KvBackend>(cx: &Cx<B>) {
    let limit = NonZeroUsize::new(2).unwrap();
    let store = cx.sessions().project("shop").sessions_per_user(limit).build().unwrap();
    let first = log_in(&store, "42", "first").await;
    let second = log_in(&store, "42", "second").await;
    cx.put(&record(&key(&first)), "of a program with another secret").await;
    let third = log_in(&store, "42", "third").await;
    assert_eq!(cx.stored(&record(&key(&first))).await, None, "the oldest was ended");
    assert!(lives(&store, &second).await && lives(&store, &third).await);
}

async fn logins_at_once_are_all_listed<B: KvBackend>(cx: &Cx<B>) {
    let (store, watch) = cx.watched_store();
    // The first write is the session, and the second is the list. Another login comes between the
    // read and the write of the list.
    watch.before("set", async {});
    let other = cx.store();
    watch.before("set", async move {
        log_in(&other, "42", "other").await;
    });
    log_in(&store, "42", "this").await;
    let mut listed = labels(&store, "42").await;
    listed.sort();
    assert_eq!(listed, ["other", "this"]);
}

async fn a_new_key_keeps_the_id<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = log_in(&store, "42", "phone").await;
    let id = session.login_id();
    store.cycle_key(&mut session).await.unwrap();
    let listed = store.sessions("42").await.unwrap();
    assert_eq!((listed.len(), Some(&listed[0].id)), (1, id.as_ref()));

    // A change elsewhere interferes once with the new key, and never with the list.
    let change = store
        .update(&key(&session), |session| session.insert("theirs", 1))
        .await;
    change.unwrap();
    assert!(matches!(
        store.cycle_key(&mut session).await,
        Err(SessionError::Conflict)
    ));
    assert_eq!(store.sessions("42").await.unwrap().len(), 1);
    store.cycle_key_merged(&mut session).await.unwrap();
    assert_eq!(store.sessions("42").await.unwrap().len(), 1);
    assert!(store.end("42", &id.unwrap()).await.unwrap());
    assert!(!lives(&store, &session).await);
}

async fn a_session_that_is_ended_while_its_key_changes_stays_ended<B: KvBackend>(cx: &Cx<B>) {
    let (watched, watch) = cx.watched_store();
    let store = cx.store();
    let mut session = log_in(&watched, "42", "phone").await;
    let id = session.login_id().unwrap();
    let old = key(&session);
    let change = store.update(&old, |session| session.insert("theirs", 1)).await;
    change.unwrap();
    // The new record and the list have been written, and the old record is about to be removed.
    let other = store.clone();
    watch.before("del_if_equals", async move {
        assert!(other.end("42", &id).await.unwrap());
    });
    let ended = watched.cycle_key_merged(&mut session).await;
    assert!(matches!(ended, Err(SessionError::Gone)), "{ended:?}");
    assert!(!store.exists(&old).await.unwrap());
    assert!(!store.exists(&key(&session)).await.unwrap());
}

async fn a_session_whose_key_changes_while_the_list_is_read_is_listed<B: KvBackend>(cx: &Cx<B>) {
    let (watched, watch) = cx.watched_store();
    let store = cx.store();
    let mut session = log_in(&store, "42", "phone").await;
    // The list has been read, and the record under the old key is about to be read.
    watch.before("get_with_ttl", async move {
        store.cycle_key(&mut session).await.unwrap();
    });
    assert_eq!(labels(&watched, "42").await, ["phone"]);
}

async fn a_new_key_ends_no_login_that_has_taken_its_place<B: KvBackend>(cx: &Cx<B>) {
    let limit = NonZeroUsize::new(1).unwrap();
    let store = cx.sessions().project("shop").sessions_per_user(limit).build().unwrap();
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let cycling = cx.face.sessions(watched).codec(DjangoSigned::new(SECRET));
    let cycling = cycling.clock(cx.time_of_day()).project("shop").sessions_per_user(limit);
    let cycling = cycling.build().unwrap();

    let mut first = log_in(&store, "42", "first").await;
    // The record under the new key is stored, and the list is about to be read.
    let other = store.clone();
    watch.before("get", async move {
        log_in(&other, "42", "second").await;
    });
    let cycled = cycling.cycle_key(&mut first).await;
    assert!(matches!(cycled, Err(SessionError::Gone)), "{cycled:?}");
    assert_eq!(labels(&store, "42").await, ["second"]);
}

async fn nearly_equal_users_are_different_users<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let long = "u".repeat(127);
    let (long_a, long_b) = (format!("{long}a"), format!("{long}b"));
    let (longer_a, longer_b) = (format!("{long}{long_a}"), format!("{long}{long_b}"));
    let users = [
        "ada",
        "Ada",
        "ad",
        "adaa",
        " ada",
        "ada ",
        "ada\n",
        "ada\0",
        "4",
        "42",
        "042",
        "4.2",
        "a:b",
        "a",
        "*",
        "\"ada\"",
        "\u{e9}",
        "e\u{301}",
        "\u{1f980}",
        "ada@example.org",
        &long_a,
        &long_b,
        &longer_a,
        &longer_b,
    ];
    let mut sessions = Vec::new();
    for (number, user) in users.iter().enumerate() {
        sessions.push(log_in(&store, user, &number.to_string()).await);
    }
    for (number, user) in users.iter().enumerate() {
        assert_eq!(labels(&store, user).await, [number.to_string()], "{user:?}");
        let loaded = store.load(&key(&sessions[number])).await.unwrap().expect("it is live");
        assert_eq!(loaded.user().as_deref(), Some(*user));
    }
    for user in users.iter().step_by(2) {
        store.revoke_all(user).await.unwrap();
    }
    let fresh = cx.store();
    for (number, session) in sessions.iter().enumerate() {
        for store in [&store, &fresh] {
            assert_eq!(lives(store, session).await, number % 2 == 1, "{:?}", users[number]);
        }
    }
}

async fn a_user_of_another_program_may_be_a_number<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for (number, (json, user)) in [
        ("42", Some("42")),
        ("\"43\"", Some("43")),
        ("\"\\u00e9\"", Some("\u{e9}")),
        ("null", None),
    ]
    .into_iter()
    .enumerate()
    {
        let session: SessionKey = format!("djangodjangodjangodjangodjango0{number}").parse().unwrap();
        let data = SessionData::from_json(&format!(r#"{{"_auth_user_id":{json}}}"#)).unwrap();
        let payload: Bytes = DjangoSigned::new(SECRET).encode(&data, cx.now()).unwrap();
        cx.put(&record(&session), payload).await;
        let loaded = store.load(&session).await.unwrap().expect("it is live");
        assert_eq!(loaded.user().as_deref(), user, "{json}");
        store.revoke_all(user.unwrap_or("null")).await.unwrap();
        let is_live = store.load(&session).await.unwrap().is_some();
        assert_eq!(is_live, user.is_none(), "{json}");
    }
}

async fn a_label_stays_as_it_is<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for (number, label) in [
        "",
        " Firefox on Linux ",
        "\u{e9}\0\n\"\\",
        "\u{1f980}",
        &"\u{1f980}".repeat(256),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user {number}");
        let mut session = log_in(&store, &user, label).await;
        assert_eq!(labels(&store, &user).await, [label]);
        session.insert("a", 1).unwrap();
        store.save(&mut session).await.unwrap();
        store.cycle_key(&mut session).await.unwrap();
        store.end_others(&mut session).await.unwrap();
        assert_eq!(labels(&store, &user).await, [label]);
    }
    let mut session = store.new_session();
    store.login(&mut session, &Login::new("42")).await.unwrap();
    assert_eq!(store.sessions("42").await.unwrap()[0].label, None);

    // The time of a login has a resolution of a millisecond.
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_678);
    let store = cx.sessions().project("shop").clock(move || now).build().unwrap();
    log_in(&store, "43", "phone").await;
    assert_eq!(store.sessions("43").await.unwrap()[0].created, now);
}

async fn a_login_without_a_user_is_refused<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    let old = key(&session);
    let refused = store.login(&mut session, &Login::new("")).await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
    assert_eq!(
        (key(&session), session.user(), session.is_modified()),
        (old, None, false)
    );
    let refused = store.revoke_all("").await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
}
