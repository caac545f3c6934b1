//! Clauses on the expiry of sessions.

use std::time::{Duration, SystemTime};

use serde_json::value::RawValue;

use super::{
    super::context::{Cx, clauses},
    cases::{ages_of_every_width_are_kept, every_verb_stores_for},
    key, record,
};
use crate::{ErrorKind, Expiry, KvBackend, SessionError, SessionExpiry};

clauses! {
    sexp_01_the_time_to_live_is_the_expiry_age {
        the_time_to_live_is_the_expiry_age
        ages_of_every_width_are_kept
        fractions_of_a_second_count
        a_shorter_expiry_replaces_a_longer_one
    }
    sexp_02_a_relative_expiry_begins_anew_with_each_save {
        a_relative_expiry_begins_anew_with_each_save
        an_expiry_too_long_for_any_store_is_an_error
        a_date_is_kept_to_the_microsecond
        an_expiry_of_another_program_is_read_as_django_reads_it
    }
    sexp_03_an_absolute_expiry_floors_to_whole_seconds {
        an_absolute_expiry_floors_to_whole_seconds
    }
    sexp_04_zero_is_until_the_browser_closes {
        zero_is_until_the_browser_closes
    }
    sexp_05_a_past_expiry_removes_the_record_when_saved {
        a_past_expiry_removes_the_record_when_saved
        a_session_is_missing_from_its_date_on
    }
    sexp_06_removing_the_expiry_goes_back_to_the_default {
        removing_the_expiry_goes_back_to_the_default
    }
}

const TWO_WEEKS: Duration = Duration::from_secs(1_209_600);

async fn the_time_to_live_is_the_expiry_age<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    assert_eq!(session.expiry_age(), TWO_WEEKS);
    cx.assert_ttl(&record(&key(&session)), TWO_WEEKS).await;
    let (before, date, after) = (cx.now(), session.expiry_date(), cx.now());
    assert!(before + TWO_WEEKS <= date && date <= after + TWO_WEEKS);

    session.set_expiry(Duration::from_secs(300)).unwrap();
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), Duration::from_secs(300)).await;

    let short = cx
        .sessions()
        .project("shop")
        .cookie_age(Duration::from_secs(60))
        .build()
        .unwrap();
    cx.assert_ttl(&record(&key(&short.create().await.unwrap())), Duration::from_secs(60))
        .await;
    for wrong in [Duration::ZERO, Duration::MAX] {
        let error = cx.sessions().cookie_age(wrong).build().unwrap_err();
        assert!(matches!(error, SessionError::Config(_)), "{error}");
    }
}

async fn a_relative_expiry_begins_anew_with_each_save<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    // A whole number of seconds, two fifths of which suffice for a few calls.
    let age = Duration::from_secs(1 + cx.clock.short().as_secs());
    session.set_expiry(age).unwrap();
    assert!(session.is_modified());
    let kept = session.get::<Box<RawValue>>("_session_expiry").unwrap().unwrap();
    assert_eq!(
        kept.get(),
        age.as_secs().to_string(),
        "an integer of seconds, as Django keeps it"
    );
    store.save(&mut session).await.unwrap();
    let mut fraction = store.new_session();
    fraction.set_expiry(Duration::from_millis(1_500)).unwrap();
    assert_eq!(fraction.expiry_age(), Duration::from_secs(2), "rounded up");

    for _ in 0..2 {
        cx.clock.pass(age * 3 / 5).await;
        let mut loaded = store.load(&key(&session)).await.unwrap().expect("the save renewed it");
        assert_eq!(loaded.expiry_age(), age);
        store.save(&mut loaded).await.unwrap();
    }
    cx.clock.outlive(age).await;
    assert!(store.load(&key(&session)).await.unwrap().is_none());
}

async fn an_expiry_too_long_for_any_store_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    let before = cx.backend.get(&record(&key(&session))).await.unwrap();
    let ten_thousand_years = Duration::from_secs(10_000 * 366 * 86_400);
    for too_long in [Duration::MAX, Duration::from_secs(u64::MAX), ten_thousand_years] {
        let refused = session.set_expiry(too_long);
        assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
    }
    assert!(!session.is_modified(), "a refused expiry changes nothing");

    // Another program may have stored such a value.
    session.insert("_session_expiry", u64::MAX).unwrap();
    let error = store.save(&mut session).await.unwrap_err();
    assert!(
        matches!(&error, SessionError::Backend(error) if error.kind() == ErrorKind::InvalidArgument),
        "{error}"
    );
    assert_eq!(cx.backend.get(&record(&key(&session))).await.unwrap(), before);
    assert!(session.expiry_date() > cx.now());
}

async fn an_absolute_expiry_floors_to_whole_seconds<B: KvBackend>(cx: &Cx<B>) {
    // The store's clock does not advance here, even if the backend's does, so the remaining time
    // depends only on `now` and the expiry.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let store = cx.sessions().project("shop").clock(move || now).build().unwrap();
    let mut session = store.create().await.unwrap();
    for (left, age) in [(29_900, 29), (30_000, 30), (30_001, 30), (1_000, 1), (999, 0), (0, 0)] {
        session.set_expiry(now + Duration::from_millis(left)).unwrap();
        assert_eq!(session.expiry_age(), Duration::from_secs(age), "{left} ms");
    }
    session.set_expiry(now + Duration::from_millis(29_900)).unwrap();
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), Duration::from_secs(29)).await;
    assert!(!session.expires_at_browser_close());
}

async fn zero_is_until_the_browser_closes<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    assert!(!session.expires_at_browser_close());
    for zero in [SessionExpiry::BrowserClose, Duration::ZERO.into()] {
        session.set_expiry(zero).unwrap();
        assert_eq!(
            session.get::<i64>("_session_expiry").unwrap(),
            Some(0),
            "as Django keeps it"
        );
        assert!(session.expires_at_browser_close());
        assert_eq!(session.expiry_age(), TWO_WEEKS);
        store.save(&mut session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), TWO_WEEKS).await;
    }
    session.set_expiry(Duration::from_secs(1)).unwrap();
    assert!(!session.expires_at_browser_close());
}

async fn a_past_expiry_removes_the_record_when_saved<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let past = cx.now() - Duration::from_secs(1);
    let mut session = store.create().await.unwrap();
    session.set_expiry(past).unwrap();
    assert_eq!(session.expiry_age(), Duration::ZERO);
    assert!(session.expiry_date() <= past);
    assert!(store.exists(&key(&session)).await.unwrap(), "not before it is saved");
    store.save(&mut session).await.unwrap();
    assert!(!store.exists(&key(&session)).await.unwrap());
    session.set_expiry(Duration::from_secs(300)).unwrap();
    assert!(
        matches!(store.save(&mut session).await, Err(SessionError::Gone)),
        "a save does not recreate it"
    );

    // Another client stored a negative number of seconds.
    let mut negative = store.create().await.unwrap();
    negative.insert("_session_expiry", -5).unwrap();
    store.save(&mut negative).await.unwrap();
    assert!(!store.exists(&key(&negative)).await.unwrap());

    // A session that was changed or deleted elsewhere is not removed blindly.
    let mut stale = store.create().await.unwrap();
    store
        .update(&key(&stale), |session| session.insert("theirs", 1))
        .await
        .unwrap();
    stale.set_expiry(past).unwrap();
    assert!(matches!(store.save(&mut stale).await, Err(SessionError::Conflict)));
    assert!(store.exists(&key(&stale)).await.unwrap());
    assert!(store.delete(&key(&stale)).await.unwrap());
    assert!(matches!(store.save(&mut stale).await, Err(SessionError::Gone)));

    // A session that was never stored stays unstored, because its new key would belong to no
    // record.
    let mut unstored = store.new_session();
    unstored.set_expiry(past).unwrap();
    store.save(&mut unstored).await.unwrap();
    assert!(unstored.key().is_none());

    let mut cycled = store.create().await.unwrap();
    let old = key(&cycled);
    cycled.set_expiry(past).unwrap();
    store.cycle_key(&mut cycled).await.unwrap();
    assert!(!store.exists(&old).await.unwrap());

    let touched = store.create().await.unwrap();
    let mut other = store.load(&key(&touched)).await.unwrap().unwrap();
    other.set_expiry(past).unwrap();
    store.touch(&other).await.unwrap();
    assert!(!store.exists(&key(&touched)).await.unwrap());

    // Another client may have extended the expiry since.
    let mut stale = store.create().await.unwrap();
    store
        .update(&key(&stale), |session| session.insert("theirs", 1))
        .await
        .unwrap();
    stale.set_expiry(past).unwrap();
    assert!(matches!(store.touch(&stale).await, Err(SessionError::Conflict)));
    assert!(store.exists(&key(&stale)).await.unwrap());
}

/// Lets a record outlive the date of its session, as another client's renewal can.
async fn a_session_is_missing_from_its_date_on<B: KvBackend>(cx: &Cx<B>) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let at = |later| {
        let store = cx.sessions().project("shop");
        store.clock(move || now + Duration::from_secs(later)).build().unwrap()
    };
    let mut session = at(0).create().await.unwrap();
    session.set_expiry(now + Duration::from_secs(60)).unwrap();
    at(0).save(&mut session).await.unwrap();
    let longer = Expiry::After(TWO_WEEKS);
    assert!(cx.backend.expire(&record(&key(&session)), longer).await.unwrap());
    for (later, is_live) in [(59, true), (60, false), (61, false)] {
        let loaded = at(later).load(&key(&session)).await.unwrap();
        assert_eq!(loaded.is_some(), is_live, "after {later} s");
    }
}

async fn removing_the_expiry_goes_back_to_the_default<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    session.set_expiry(SessionExpiry::Default).unwrap();
    assert!(!session.is_modified(), "there was none");

    session.set_expiry(Duration::from_secs(300)).unwrap();
    store.save(&mut session).await.unwrap();
    session.set_expiry(SessionExpiry::Default).unwrap();
    assert!(session.is_modified());
    assert!(!session.contains_key("_session_expiry"));
    assert_eq!(session.expiry_age(), TWO_WEEKS);
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), TWO_WEEKS).await;
}

/// Reads and writes dates as Django does: with microseconds, and with any offset.
async fn a_date_is_kept_to_the_microsecond<B: KvBackend>(cx: &Cx<B>) {
    // 2023-11-14, 22:13:20.5 in UTC.
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    let store = cx.sessions().project("shop").clock(move || now).build().unwrap();
    let mut session = store.create().await.unwrap();
    for (left, text) in [
        (30_178_901, "2023-11-14T22:13:50.678901+00:00"),
        (29_500_001, "2023-11-14T22:13:50.000001+00:00"),
        (29_500_000, "2023-11-14T22:13:50+00:00"),
    ] {
        let date = now + Duration::from_micros(left);
        session.set_expiry(date).unwrap();
        store.save(&mut session).await.unwrap();
        let loaded = store.load(&key(&session)).await.unwrap().expect("it is live");
        assert_eq!(loaded.get::<String>("_session_expiry").unwrap().as_deref(), Some(text));
        assert_eq!(loaded.expiry_date(), date, "{text}");
        let age = Duration::from_secs(left / 1_000_000);
        assert_eq!(loaded.expiry_age(), age, "{text}");
        cx.assert_ttl(&record(&key(&session)), age).await;
    }
}

/// Reads the values that other programs store as the expiry.
async fn an_expiry_of_another_program_is_read_as_django_reads_it<B: KvBackend>(cx: &Cx<B>) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let store = cx.sessions().project("shop").clock(move || now).build().unwrap();
    for (json, left) in [
        (r#""2023-11-14T22:13:50+00:00""#, 30),
        (r#""2023-11-14T22:13:50Z""#, 30),
        (r#""2023-11-14T14:13:50-08:00""#, 30),
        (r#""2023-11-15T03:43:50.000000+05:30""#, 30),
        (r#""2023-11-14T22:13:50""#, 30),
        ("90", 90),
        ("90.7", 90),
        ("0", TWO_WEEKS.as_secs()),
        ("null", TWO_WEEKS.as_secs()),
        (r#""soon""#, TWO_WEEKS.as_secs()),
        ("[90]", TWO_WEEKS.as_secs()),
    ] {
        let value: Box<RawValue> = serde_json::from_str(json).unwrap();
        let mut session = store.new_session();
        session.insert("_session_expiry", value).unwrap();
        store.save(&mut session).await.unwrap();
        let loaded = store.load(&key(&session)).await.unwrap().expect("it is live");
        assert_eq!(loaded.expiry_age(), Duration::from_secs(left), "{json}");
        assert_eq!(loaded.expires_at_browser_close(), json == "0", "{json}");
        cx.assert_ttl(&record(&key(&session)), Duration::from_secs(left)).await;
    }
}

/// Stores sessions for times that are no whole number of seconds.
async fn fractions_of_a_second_count<B: KvBackend>(cx: &Cx<B>) {
    let age = Duration::from_millis(90_500);
    let store = cx.sessions().project("shop").cookie_age(age).build().unwrap();
    let mut session = store.create().await.unwrap();
    assert_eq!(session.expiry_age(), age);
    cx.assert_ttl(&record(&key(&session)), age).await;
    every_verb_stores_for(cx, &store, &mut session, age).await;
    // A duration of the session itself is kept in whole seconds, rounded up.
    for (own, seconds) in [(1, 1), (999, 1), (1_000, 1), (61_001, 62)] {
        session.set_expiry(Duration::from_millis(own)).unwrap();
        assert_eq!(session.expiry_age(), Duration::from_secs(seconds), "{own} ms");
        assert!(!session.expires_at_browser_close(), "{own} ms");
    }
}

/// Shortens and lengthens the time to live with each verb that writes it.
async fn a_shorter_expiry_replaces_a_longer_one<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut session = store.create().await.unwrap();
    for seconds in [500, 100, 900] {
        let age = Duration::from_secs(seconds);
        session.set_expiry(age).unwrap();
        store.touch(&session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), age).await;
        let other = Expiry::After(Duration::from_secs(300));
        assert!(cx.backend.expire(&record(&key(&session)), other).await.unwrap());
        store.save(&mut session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), age).await;
    }
    session.clear();
    store.save(&mut session).await.unwrap();
    cx.assert_ttl(&record(&key(&session)), TWO_WEEKS).await;
}
