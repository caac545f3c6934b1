//! Clauses on what a browser sees: keys in cookies, cookies in responses, and a status for each
//! failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use super::super::face::{SessionStore, asynchronous};
use super::{
    super::context::{Cx, clauses},
    failing::an_outage_in_the_middle_is_an_error_of_the_verb,
    key, record,
};
use crate::{
    Error, ErrorKind, Expiry, KvBackend, Login, SessionError, SessionExpiry, SessionKey,
    web::{Outcome, RequestSession, SameSite, SessionCookie, Sessions},
};

clauses! {
    skey_04_a_quoted_key_is_read_and_the_first_that_can_be_one_counts {
        a_quoted_value_is_read_without_the_quotes
        the_first_value_that_can_be_a_key_counts
        what_cannot_be_a_key_is_passed_over
    }
    scook_01_a_response_removes_no_cookie_of_another_response {
        a_request_with_the_key_from_before_a_login_leaves_the_cookie
        an_unknown_key_is_ignored_and_never_taken_over
        the_request_that_ends_a_session_removes_its_cookie
        a_cookie_is_removed_where_it_was_set
        the_session_of_another_user_ends_with_the_login
        a_failed_response_saves_nothing
        a_session_that_expires_during_a_request_is_removed
        a_renewal_of_an_ended_session_leaves_the_cookie
        a_new_key_is_given_in_the_cookie
        the_other_sessions_of_a_user_end_with_the_request
        an_empty_session_of_a_visitor_is_not_stored
        a_response_that_depends_on_the_cookie_says_so
        every_request_renews_the_record_too
    }
    scook_02_a_browser_session_has_no_max_age {
        a_browser_session_has_no_max_age
    }
    scook_03_a_cookie_that_a_browser_would_drop_is_an_error {
        a_cookie_that_a_browser_would_drop_is_an_error
    }
    sverb_12_each_kind_of_failure_has_its_own_answer {
        each_kind_of_failure_has_its_own_answer
        a_mistake_is_told_where_it_is_made
        an_outage_in_the_middle_is_an_error_of_the_verb
    }
}

/// Returns the `Cookie` header that a browser sends after this outcome.
fn cookie(outcome: &Outcome) -> String {
    let set_cookie = outcome.set_cookie.as_deref().expect("a cookie is set");
    set_cookie.split(';').next().unwrap().to_owned()
}

fn key_of(cookie: &str) -> SessionKey {
    cookie.strip_prefix("sessionid=").unwrap().parse().unwrap()
}

/// Returns the cookie of a visitor whose session contains `name`.
async fn visitor<B: KvBackend>(store: &SessionStore<B>) -> String {
    let request = RequestSession::begin(store, None);
    request.insert("name", "Ada").await.unwrap();
    cookie(&request.finish(200).await)
}

async fn name<B: KvBackend>(store: &SessionStore<B>, header: &str) -> Option<String> {
    let request = RequestSession::begin(store, header);
    let name = request.get("name").await.unwrap();
    let outcome = request.finish(200).await;
    assert_eq!((outcome.set_cookie, outcome.vary), (None, true), "{header}");
    assert!(outcome.error.is_none());
    name
}

async fn a_quoted_value_is_read_without_the_quotes<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let cookie = visitor(&store).await;
    let key = key_of(&cookie);
    for header in [
        format!("sessionid=\"{}\"", key.as_str()),
        format!("theme=\"dark\"; sessionid = \"{}\" ; a=b", key.as_str()),
        cookie.clone(),
    ] {
        assert_eq!(name(&store, &header).await.as_deref(), Some("Ada"), "{header}");
    }
    for header in [
        format!("sessionid=\"{}", key.as_str()),
        format!("sessionid={}\"", key.as_str()),
        format!("sessionid=\"\"{}\"\"", key.as_str()),
    ] {
        assert_eq!(name(&store, &header).await, None, "{header}");
    }
}

async fn the_first_value_that_can_be_a_key_counts<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let (ada, other) = (visitor(&store).await, "sessionid=zzzzzzzzzzzzzzzz");
    for (header, expected) in [
        (format!("sessionid=x; {ada}"), Some("Ada")),
        (format!("{ada}; sessionid=x"), Some("Ada")),
        (
            format!("sessionid=\"\"; sessionid; sessionid=\u{fc}bergro\u{df}; {ada}"),
            Some("Ada"),
        ),
        (format!("{ada}; {other}"), Some("Ada")),
        // Another name that begins or ends with the name.
        (format!("sessionid2=zzzzzzzzzzzzzzzz; {ada}"), Some("Ada")),
        (format!("my-sessionid=zzzzzzzzzzzzzzzz; {ada}"), Some("Ada")),
        (format!("{other}; {ada}"), None),
    ] {
        assert_eq!(name(&store, &header).await.as_deref(), expected, "{header}");
    }
}

async fn what_cannot_be_a_key_is_passed_over<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let ada = visitor(&store).await;
    for other in [
        "z".repeat(7),
        "z".repeat(129),
        "zzzzzzz.".to_owned(),
        "zzzz zzzz".to_owned(),
        "zzzz+zzzz".to_owned(),
        "zzzz/zzzz".to_owned(),
        "zzzz:zzzz".to_owned(),
        "zzzz=zzzz".to_owned(),
        "zzzz%7azzz".to_owned(),
        "zzzzzzz\u{e9}".to_owned(),
        "zzzzzzz\0".to_owned(),
        "zzzz,zzzz".to_owned(),
        "'zzzzzzzz'".to_owned(),
    ] {
        let header = format!("sessionid={other}; {ada}");
        assert_eq!(name(&store, &header).await.as_deref(), Some("Ada"), "{header}");
    }
    for other in [
        "z".repeat(8),
        "z".repeat(128),
        "ZZZZZZZZ".to_owned(),
        "zz-zz_00".to_owned(),
    ] {
        let header = format!("sessionid={other}; {ada}");
        assert_eq!(name(&store, &header).await, None, "{header}");
    }
    // These are other cookies, or parts of them.
    for header in [
        format!("SessionId={}", key_of(&ada).as_str()),
        format!("theme=dark,{ada}"),
        format!("theme={ada}"),
        format!("{ada}x"),
        format!("{ada}=x"),
        format!("{ada}.x"),
    ] {
        assert_eq!(name(&store, &header).await, None, "{header}");
    }
    // HTTP/2 may split the header.
    let key = key_of(&ada);
    let split = [
        b"theme=\xff".to_vec(),
        format!("sessionid={}", key.as_str()).into_bytes(),
    ];
    let split: Vec<&[u8]> = split.iter().map(Vec::as_slice).collect();
    let request = RequestSession::begin(&store, split);
    assert_eq!(request.get::<String>("name").await.unwrap().as_deref(), Some("Ada"));
    assert_eq!(request.finish(200).await.set_cookie, None);
}

async fn a_request_with_the_key_from_before_a_login_leaves_the_cookie<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let before = visitor(&store).await;
    let login = RequestSession::begin(&store, before.as_str());
    login.login(&Login::new("42")).await.unwrap();
    let after = cookie(&login.finish(303).await);
    assert_ne!(after, before);

    // A poll that was in progress, and a second click on the logout button.
    assert_eq!(name(&store, &before).await, None);
    let late = RequestSession::begin(&store, before.as_str());
    late.logout().await.unwrap();
    assert_eq!(late.finish(303).await.set_cookie, None);
    for header in [format!("{before}; theme=dark"), format!("sessionid=junk; {before}")] {
        assert_eq!(name(&store, &header).await, None);
    }
    assert_eq!(name(&store, &after).await.as_deref(), Some("Ada"));
}

async fn an_unknown_key_is_ignored_and_never_taken_over<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for unknown in [
        "sessionid=attackerattackerattackerattacker",
        "sessionid=junk",
        "sessionid=",
    ] {
        assert_eq!(name(&store, unknown).await, None);
        let written = RequestSession::begin(&store, unknown);
        written.insert("name", "Eve").await.unwrap();
        let given = cookie(&written.finish(200).await);
        assert_ne!(given, unknown, "a visitor gets a key that nobody chose");
        assert_eq!(name(&store, &given).await.as_deref(), Some("Eve"));
    }
    let ended = visitor(&store).await;
    store.delete(&key_of(&ended)).await.unwrap();
    assert_eq!(name(&store, &ended).await, None);
    let removed = RequestSession::begin(&store, ended.as_str());
    assert!(!removed.remove("name").await.unwrap());
    removed.with(crate::Session::clear).await.unwrap();
    assert_eq!(removed.finish(200).await.set_cookie, None);
}

async fn the_request_that_ends_a_session_removes_its_cookie<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    for status in [200, 500] {
        let cookie = visitor(&store).await;
        let logout = RequestSession::begin(&store, cookie.as_str());
        logout.flush().await.unwrap();
        let removal = logout.finish(status).await.set_cookie.expect("the cookie is removed");
        assert!(
            removal.starts_with("sessionid=; ") && removal.contains("Max-Age=0"),
            "{removal}"
        );
        let again = RequestSession::begin(&store, cookie.as_str());
        again.flush().await.unwrap();
        assert_eq!(again.finish(status).await.set_cookie, None, "it has already ended");
    }

    // The last value is removed, or the session expires.
    let cookie = visitor(&store).await;
    let emptied = RequestSession::begin(&store, cookie.as_str());
    assert!(emptied.remove("name").await.unwrap());
    assert!(
        emptied
            .finish(200)
            .await
            .set_cookie
            .unwrap()
            .starts_with("sessionid=; ")
    );
    let cookie = visitor(&store).await;
    let passed = RequestSession::begin(&store, cookie.as_str());
    passed.set_expiry(cx.now() - Duration::from_secs(5)).await.unwrap();
    assert!(passed.finish(200).await.set_cookie.unwrap().starts_with("sessionid=; "));
    assert!(!store.exists(&key_of(&cookie)).await.unwrap());
}

async fn a_cookie_is_removed_where_it_was_set<B: KvBackend>(cx: &Cx<B>) {
    let cookie = SessionCookie::new().path("/shop").domain("example.org");
    let cookie = cookie.same_site(SameSite::Strict).partitioned();
    let sessions = Sessions::new(asynchronous(cx.store())).cookie(cookie).unwrap();
    let request = sessions.begin(None);
    request.insert("name", "Ada").await.unwrap();
    let set = request.finish(200).await;
    let request = sessions.begin(self::cookie(&set).as_str());
    request.flush().await.unwrap();
    let removed = request.finish(200).await.set_cookie.expect("the cookie is removed");
    for header in [set.set_cookie.unwrap(), removed] {
        assert!(
            header
                .contains("; HttpOnly; SameSite=Strict; Partitioned; Secure; Path=/shop; Domain=example.org; Max-Age="),
            "{header}"
        );
    }
}

async fn the_session_of_another_user_ends_with_the_login<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let login = async |header: Option<&str>, user: &str| {
        let request = RequestSession::begin(&store, header);
        request.login(&Login::new(user)).await.unwrap();
        cookie(&request.finish(303).await)
    };
    let ada = login(None, "ada").await;
    let bob = login(Some(&ada), "bob").await;
    assert_ne!(ada, bob);
    assert!(!store.exists(&key_of(&ada)).await.unwrap());
    assert!(store.exists(&key_of(&bob)).await.unwrap());
}

async fn a_failed_response_saves_nothing<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let cookie = visitor(&store).await;
    for status in [500, 501, 502, 503, 504, 505, 599, 408] {
        let request = RequestSession::begin(&store, cookie.as_str());
        request.insert("name", "Eve").await.unwrap();
        request.cycle_key().await.unwrap();
        assert_eq!(request.finish(status).await.set_cookie, None, "{status}");
        assert_eq!(name(&store, &cookie).await.as_deref(), Some("Ada"), "{status}");
    }
    for status in [200, 204, 303, 304, 400, 401, 403, 404, 409, 429, 499] {
        let request = RequestSession::begin(&store, cookie.as_str());
        request.insert("status", status).await.unwrap();
        assert!(request.finish(status).await.set_cookie.is_some(), "{status}");
        let request = RequestSession::begin(&store, cookie.as_str());
        assert_eq!(request.get::<u16>("status").await.unwrap(), Some(status));
        let _ = request.finish(200).await;
    }
}

async fn a_session_that_expires_during_a_request_is_removed<B: KvBackend>(cx: &Cx<B>) {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let later = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&later);
    let store = cx.sessions().project("shop");
    let store = store.clock(move || start + Duration::from_secs(clock.load(Ordering::SeqCst)));
    let store = store.build().unwrap();
    let sessions = Sessions::new(asynchronous(store.clone())).save_every_request();
    for is_ended_elsewhere in [false, true] {
        later.store(0, Ordering::SeqCst);
        let request = sessions.begin(None);
        request.insert("name", "Ada").await.unwrap();
        request.set_expiry(start + Duration::from_secs(60)).await.unwrap();
        let cookie = cookie(&request.finish(200).await);

        let request = sessions.begin(cookie.as_str());
        assert_eq!(request.get::<String>("name").await.unwrap().as_deref(), Some("Ada"));
        later.store(61, Ordering::SeqCst);
        if is_ended_elsewhere {
            assert!(store.delete(&key_of(&cookie)).await.unwrap());
            let outcome = request.finish(200).await;
            assert!(outcome.error.is_none() && outcome.set_cookie.is_none(), "{outcome:?}");
            continue;
        }
        let removal = request.finish(200).await.set_cookie.expect("the cookie is removed");
        assert!(removal.starts_with("sessionid=; "), "{removal}");
        assert!(!store.exists(&key_of(&cookie)).await.unwrap());
    }
}

async fn a_renewal_of_an_ended_session_leaves_the_cookie<B: KvBackend>(cx: &Cx<B>) {
    let (store, watched) = cx.watched_store();
    let sessions = Sessions::new(asynchronous(store.clone())).save_every_request();
    let cookie = visitor(&store).await;
    let renewed = sessions.begin(cookie.as_str()).finish(200).await;
    assert!(renewed.set_cookie.unwrap().starts_with(&cookie));
    assert!(renewed.vary, "no shared cache may hand the cookie to another visitor");

    // Another request ends the session between this request's load and its renewal.
    let (elsewhere, ended) = (cx.store(), key_of(&cookie));
    watched.before("expire", async move {
        assert!(elsewhere.delete(&ended).await.unwrap());
    });
    for _ in 0..2 {
        let outcome = sessions.begin(cookie.as_str()).finish(200).await;
        assert!(outcome.error.is_none() && outcome.set_cookie.is_none(), "{outcome:?}");
    }
}

async fn a_new_key_is_given_in_the_cookie<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let before = visitor(&store).await;
    let request = RequestSession::begin(&store, before.as_str());
    request.cycle_key().await.unwrap();
    let outcome = request.finish(200).await;
    let after = cookie(&outcome);
    assert_ne!(after, before);
    assert_eq!(
        outcome.set_cookie.unwrap(),
        format!("{after}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=1209600")
    );
    assert!(!store.exists(&key_of(&before)).await.unwrap());
    assert_eq!(name(&store, &after).await.as_deref(), Some("Ada"));

    // Another request changes the session meanwhile.
    let request = RequestSession::begin(&store, after.as_str());
    request.insert("mine", 1).await.unwrap();
    request.cycle_key().await.unwrap();
    store
        .update(&key_of(&after), |session| session.insert("theirs", 1))
        .await
        .unwrap();
    let last = cookie(&request.finish(200).await);
    assert_ne!(last, after);
    let merged = store.load(&key_of(&last)).await.unwrap().expect("it is stored");
    assert!(["name", "mine", "theirs"].iter().all(|name| merged.contains_key(name)));

    // Data after a logout belongs to another session.
    for cycles in [false, true] {
        let before = visitor(&store).await;
        let request = RequestSession::begin(&store, before.as_str());
        if cycles {
            request.cycle_key().await.unwrap();
        }
        request.flush().await.unwrap();
        request.insert("theme", "dark").await.unwrap();
        let after = cookie(&request.finish(200).await);
        assert_ne!(after, before);
        assert!(!store.exists(&key_of(&before)).await.unwrap());
        let fresh = store.load(&key_of(&after)).await.unwrap().expect("it is stored");
        assert_eq!(fresh.keys().collect::<Vec<_>>(), ["theme"]);
    }
    let request = RequestSession::begin(&store, last.as_str());
    request.cycle_key().await.unwrap();
    request.flush().await.unwrap();
    let removal = request.finish(200).await.set_cookie.expect("the cookie is removed");
    assert_eq!(
        removal,
        "sessionid=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    );
}

async fn the_other_sessions_of_a_user_end_with_the_request<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let login = async || {
        let request = RequestSession::begin(&store, None);
        request.login(&Login::new("42")).await.unwrap();
        cookie(&request.finish(303).await)
    };
    let user = async |header: &str| {
        let request = RequestSession::begin(&store, header);
        let user = request.user().await.unwrap();
        assert_eq!(request.finish(200).await.set_cookie, None);
        user
    };
    for (status, ends) in [(500, false), (408, false), (200, true), (404, true)] {
        let (this, other) = (login().await, login().await);
        let request = RequestSession::begin(&store, this.as_str());
        request.insert("a", 1).await.unwrap();
        request.end_others().await.unwrap();
        assert!(user(&other).await.is_some(), "not before the end of the request");
        let outcome = request.finish(status).await;
        assert!(outcome.error.is_none());
        assert_eq!(outcome.set_cookie.is_some(), ends, "{status}");
        assert_eq!(user(&this).await.as_deref(), Some("42"), "{status}");
        assert_eq!(user(&other).await.is_some(), !ends, "{status}");
    }
    let nobody = RequestSession::begin(&store, None);
    let refused = nobody.end_others().await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
}

async fn an_empty_session_of_a_visitor_is_not_stored<B: KvBackend>(cx: &Cx<B>) {
    let (store, watch) = cx.watched_store();
    for presented in ["", "sessionid=junk"] {
        let request = RequestSession::begin(&store, presented);
        assert!(request.is_empty().await.unwrap());
        request.insert("name", "Ada").await.unwrap();
        assert!(request.remove("name").await.unwrap());
        let outcome = request.finish(200).await;
        assert_eq!(outcome.set_cookie, None);
        assert_eq!(watch.take(), [""; 0]);
    }
}

async fn a_response_that_depends_on_the_cookie_says_so<B: KvBackend>(cx: &Cx<B>) {
    let (store, watch) = cx.watched_store();
    let cookie = visitor(&store).await;
    let begin = || RequestSession::begin(&store, cookie.as_str());
    for status in [200, 404, 500] {
        let outcome = begin().finish(status).await;
        assert_eq!((outcome.vary, outcome.set_cookie), (false, None), "{status}");
        let request = begin();
        request.get::<String>("name").await.unwrap();
        assert!(request.finish(status).await.vary, "{status}");
        let request = begin();
        request.insert("a", status).await.unwrap();
        assert!(request.finish(status).await.vary, "{status}");
        let visitor = RequestSession::begin(&store, None);
        assert!(!visitor.contains_key("name").await.unwrap());
        assert!(visitor.finish(status).await.vary, "{status}");
    }
    let request = begin();
    request.get::<String>("name").await.unwrap();
    assert!(request.finish_without_saving().await.vary);
    watch.fail_after(0);
    let request = begin();
    request.get::<String>("name").await.unwrap_err();
    let outcome = request.finish(200).await;
    assert!(outcome.vary && outcome.error.is_some());
    watch.fail_after(usize::MAX);
    let request = begin();
    request.flush().await.unwrap();
    let outcome = request.finish(200).await;
    assert!(outcome.vary && outcome.set_cookie.is_some());
    let request = begin();
    request.flush().await.unwrap();
    let outcome = request.finish(200).await;
    assert_eq!((outcome.vary, outcome.set_cookie), (true, None));
}

async fn every_request_renews_the_record_too<B: KvBackend>(cx: &Cx<B>) {
    let age = Duration::from_secs(5_000);
    let store = cx.sessions().project("shop").cookie_age(age).build().unwrap();
    let sessions = Sessions::new(asynchronous(store.clone())).save_every_request();
    let cookie = visitor(&store).await;
    let stored = record(&key_of(&cookie));
    let before = cx.stored(&stored).await;
    for reads in [false, true] {
        let soon = Expiry::After(Duration::from_secs(50));
        assert!(cx.backend.expire(&stored, soon).await.unwrap());
        let request = sessions.begin(cookie.as_str());
        if reads {
            assert_eq!(request.get::<String>("name").await.unwrap().as_deref(), Some("Ada"));
        }
        let set_cookie = request.finish(200).await.set_cookie.expect("the cookie is renewed");
        assert!(
            set_cookie.starts_with(&cookie) && set_cookie.ends_with("; Max-Age=5000"),
            "{set_cookie}"
        );
        cx.assert_ttl(&stored, age).await;
        assert_eq!(cx.stored(&stored).await, before, "the data is not written");
    }
    // A failed response renews nothing, and a visitor gets nothing.
    assert_eq!(sessions.begin(cookie.as_str()).finish(500).await.set_cookie, None);
    for unknown in [None, Some("sessionid=zzzzzzzzzzzzzzzz")] {
        let outcome = sessions.begin(unknown).finish(200).await;
        assert_eq!(outcome.set_cookie, None, "{unknown:?}");
    }
}

async fn a_browser_session_has_no_max_age<B: KvBackend>(cx: &Cx<B>) {
    let age = Duration::from_secs(5_000);
    let builder = || cx.sessions().project("shop").cookie_age(age);
    let store = builder().browser_session(true).build().unwrap();
    let request = RequestSession::begin(&store, None);
    request.insert("name", "Ada").await.unwrap();
    assert!(
        request
            .with(|session| session.expires_at_browser_close())
            .await
            .unwrap()
    );
    let outcome = request.finish(200).await;
    let cookie = cookie(&outcome);
    assert!(!outcome.set_cookie.unwrap().contains("Max-Age"));
    cx.assert_ttl(&record(&key_of(&cookie)), age).await;

    // The session's own expiry takes precedence, and is stored as in Django.
    for (expiry, max_age) in [
        (SessionExpiry::After(Duration::from_secs(300)), Some("; Max-Age=300")),
        (SessionExpiry::BrowserClose, None),
        (SessionExpiry::Default, None),
    ] {
        let request = RequestSession::begin(&store, cookie.as_str());
        request.set_expiry(expiry).await.unwrap();
        let set_cookie = request.finish(200).await.set_cookie.unwrap();
        match max_age {
            Some(max_age) => assert!(set_cookie.ends_with(max_age), "{expiry:?}: {set_cookie}"),
            None => assert!(!set_cookie.contains("Max-Age"), "{expiry:?}: {set_cookie}"),
        }
        let changed = RequestSession::begin(&store, cookie.as_str());
        changed.insert("changed", 1).await.unwrap();
        let set_cookie = changed.finish(200).await.set_cookie.unwrap();
        assert_eq!(
            set_cookie.contains("Max-Age"),
            max_age.is_some(),
            "{expiry:?}: {set_cookie}"
        );
    }

    let lasting = builder().build().unwrap();
    let request = RequestSession::begin(&lasting, cookie.as_str());
    request.insert("changed", 2).await.unwrap();
    let set_cookie = request.finish(200).await.set_cookie.unwrap();
    assert!(set_cookie.ends_with("; Max-Age=5000"), "{set_cookie}");
    // Rounded up: zero would remove the cookie of a live session.
    for (age, max_age) in [(1_500, "; Max-Age=2"), (2_000, "; Max-Age=2")] {
        let store = cx.sessions().project("shop").cookie_age(Duration::from_millis(age));
        let request = RequestSession::begin(&store.build().unwrap(), None);
        request.insert("name", "Ada").await.unwrap();
        let set_cookie = request.finish(200).await.set_cookie.unwrap();
        assert!(set_cookie.ends_with(max_age), "{age} ms: {set_cookie}");
    }
}

async fn a_cookie_that_a_browser_would_drop_is_an_error<B: KvBackend>(cx: &Cx<B>) {
    let new = SessionCookie::new;
    for cookie in [
        new().name("a=b"),
        new().name(""),
        new().name("__Host-a").domain("example.org"),
        new().name("__Host-a").path("/shop"),
        new().name("__Secure-a").over_plain_http(),
        new().name("__secure-a").over_plain_http(),
        new().name("__HOST-a").over_plain_http(),
        new().name("__Http-a").over_plain_http(),
        new().path("/;a"),
        new().domain("example.org; Secure"),
        new().same_site(SameSite::None).over_plain_http(),
        new().partitioned().over_plain_http(),
        new().path("shop"),
        new().path("/\r\nSet-Cookie: a=b"),
        new().domain("https://example.org"),
        new().name("a".repeat(4_000)),
    ] {
        let refused = Sessions::new(asynchronous(cx.store())).cookie(cookie.clone());
        assert!(matches!(refused, Err(SessionError::Config(_))), "{cookie:?}");
    }
    let cookie = new().name("__Host-a").same_site(SameSite::None).partitioned();
    let sessions = Sessions::new(asynchronous(cx.store())).cookie(cookie).unwrap();
    let request = sessions.begin("sessionid=zzzzzzzz");
    request.insert("a", 1).await.unwrap();
    let set_cookie = request.finish(200).await.set_cookie.unwrap();
    assert!(set_cookie.starts_with("__Host-a="), "{set_cookie}");
    assert!(
        set_cookie.contains("; HttpOnly; SameSite=None; Partitioned; Secure; Path=/"),
        "{set_cookie}"
    );
}

async fn each_kind_of_failure_has_its_own_answer<B: KvBackend>(cx: &Cx<B>) {
    let (store, watched) = cx.watched_store();
    let cookie = visitor(&store).await;
    for (kind, retryable, status) in [
        (ErrorKind::Connection, true, 503),
        (ErrorKind::Timeout, true, 503),
        (ErrorKind::Server, true, 503),
        (ErrorKind::Server, false, 500),
        (ErrorKind::Data, false, 500),
        (ErrorKind::Config, false, 500),
        (ErrorKind::InvalidArgument, false, 500),
    ] {
        let error = Error::new(kind, "get", "it fails");
        let error = if retryable { error.retryable() } else { error };
        watched.fail_with(Some(error));
        let request = RequestSession::begin(&store, cookie.as_str());
        let answer = request.get::<String>("name").await.unwrap_err();
        assert_eq!(answer.status_code(), status, "{kind}");
        // The same applies if the handler ignores the error.
        let outcome = request.finish(200).await;
        assert_eq!(outcome.error.unwrap().status_code(), status, "{kind}");
        assert_eq!(outcome.set_cookie, None);
    }
    watched.fail_with(None);

    // An outage between the load and the save.
    let request = RequestSession::begin(&store, cookie.as_str());
    request.insert("name", "Grace").await.unwrap();
    watched.fail_after(0);
    let outcome = request.finish(200).await;
    watched.fail_after(usize::MAX);
    assert_eq!((outcome.error.unwrap().status_code(), outcome.set_cookie), (503, None));
    assert_eq!(name(&store, &cookie).await.as_deref(), Some("Ada"));

    // The session ends between the load and the save. This is not an outage: the visitor has to log
    // in again.
    let request = RequestSession::begin(&store, cookie.as_str());
    request.insert("name", "Grace").await.unwrap();
    store.delete(&key_of(&cookie)).await.unwrap();
    let outcome = request.finish(200).await;
    assert!(matches!(outcome.error, Some(SessionError::Gone)), "{outcome:?}");
    assert_eq!(outcome.set_cookie, None, "another response may have set the cookie");
    assert_eq!(SessionError::Gone.status_code(), 400);
    assert_eq!(SessionError::Conflict.status_code(), 503);
}

async fn a_mistake_is_told_where_it_is_made<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let request = RequestSession::begin(&store, None);
    request.insert("name", "Ada").await.unwrap();
    for mistake in [
        request.set_expiry(Duration::MAX).await.unwrap_err(),
        request.insert("nan", f64::NAN).await.unwrap_err(),
        request.get::<u64>("name").await.unwrap_err(),
    ] {
        assert!(!matches!(mistake, SessionError::Backend(_)), "{mistake:?}");
        assert_eq!(mistake.status_code(), 500, "{mistake:?}");
    }
    let cookie = cookie(&request.finish(200).await);
    assert_eq!(
        name(&store, &cookie).await.as_deref(),
        Some("Ada"),
        "the other changes are kept"
    );

    let mut large = store.load(&key_of(&cookie)).await.unwrap().unwrap();
    large.insert("large", "x".repeat(2_000_000)).unwrap();
    let refused = store.save(&mut large).await.unwrap_err();
    assert!(matches!(refused, SessionError::TooLarge { .. }), "{refused:?}");
    assert_eq!(refused.status_code(), 500);
    assert!(store.load(&key(&large)).await.unwrap().is_some());
}
