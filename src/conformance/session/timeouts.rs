//! Clauses on expiry in a time zone, idle timeouts and absolute timeouts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::super::face::{SessionStore, SessionStoreBuilder};
use super::{
    super::context::{Cx, clauses},
    SECRET, key, record,
};
use crate::{
    DjangoSigned, KvBackend, Login, Session, SessionError, SessionKey,
    session::{SessionCodec, SessionData},
    web::RequestSession,
};

clauses! {
    sexp_07_dates_without_an_offset_are_of_the_time_zone {
        a_date_without_an_offset_is_read_in_the_zone
        a_date_is_written_in_the_zone
        an_unknown_zone_builds_no_store
    }
    sexp_08_idle_and_absolute_timeouts {
        the_record_lives_until_the_earlier_timeout
        the_absolute_timeout_survives_a_new_key_and_a_merge
        a_login_that_another_program_made_is_limited_too
        a_session_that_is_used_lives_on_and_one_that_is_not_ends
        renewals_are_throttled_and_renew_the_cookie
        the_interval_has_a_default_and_needs_no_timeout
        a_session_that_is_held_for_long_is_renewed
        a_remembered_login_has_its_own_time
        a_timeout_that_cannot_be_builds_no_store
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Returns 2023-11-14, 22:13:20 in UTC.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + seconds(1_700_000_000)
}

/// Time zones, and their local times 30 seconds after [`now`].
const ZONES: [(&str, &str); 3] = [
    ("America/Los_Angeles", "2023-11-14T14:13:50"),
    ("UTC", "2023-11-14T22:13:50"),
    ("Pacific/Kiritimati", "2023-11-15T12:13:50"),
];

/// Returns a store with this time zone and a stopped clock.
fn store_of_zone<B: KvBackend>(cx: &Cx<B>, zone: &str) -> SessionStore<Arc<B>> {
    let built = cx.sessions().project("shop").clock(now).time_zone(zone).build();
    built.unwrap()
}

async fn a_date_without_an_offset_is_read_in_the_zone<B: KvBackend>(cx: &Cx<B>) {
    for (zone, local) in ZONES {
        let store = store_of_zone(cx, zone);
        for (text, left) in [(local, 30), ("2023-11-14T22:13:45+00:00", 25)] {
            let mut session = store.create().await.unwrap();
            session.insert("_session_expiry", text).unwrap();
            assert_eq!(session.expiry_age(), seconds(left), "{text} in {zone}");
            assert_eq!(session.expiry_date(), now() + seconds(left), "{text} in {zone}");
            store.save(&mut session).await.unwrap();
            cx.assert_ttl(&record(&key(&session)), seconds(left)).await;
            assert!(
                store.load(&key(&session)).await.unwrap().is_some(),
                "it is still live in {zone}"
            );
        }
    }
    // Without a zone the time is in UTC.
    let store = cx.sessions().clock(now).build().unwrap();
    let mut session = store.new_session();
    session.insert("_session_expiry", "2023-11-14T22:13:50").unwrap();
    assert_eq!(session.expiry_age(), seconds(30));
}

async fn a_date_is_written_in_the_zone<B: KvBackend>(cx: &Cx<B>) {
    for (zone, local) in ZONES {
        let store = store_of_zone(cx, zone);
        let mut session = store.create().await.unwrap();
        session.set_expiry(now() + seconds(30)).unwrap();
        let kept = session.get::<String>("_session_expiry").unwrap();
        assert_eq!(kept.as_deref(), Some(local), "{zone}");
        store.save(&mut session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), seconds(30)).await;

        // A duration has no zone.
        session.set_expiry(seconds(300)).unwrap();
        assert_eq!(session.get::<u64>("_session_expiry").unwrap(), Some(300));
    }
}

async fn an_unknown_zone_builds_no_store<B: KvBackend>(cx: &Cx<B>) {
    for zone in ["", "America/Atlantis", "+02:00", "../UTC"] {
        let error = cx.sessions().time_zone(zone).build().unwrap_err();
        assert!(matches!(error, SessionError::Config(_)), "{zone}: {error}");
    }
}

/// A clock for a store, which advances independently of the backend's clock. It tests the store's
/// arithmetic on records that the backend has not expired yet.
#[derive(Clone)]
struct Later(Arc<AtomicU64>);

impl Later {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn pass(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    fn store<B: KvBackend>(
        &self,
        cx: &Cx<B>,
        set: impl FnOnce(SessionStoreBuilder<Arc<B>, DjangoSigned>) -> SessionStoreBuilder<Arc<B>, DjangoSigned>,
    ) -> SessionStore<Arc<B>> {
        let (clock, later) = (cx.time_of_day(), self.0.clone());
        let builder = cx.sessions().project("shop");
        let builder = builder.clock(move || clock() + seconds(later.load(Ordering::SeqCst)));
        set(builder).build().unwrap()
    }
}

async fn logged_in<B: KvBackend>(store: &SessionStore<Arc<B>>, login: &Login) -> Session {
    let mut session = store.new_session();
    store.login(&mut session, login).await.unwrap();
    session
}

async fn the_record_lives_until_the_earlier_timeout<B: KvBackend>(cx: &Cx<B>) {
    let later = Later::new();
    let store = later.store(cx, |store| {
        store.idle_timeout(seconds(1_000)).absolute_timeout(seconds(1_500))
    });
    let mut session = logged_in(&store, &Login::new("42")).await;
    let stored = record(&key(&session));
    assert!(session.expiry_age() <= seconds(1_000));
    let date = session.expiry_date();
    assert!(date <= cx.now() + seconds(1_000), "{date:?}");
    cx.assert_ttl(&stored, seconds(1_000)).await;

    later.pass(seconds(800));
    let left = session.expiry_age();
    assert!(seconds(690) < left && left <= seconds(700), "{left:?}");
    store.touch(&session).await.unwrap();
    cx.assert_ttl(&stored, seconds(700)).await;
    session.insert("a", 1).unwrap();
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&stored, seconds(700)).await;

    // An earlier expiry of the session takes precedence.
    session.set_expiry(seconds(50)).unwrap();
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&stored, seconds(50)).await;
    session.set_expiry(seconds(5_000)).unwrap();
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&stored, seconds(700)).await;

    // The login has ended, even if the record's time to live was extended.
    later.pass(seconds(700));
    assert!(store.exists(&key(&session)).await.unwrap());
    assert!(store.load(&key(&session)).await.unwrap().is_none());
    assert_eq!(store.sessions("42").await.unwrap(), []);
    assert!(matches!(
        store.update(&key(&session), |_| Ok(())).await,
        Err(SessionError::Gone)
    ));

    // Without a login only the idle timeout applies.
    let mut visitor = store.create().await.unwrap();
    later.pass(seconds(100_000));
    visitor.insert("a", 1).unwrap();
    store.save(&mut visitor).await.unwrap();
    cx.assert_ttl(&record(&key(&visitor)), seconds(1_000)).await;
}

async fn the_absolute_timeout_survives_a_new_key_and_a_merge<B: KvBackend>(cx: &Cx<B>) {
    let later = Later::new();
    let store = later.store(cx, |store| store.absolute_timeout(seconds(1_500)));
    let mut session = logged_in(&store, &Login::new("42")).await;
    cx.assert_ttl(&record(&key(&session)), seconds(1_500)).await;

    later.pass(seconds(600));
    store.cycle_key(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), seconds(900)).await;

    later.pass(seconds(300));
    let theirs = store
        .update(&key(&session), |session| session.insert("theirs", 1))
        .await;
    theirs.unwrap();
    session.insert("mine", 1).unwrap();
    store.save_merged(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), seconds(600)).await;

    later.pass(seconds(600));
    assert!(store.load(&key(&session)).await.unwrap().is_none());

    // A new login restarts the timeout.
    let mut again = logged_in(&store, &Login::new("42")).await;
    later.pass(seconds(600));
    store.login(&mut again, &Login::new("42")).await.unwrap();
    cx.assert_ttl(&record(&key(&again)), seconds(1_500)).await;

    // The clock of the process of the login is ahead, which does not make the login last longer.
    let behind = Later::new().store(cx, |store| store.absolute_timeout(seconds(1_500)));
    let mut session = behind.load(&key(&again)).await.unwrap().expect("it is live");
    behind.save(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), seconds(1_500)).await;
}

/// Asserts that a login by Django, which records no time, is limited too.
async fn a_login_that_another_program_made_is_limited_too<B: KvBackend>(cx: &Cx<B>) {
    let later = Later::new();
    let store = later.store(cx, |store| store.absolute_timeout(seconds(1_500)));
    let session: SessionKey = "djangodjangodjangodjangodjango00".parse().unwrap();
    let data = SessionData::from_json(r#"{"_auth_user_id":"42"}"#).unwrap();
    let payload: Bytes = DjangoSigned::new(SECRET).encode(&data, now()).unwrap();
    cx.put(&record(&session), payload).await;

    let mut loaded = store.load(&session).await.unwrap().unwrap();
    assert!(!loaded.is_modified());
    store.save(&mut loaded).await.unwrap();
    cx.assert_ttl(&record(&session), seconds(1_500)).await;
    later.pass(seconds(1_000));
    store.save(&mut loaded).await.unwrap();
    cx.assert_ttl(&record(&session), seconds(500)).await;
}

async fn a_session_that_is_used_lives_on_and_one_that_is_not_ends<B: KvBackend>(cx: &Cx<B>) {
    // A whole number of seconds, two fifths of which suffice for a few calls.
    let idle = seconds(1 + cx.clock.short().as_secs());
    let store = cx
        .sessions()
        .project("shop")
        .idle_timeout(idle)
        .touch_interval(idle / 5);
    let store = store.build().unwrap();
    let used = key(&logged_in(&store, &Login::new("42")).await);
    let unused = key(&logged_in(&store, &Login::new("42")).await);
    for _ in 0..2 {
        cx.clock.pass(idle * 3 / 5).await;
        let mut session = store.load(&used).await.unwrap().expect("it is used");
        assert!(store.renewal_is_due(&session));
        assert!(store.renew(&mut session).await.unwrap());
        assert!(!session.is_modified());
    }
    assert!(store.load(&unused).await.unwrap().is_none());
    cx.clock.outlive(idle).await;
    assert!(store.load(&used).await.unwrap().is_none());
}

async fn renewals_are_throttled_and_renew_the_cookie<B: KvBackend>(cx: &Cx<B>) {
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let store = cx
        .face
        .sessions(watched)
        .codec(DjangoSigned::new(SECRET))
        .clock(cx.time_of_day())
        .project("shop")
        .idle_timeout(seconds(1_000))
        .touch_interval(seconds(100));
    let store = store.build().unwrap();
    let mut session = store.new_session();
    store.login(&mut session, &Login::new("42")).await.unwrap();
    let stored = record(&key(&session));
    let header = format!("sessionid={}", key(&session).as_str());
    assert!(!store.renewal_is_due(&session), "the login renewed it");

    for (left, renews) in [
        (1_000, false),
        (950, false),
        (900, true),
        (880, true),
        (1, true),
        (2_000, true),
    ] {
        let expiry = crate::Expiry::After(seconds(left));
        assert!(cx.backend.expire(&stored, expiry).await.unwrap());
        watch.take();
        for renews in [renews, false, false] {
            let request = RequestSession::begin(&store, header.as_str());
            assert_eq!(request.user().await.unwrap().as_deref(), Some("42"));
            let outcome = request.finish(200).await;
            assert!(outcome.error.is_none());
            assert_eq!(outcome.set_cookie.is_some(), renews, "with {left} s left");
            if let Some(cookie) = outcome.set_cookie {
                assert!(
                    cookie.contains(key(&session).as_str()) && cookie.contains("Max-Age="),
                    "{cookie}"
                );
            }
        }
        let written = watch.take().into_iter().filter(|verb| *verb == "expire").count();
        assert_eq!(written, usize::from(renews), "with {left} s left");
        if renews {
            cx.assert_ttl(&stored, seconds(1_000)).await;
        }
    }

    // A save and a renewal both count.
    for is_saved in [true, false] {
        let expiry = crate::Expiry::After(seconds(10));
        assert!(cx.backend.expire(&stored, expiry).await.unwrap());
        let mut loaded = store.load(&key(&session)).await.unwrap().unwrap();
        assert!(store.renewal_is_due(&loaded));
        if is_saved {
            store.save(&mut loaded).await.unwrap();
        } else {
            assert!(store.renew(&mut loaded).await.unwrap());
        }
        assert!(!store.renewal_is_due(&loaded), "saved: {is_saved}");
    }

    // A session that was ended elsewhere is not renewed.
    assert!(
        cx.backend
            .expire(&stored, crate::Expiry::After(seconds(10)))
            .await
            .unwrap()
    );
    let mut loaded = store.load(&key(&session)).await.unwrap().unwrap();
    assert!(store.delete(&key(&session)).await.unwrap());
    assert!(!store.renew(&mut loaded).await.unwrap());
    assert!(!store.exists(&key(&session)).await.unwrap());

    // Without a timeout nothing is renewed.
    let plain = cx.store();
    let mut session = plain.create().await.unwrap();
    assert!(!plain.renew(&mut session).await.unwrap());
}

/// Checks the default: a tenth of the idle timeout, and at most a minute.
async fn the_interval_has_a_default_and_needs_no_timeout<B: KvBackend>(cx: &Cx<B>) {
    let builder = || cx.sessions().project("shop");
    let idle = |idle| builder().idle_timeout(seconds(idle));
    let without = builder().cookie_age(seconds(10_000)).touch_interval(seconds(300));
    for (builder, age, interval) in [(idle(300), 300, 30), (idle(2_000), 2_000, 60), (without, 10_000, 300)] {
        let store = builder.build().unwrap();
        let session = key(&store.create().await.unwrap());
        for (left, is_due) in [(age - interval / 2, false), (age - interval, true), (age / 2, true)] {
            let expiry = crate::Expiry::After(seconds(left));
            assert!(cx.backend.expire(&record(&session), expiry).await.unwrap());
            let loaded = store.load(&session).await.unwrap().unwrap();
            assert_eq!(store.renewal_is_due(&loaded), is_due, "{left} s of {age} s are left");
        }
    }
}

async fn a_remembered_login_has_its_own_time<B: KvBackend>(cx: &Cx<B>) {
    let later = Later::new();
    let store = later.store(cx, |store| {
        store
            .idle_timeout(seconds(100))
            .absolute_timeout(seconds(500))
            .browser_session(true)
    });
    let remembered = Login::new("42").remember_for(seconds(5_000));
    let mut session = logged_in(&store, &remembered).await;
    assert!(!session.expires_at_browser_close());
    cx.assert_ttl(&record(&key(&session)), seconds(5_000)).await;
    later.pass(seconds(1_000));
    let expiry = crate::Expiry::After(seconds(4_000));
    assert!(cx.backend.expire(&record(&key(&session)), expiry).await.unwrap());
    let listed = store.sessions("42").await.unwrap();
    assert!(
        listed[0].last_seen <= listed[0].created + seconds(30),
        "it was not used since its login"
    );
    later.pass(seconds(3_000));
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), seconds(1_000)).await;
    later.pass(seconds(1_000));
    assert!(store.load(&key(&session)).await.unwrap().is_none());

    // The next login has its own duration.
    let mut session = logged_in(&store, &remembered).await;
    store.login(&mut session, &Login::new("42")).await.unwrap();
    assert!(session.expires_at_browser_close());
    cx.assert_ttl(&record(&key(&session)), seconds(100)).await;

    for wrong in [Duration::ZERO, Duration::MAX] {
        let refused = store.login(&mut session, &Login::new("42").remember_for(wrong)).await;
        assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
    }
    assert!(!session.is_modified());
}

async fn a_timeout_that_cannot_be_builds_no_store<B: KvBackend>(cx: &Cx<B>) {
    for wrong in [Duration::ZERO, Duration::MAX] {
        for builder in [cx.sessions().idle_timeout(wrong), cx.sessions().absolute_timeout(wrong)] {
            let error = builder.build().unwrap_err();
            assert!(matches!(error, SessionError::Config(_)), "{error}");
        }
    }
    let interval = cx.sessions().idle_timeout(seconds(60)).touch_interval(seconds(60));
    assert!(matches!(interval.build(), Err(SessionError::Config(_))));
    for interval in [60, 61] {
        let interval = cx.sessions().cookie_age(seconds(60)).touch_interval(seconds(interval));
        assert!(matches!(interval.build(), Err(SessionError::Config(_))));
    }
}

/// Renews a session that was loaded a while ago, and one whose record does not expire.
async fn a_session_that_is_held_for_long_is_renewed<B: KvBackend>(cx: &Cx<B>) {
    let later = Later::new();
    let store = later.store(cx, |store| {
        store.idle_timeout(seconds(1_000)).touch_interval(seconds(100))
    });
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    store.save(&mut session).await.unwrap();
    for (passed, is_due) in [(50, false), (60, true)] {
        later.pass(seconds(passed));
        assert_eq!(store.renewal_is_due(&session), is_due);
    }
    assert!(store.renew(&mut session).await.unwrap());
    assert!(!store.renewal_is_due(&session));

    let persistent = crate::Expiry::Never;
    assert!(cx.backend.expire(&record(&key(&session)), persistent).await.unwrap());
    let mut loaded = store.load(&key(&session)).await.unwrap().expect("it is there");
    assert!(store.renew(&mut loaded).await.unwrap());
    cx.assert_ttl(&record(&key(&session)), seconds(1_000)).await;

    // A session until the browser closes, and one with its own expiry, are renewed too.
    for (expiry, age) in [(Duration::ZERO, 1_000), (seconds(500), 500)] {
        session.set_expiry(expiry).unwrap();
        store.save(&mut session).await.unwrap();
        let soon = crate::Expiry::After(seconds(20));
        assert!(cx.backend.expire(&record(&key(&session)), soon).await.unwrap());
        let mut loaded = store.load(&key(&session)).await.unwrap().expect("it is there");
        assert!(store.renew(&mut loaded).await.unwrap());
        cx.assert_ttl(&record(&key(&session)), seconds(age)).await;
    }
}
