//! Clauses on the list of a user's logins, which is advisory, and on the cost of a login.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    super::{
        context::{Cx, clauses},
        face::asynchronous,
    },
    SECRET, key, record,
    users::{labels, list_of, lives, log_in},
};
use crate::{DjangoSigned, Expiry, KvBackend, Login, Ttl, web::Sessions};

clauses! {
    suser_02_the_list_is_advisory {
        a_lost_list_loses_nothing
        every_revocation_counts
        a_store_that_renews_sees_a_revocation
        the_list_is_pruned_when_it_is_read
        an_entry_lists_no_other_login
        a_session_that_a_reader_removed_meanwhile_is_listed_again
        the_list_is_bounded
        a_size_limit_of_the_codec_prevents_no_login
    }
    suser_03_loading_a_login_is_one_round_trip {
        loading_a_login_is_one_round_trip
        what_is_remembered_is_verified
    }
}

async fn a_lost_list_loses_nothing<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut phone = log_in(&store, "42", "phone").await;
    let ended = log_in(&store, "42", "ended").await;
    assert!(store.end("42", &ended.login_id().unwrap()).await.unwrap());
    for garbage in [None, Some("garbage")] {
        match garbage {
            None => assert_eq!(cx.backend.del(&[&list_of("42")]).await.unwrap(), 1),
            Some(garbage) => cx.put(&list_of("42"), garbage).await,
        }
        assert_eq!(store.sessions("42").await.unwrap(), []);
        assert!(lives(&store, &phone).await, "no session is lost with the list");
        assert!(!lives(&store, &ended).await, "an ended session stays ended");
        phone.insert("a", 1).unwrap();
        store.save(&mut phone).await.unwrap();

        let laptop = log_in(&store, "42", "laptop").await;
        assert_eq!(labels(&store, "42").await, ["laptop"]);
        assert!(store.end("42", &laptop.login_id().unwrap()).await.unwrap());
        assert!(lives(&store, &phone).await);
    }
    store.cycle_key(&mut phone).await.unwrap();
    assert_eq!(labels(&store, "42").await, ["phone"], "a new key lists it again");

    cx.backend.del(&[&list_of("42")]).await.unwrap();
    store.revoke_all("42").await.unwrap();
    assert!(!lives(&store, &phone).await, "a lost list loses no revocation");
}

async fn every_revocation_counts<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let admin = cx.sessions().project("shop").key_prefix("admin").build().unwrap();
    let mut of_admin = admin.new_session();
    admin.login(&mut of_admin, &Login::new("42")).await.unwrap();
    let theirs = log_in(&store, "43", "theirs").await;
    for _ in 0..3 {
        let session = log_in(&store, "42", "phone").await;
        assert!(lives(&store, &session).await);
        store.revoke_all("42").await.unwrap();
        assert!(!lives(&store, &session).await);
        assert!(lives(&store, &theirs).await && lives(&admin, &of_admin).await);
        // An old session could outlive a generation that expires.
        cx.assert_ttl("shop:session-generation:42", None).await;
    }
    // The generation is lost, and a login counts nevertheless.
    let mut session = log_in(&store, "42", "phone").await;
    assert_eq!(cx.backend.del(&["shop:session-generation:42"]).await.unwrap(), 1);
    store.login(&mut session, &Login::new("42")).await.unwrap();
    assert!(lives(&store, &session).await);
}

/// Checks a store that reads a session, its time to live and its user's generation at once.
async fn a_store_that_renews_sees_a_revocation<B: KvBackend>(cx: &Cx<B>) {
    let idle = Duration::from_secs(1_000);
    let store = cx.sessions().project("shop").idle_timeout(idle).build().unwrap();
    for has_generation in [false, true] {
        let session = log_in(&store, "42", "phone").await;
        for _ in 0..2 {
            assert!(lives(&store, &session).await, "{has_generation}");
        }
        cx.store().revoke_all("42").await.unwrap();
        assert!(!lives(&store, &session).await, "{has_generation}");
    }
}

async fn the_list_is_pruned_when_it_is_read<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let phone = log_in(&store, "42", "phone").await;
    let long = cx.backend.ttl(&list_of("42")).await.unwrap();
    assert!(
        matches!(long, Ttl::Remaining(left) if left > Duration::from_secs(399 * 86_400)),
        "the list expires by itself: {long:?}"
    );
    let shorter = Expiry::After(Duration::from_secs(100));
    assert!(cx.backend.expire(&list_of("42"), shorter).await.unwrap());
    let laptop = log_in(&store, "42", "laptop").await;
    let renewed = cx.backend.ttl(&list_of("42")).await.unwrap();
    assert!(
        matches!(renewed, Ttl::Remaining(left) if left > Duration::from_secs(399 * 86_400)),
        "a login renews the list: {renewed:?}"
    );
    let full = cx.stored(&list_of("42")).await.unwrap().len();
    assert!(store.delete(&key(&laptop)).await.unwrap());
    assert_eq!(labels(&store, "42").await, ["phone"]);
    assert!(cx.stored(&list_of("42")).await.unwrap().len() < full);

    store.revoke_all("42").await.unwrap();
    assert!(store.exists(&key(&phone)).await.unwrap());
    assert_eq!(store.sessions("42").await.unwrap(), [], "revoked ones are not listed");
    assert_eq!(cx.stored(&list_of("42")).await, None);
}

async fn an_entry_lists_no_other_login<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let phone = log_in(&store, "42", "phone").await;
    let laptop = log_in(&store, "42", "laptop").await;
    // Another program gives the phone the session of the laptop.
    let of_laptop = cx.stored(&record(&key(&laptop))).await.unwrap();
    cx.put(&record(&key(&phone)), of_laptop).await;
    assert_eq!(labels(&store, "42").await, ["laptop"], "each login is listed once");
}

async fn a_session_that_a_reader_removed_meanwhile_is_listed_again<B: KvBackend>(cx: &Cx<B>) {
    for in_a_request in [false, true] {
        let (store, watch) = cx.watched_store();
        let mut phone = log_in(&store, "42", "phone").await;
        let other = cx.store();
        // The first write ends all sessions of the user, and the second saves this one.
        watch.before("set", async {});
        watch.before("set", async move {
            assert_eq!(labels(&other, "42").await, [""; 0], "all have ended");
        });
        if in_a_request {
            let cookie = format!("sessionid={}", key(&phone).as_str());
            let request = Sessions::new(asynchronous(store.clone())).begin(cookie.as_str());
            request.end_others().await.unwrap();
            assert!(request.finish(200).await.error.is_none());
        } else {
            store.end_others(&mut phone).await.unwrap();
        }
        assert_eq!(labels(&store, "42").await, ["phone"]);
    }
}

async fn the_list_is_bounded<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let mut sessions = Vec::new();
    for number in 0..103 {
        sessions.push(log_in(&store, "42", &number.to_string()).await);
    }
    let listed = labels(&store, "42").await;
    assert_eq!(
        (listed.len(), listed[0].as_str(), listed[99].as_str()),
        (100, "102", "3")
    );
    assert!(lives(&store, &sessions[0]).await, "an unlisted session stays live");
}

async fn a_size_limit_of_the_codec_prevents_no_login<B: KvBackend>(cx: &Cx<B>) {
    for most in [None, NonZeroUsize::new(90)] {
        let codec = DjangoSigned::new(SECRET).with_max_size(2_048);
        let mut store = cx.sessions().project("shop").codec(codec);
        let user = format!("user {most:?}");
        if let Some(most) = most {
            store = store.sessions_per_user(most);
        }
        let store = store.build().unwrap();
        let mut sessions = Vec::new();
        for number in 0..40 {
            sessions.push(log_in(&store, &user, &number.to_string()).await);
        }
        assert_eq!(store.sessions(&user).await.unwrap()[0].label.as_deref(), Some("39"));
        for session in &sessions {
            assert!(lives(&store, session).await, "an unlisted session stays live");
        }
    }
}

async fn loading_a_login_is_one_round_trip<B: KvBackend>(cx: &Cx<B>) {
    let (store, watch) = cx.watched_store();
    let visitor = store.create().await.unwrap();
    let session = log_in(&store, "42", "phone").await;
    watch.take();
    assert!(lives(&store, &visitor).await);
    assert_eq!(watch.take(), ["get"]);
    for _ in 0..3 {
        assert!(lives(&store, &session).await);
        assert_eq!(watch.take(), ["get_many"], "one round trip");
    }

    // Another store needs a first load, which takes two round trips.
    let (other, watch) = cx.watched_store();
    assert!(lives(&other, &session).await);
    assert_eq!(watch.take(), ["get", "get"]);
    assert!(lives(&other, &session).await);
    assert_eq!(watch.take(), ["get_many"]);

    // A revocation by another store takes effect at once, and so does a deletion.
    let theirs = log_in(&other, "43", "theirs").await;
    cx.store().revoke_all("42").await.unwrap();
    cx.store().delete(&key(&theirs)).await.unwrap();
    watch.take();
    assert!(!lives(&other, &session).await && !lives(&other, &theirs).await);
    assert_eq!(watch.take(), ["get_many", "get_many"]);
}

async fn what_is_remembered_is_verified<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let (ada, bob) = (log_in(&store, "ada", "a").await, log_in(&store, "bob", "b").await);
    assert!(lives(&store, &ada).await && lives(&store, &bob).await);
    let of_bob = cx.stored(&record(&key(&bob))).await.unwrap();
    cx.put(&record(&key(&ada)), of_bob).await;
    let loaded = store.load(&key(&ada)).await.unwrap().unwrap();
    assert_eq!(loaded.user().as_deref(), Some("bob"));
    store.revoke_all("bob").await.unwrap();
    assert!(!lives(&store, &ada).await, "the remembered user does not count");

    // A session in which a user logs out and then logs in again.
    let mut session = log_in(&store, "carol", "c").await;
    session.clear();
    store.save(&mut session).await.unwrap();
    assert!(lives(&store, &session).await);
    store.revoke_all("carol").await.unwrap();
    assert!(lives(&store, &session).await, "no user is logged in to it");
    session.insert("_auth_user_id", "carol").unwrap();
    store.save(&mut session).await.unwrap();
    assert!(!lives(&store, &session).await);
}
