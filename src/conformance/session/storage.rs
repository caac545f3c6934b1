//! Clauses on stored keys and payloads.

use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{
    super::context::{Cx, clauses},
    SECRET,
    cases::{names_of_every_kind_are_kept_apart_and_in_order, values_of_every_kind_are_kept},
    key, record,
};
use crate::{
    DjangoSigned, Expiry, KvBackend, Login, Session, SessionError, SessionKey,
    session::{CodecError, SessionCodec, SessionData},
};

pub(super) use super::web::skey_04_a_quoted_key_is_read_and_the_first_that_can_be_one_counts;

clauses! {
    scod_02_what_django_wrote_is_read_and_kept {
        a_session_of_django_is_loaded
    }
    scod_04_a_session_of_an_old_secret_is_loaded_and_signed_with_the_new_one {
        a_session_of_an_old_secret_is_loaded_and_signed_with_the_new_one
        any_number_of_old_secrets_is_read
    }
    scod_05_values_of_others_survive_a_save {
        values_of_others_survive_a_save
        names_of_every_kind_are_kept_apart_and_in_order
        values_of_every_kind_are_kept
    }
    scod_07_a_session_past_the_limit_is_neither_saved_nor_read {
        a_session_past_the_limit_is_neither_saved_nor_read
        the_limits_are_exact
    }
    scod_08_another_codec_can_be_given {
        another_codec
        a_codec_leaves_the_other_settings
    }
    skey_01_the_stored_key_is_project_prefix_and_session_key {
        the_stored_key_is_project_prefix_and_session_key
    }
}

#[derive(serde::Deserialize)]
struct KeyVector {
    project: String,
    prefix: String,
    session_key: String,
    redis_key: String,
}

async fn the_stored_key_is_project_prefix_and_session_key<B: KvBackend>(cx: &Cx<B>) {
    let file: serde_json::Value = serde_json::from_str(include_str!("../../../tests/data/cache.json")).unwrap();
    let vectors: Vec<KeyVector> = serde_json::from_value(file["session_keys"].clone()).unwrap();
    assert_eq!(vectors.len(), 5, "the golden file is incomplete");
    for vector in vectors {
        let store = cx
            .sessions()
            .project(vector.project)
            .key_prefix(vector.prefix)
            .build()
            .unwrap();
        let key: SessionKey = vector.session_key.parse().unwrap();
        assert!(!store.exists(&key).await.unwrap());
        cx.backend
            .set_many(&[(&vector.redis_key, "x".into())], Expiry::Never)
            .await
            .unwrap();
        assert!(store.exists(&key).await.unwrap(), "{}", vector.redis_key);
    }

    let spaced = cx.sessions().project(" a b ").key_prefix(" s ").build().unwrap();
    let created = key(&spaced.create().await.unwrap());
    let stored = format!(" a b : s :{}", created.as_str());
    assert!(cx.backend.get(&stored).await.unwrap().is_some(), "spaces are kept");

    let store = cx.sessions().build().unwrap();
    let created = key(&store.create().await.unwrap());
    let stored = format!("session:{}", created.as_str());
    assert!(
        cx.backend.get(&stored).await.unwrap().is_some(),
        "the default prefix is `session`"
    );
}

/// Stores a payload of Django under a fixed key, and returns the key.
async fn plant<B: KvBackend>(cx: &Cx<B>, payload: &str) -> SessionKey {
    let key: SessionKey = "djangodjangodjangodjangodjango00".parse().unwrap();
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    cx.backend
        .set_many(&[(&record(&key), payload)], Expiry::Never)
        .await
        .unwrap();
    key
}

async fn a_session_of_django_is_loaded<B: KvBackend>(cx: &Cx<B>) {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../../tests/data/sessions.json")).unwrap();
    let store = cx.store();
    for vector in golden["sessions"].as_array().unwrap() {
        let key = plant(cx, vector["encoded"].as_str().unwrap()).await;
        let mut session = store.load(&key).await.unwrap().expect("it can be read");
        store.save(&mut session).await.unwrap();
        let payload = cx.backend.get(&record(&key)).await.unwrap().unwrap();
        let data = DjangoSigned::new(SECRET).decode(&payload).unwrap();
        assert_eq!(data.to_json(), vector["data_json"].as_str().unwrap());
    }
}

async fn a_session_of_an_old_secret_is_loaded_and_signed_with_the_new_one<B: KvBackend>(cx: &Cx<B>) {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../../../tests/data/sessions.json")).unwrap();
    let fallback = &golden["fallback"][0];
    let key = plant(cx, fallback["encoded"].as_str().unwrap()).await;
    let only_new = cx.store();
    assert!(only_new.load(&key).await.unwrap().is_none());

    let codec = DjangoSigned::new(SECRET).with_fallbacks([fallback["fallback_key"].as_str().unwrap()]);
    let both = cx.sessions().project("shop").codec(codec).build().unwrap();
    let mut session = both.load(&key).await.unwrap().unwrap();
    assert_eq!(session.get::<u64>("uid").unwrap(), Some(9));
    both.save(&mut session).await.unwrap();
    assert!(only_new.load(&key).await.unwrap().is_some());
}

async fn any_number_of_old_secrets_is_read<B: KvBackend>(cx: &Cx<B>) {
    let secrets = ["first", "second", "third", "fourth"];
    let of = |codec| cx.sessions().project("shop").codec(codec).build().unwrap();
    for salt in [
        "django.contrib.sessions.SessionStore",
        "django.contrib.sessions.Another",
    ] {
        let new = of(DjangoSigned::new(SECRET).with_salt(salt));
        let all = of(DjangoSigned::new(SECRET).with_fallbacks(secrets).with_salt(salt));
        for secret in secrets {
            let old = of(DjangoSigned::new(secret).with_salt(salt));
            let session = key(&old.create().await.unwrap());
            assert!(new.load(&session).await.unwrap().is_none(), "{secret}");
            all.update(&session, |session| session.insert("a", 1)).await.unwrap();
            assert!(new.load(&session).await.unwrap().is_some(), "{secret}");
            assert!(old.load(&session).await.unwrap().is_none(), "{secret}");
        }
    }
    // The same secret with another salt is another secret.
    let salted = of(DjangoSigned::new(SECRET).with_salt("django.contrib.sessions.Another"));
    let session = key(&salted.create().await.unwrap());
    assert!(salted.load(&session).await.unwrap().is_some());
    assert!(cx.store().load(&session).await.unwrap().is_none());
}

async fn values_of_others_survive_a_save<B: KvBackend>(cx: &Cx<B>) {
    let json = r#"{"z":1180591620717411303424,"\ud800":NaN,"f":[1e+16,1E5,-0.0],"a":"\udfffx"}"#;
    let payload = DjangoSigned::new(SECRET).encode(&SessionData::from_json(json).unwrap(), SystemTime::UNIX_EPOCH);
    let key = plant(cx, std::str::from_utf8(&payload.unwrap()).unwrap()).await;
    let store = cx.store();
    let mut session = store.load(&key).await.unwrap().unwrap();
    assert_eq!(
        session.get::<Box<RawValue>>("a").unwrap().unwrap().get(),
        r#""\udfffx""#
    );
    session.insert("new", true).unwrap();
    assert_eq!(session.keys().collect::<Vec<_>>(), ["z", "f", "a", "new"]);
    store.save(&mut session).await.unwrap();

    let payload = cx.backend.get(&record(&key)).await.unwrap().unwrap();
    let written = DjangoSigned::new(SECRET).decode(&payload).unwrap().to_json();
    assert_eq!(written, json.replace('}', r#","new":true}"#));
}

/// A codec of bare JSON.
struct Plain;

impl SessionCodec for Plain {
    fn encode(&self, data: &SessionData, _now: SystemTime) -> Result<Bytes, CodecError> {
        Ok(data.to_json().into())
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        let text = std::str::from_utf8(payload).map_err(|_| CodecError::Malformed("not UTF-8"))?;
        SessionData::from_json(text)
    }
}

async fn another_codec<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.sessions().project("shop").codec(Plain).build().unwrap();
    let mut session = store.create().await.unwrap();
    session.insert("a", "é").unwrap();
    store.save(&mut session).await.unwrap();
    let stored = cx.backend.get(&record(&key(&session))).await.unwrap();
    assert_eq!(stored.as_deref(), Some(br#"{"a":"\u00e9"}"#.as_slice()));
    let loaded = store.load(&key(&session)).await.unwrap().unwrap();
    assert_eq!(loaded.get::<String>("a").unwrap().as_deref(), Some("é"));
}

async fn a_codec_leaves_the_other_settings<B: KvBackend>(cx: &Cx<B>) {
    let minute = Duration::from_secs(60);
    let builder = cx.face.sessions(cx.backend.clone()).project("shop").key_prefix("admin");
    let builder = builder.cookie_age(minute).browser_session(true).clock(cx.time_of_day());
    let builder = builder
        .sessions_per_user(NonZeroUsize::MIN)
        .time_zone("America/Los_Angeles");
    let store = builder.codec(Plain).build().unwrap();
    let mut first = store.new_session();
    store.login(&mut first, &Login::new("42")).await.unwrap();
    assert!(first.expires_at_browser_close());
    cx.assert_ttl(&format!("shop:admin:{}", key(&first).as_str()), minute)
        .await;
    let mut second = store.new_session();
    store.login(&mut second, &Login::new("42")).await.unwrap();
    assert!(!store.exists(&key(&first)).await.unwrap(), "the limit is one session");
    second.set_expiry(SystemTime::UNIX_EPOCH).unwrap();
    let date = second.get::<String>("_session_expiry").unwrap();
    assert_eq!(date.as_deref(), Some("1969-12-31T16:00:00"));
}

async fn a_session_past_the_limit_is_neither_saved_nor_read<B: KvBackend>(cx: &Cx<B>) {
    let watched = cx.watched();
    let watch = watched.interceptor().clone();
    let codec = DjangoSigned::new(SECRET).with_max_size(100);
    let store = cx.face.sessions(watched).project("shop").codec(codec).build();
    let store = store.unwrap();
    let mut session = store.create().await.unwrap();
    session.insert("a", "a".repeat(100)).unwrap();
    watch.take();
    let too_large = |result| matches!(result, Err(SessionError::TooLarge { limit: 100 }));
    assert!(too_large(store.save(&mut session).await));
    assert!(too_large(store.cycle_key(&mut session).await));
    assert_eq!(watch.take(), [""; 0]);
    assert!(store.load(&key(&session)).await.unwrap().unwrap().is_empty());

    // A session that a store without the limit wrote is unreadable here.
    let mut wide = cx.store().new_session();
    wide.insert("a", "a".repeat(100)).unwrap();
    cx.store().save(&mut wide).await.unwrap();
    assert!(store.load(&key(&wide)).await.unwrap().is_none());
}

async fn the_limits_are_exact<B: KvBackend>(cx: &Cx<B>) {
    /// Returns a session whose JSON text has this many bytes.
    fn of_length(session: &mut Session, length: usize) {
        session.insert("a", "a".repeat(length - r#"{"a":""}"#.len())).unwrap();
    }
    let limited = DjangoSigned::new(SECRET).with_max_size(100);
    let limited = cx.sessions().project("shop").codec(limited).build().unwrap();
    for (store, limit) in [(limited, 100), (cx.store(), 1 << 20)] {
        let mut session = store.new_session();
        of_length(&mut session, limit);
        store.save(&mut session).await.unwrap();
        let mut loaded = store
            .load(&key(&session))
            .await
            .unwrap()
            .expect("it is within the limit");
        assert_eq!(loaded.get::<String>("a").unwrap(), session.get::<String>("a").unwrap());
        of_length(&mut loaded, limit + 1);
        let refused = store.save(&mut loaded).await;
        assert!(
            matches!(&refused, Err(SessionError::TooLarge { limit: told }) if *told == limit),
            "{refused:?}"
        );
    }
}
