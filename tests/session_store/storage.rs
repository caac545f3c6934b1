//! Keys and payloads as they are stored.

use std::time::SystemTime;

use bytes::Bytes;
use codex_kv::{
    DjangoSigned, Expiry, KvBackend as _, SessionKey, SessionStore,
    session::{CodecError, InvalidSessionKey, SessionCodec, SessionData},
};
use serde_json::value::RawValue;

use crate::world::{SECRET, World, key, on_every_backend, record};

on_every_backend! {
    skey_01_the_stored_key_is_project_prefix_and_session_key,
    scod_02_a_session_of_django_is_loaded,
    scod_04_a_session_of_an_old_secret_is_loaded_and_signed_with_the_new_one,
    scod_05_values_of_others_survive_a_save,
    scod_08_another_codec,
}

#[derive(serde::Deserialize)]
struct KeyVector {
    project: String,
    prefix: String,
    session_key: String,
    redis_key: String,
}

async fn skey_01_the_stored_key_is_project_prefix_and_session_key(world: World) {
    let file: serde_json::Value = serde_json::from_str(include_str!("../data/cache.json")).unwrap();
    let vectors: Vec<KeyVector> = serde_json::from_value(file["session_keys"].clone()).unwrap();
    assert_eq!(vectors.len(), 5, "the golden file was cut");
    for vector in vectors {
        let store = world
            .builder()
            .project(vector.project)
            .key_prefix(vector.prefix)
            .build()
            .unwrap();
        let key: SessionKey = vector.session_key.parse().unwrap();
        assert!(!store.exists(&key).await.unwrap());
        world
            .backend
            .set_many(&[(&vector.redis_key, "x".into())], Expiry::Never)
            .await
            .unwrap();
        assert!(store.exists(&key).await.unwrap(), "{}", vector.redis_key);
    }

    let store = world.builder().build().unwrap();
    let created = key(&store.create().await.unwrap());
    let stored = format!("session:{}", created.as_str());
    assert!(
        world.backend.get(&stored).await.unwrap().is_some(),
        "the prefix is `session` unless set"
    );
}

#[test]
fn skey_03_only_what_could_be_a_key_is_parsed() {
    for good in ["a".repeat(8), "Z".repeat(128), "0123-_aZ".to_owned(), "a".repeat(32)] {
        assert_eq!(good.parse::<SessionKey>().unwrap().as_str(), good);
        assert!(SessionKey::try_from(good.as_str()).is_ok());
    }
    let hostile = [
        "",
        "a",
        "1234567",
        "shop:session:aaaaaaaa",
        "aaaaaaaa*",
        "[a-z]aaaaaaaa",
        "aaaa aaaa",
        "aaaaaaaa\n",
        "aaaaaaaa\0",
        "\r\nDEL aaaaaaaa",
        "../../etc/passwd",
        "ааааааааа",
        "aaaaaaaa'; --",
        "\u{feff}aaaaaaaa",
    ];
    for bad in hostile
        .into_iter()
        .map(str::to_owned)
        .chain(["a".repeat(129), "a".repeat(1 << 20)])
    {
        assert_eq!(bad.parse::<SessionKey>(), Err(InvalidSessionKey), "{bad:.20}");
    }
    let debug = format!("{:?}", "0123456789".parse::<SessionKey>().unwrap());
    assert_eq!(debug, "SessionKey(..)");
}

/// A payload that Django wrote, under a key of ours.
async fn plant(world: &World, payload: &str) -> SessionKey {
    let key: SessionKey = "djangodjangodjangodjangodjango00".parse().unwrap();
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    world
        .backend
        .set_many(&[(&record(&key), payload)], Expiry::Never)
        .await
        .unwrap();
    key
}

async fn scod_02_a_session_of_django_is_loaded(world: World) {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../data/sessions.json")).unwrap();
    let store = world.store();
    for vector in golden["sessions"].as_array().unwrap() {
        let key = plant(&world, vector["encoded"].as_str().unwrap()).await;
        let mut session = store.load(&key).await.unwrap().expect("it can be read");
        store.save(&mut session).await.unwrap();
        let payload = world.backend.get(&record(&key)).await.unwrap().unwrap();
        let data = DjangoSigned::new(SECRET).decode(&payload).unwrap();
        assert_eq!(data.to_json(), vector["data_json"].as_str().unwrap());
    }
}

async fn scod_04_a_session_of_an_old_secret_is_loaded_and_signed_with_the_new_one(world: World) {
    let golden: serde_json::Value = serde_json::from_str(include_str!("../data/sessions.json")).unwrap();
    let fallback = &golden["fallback"][0];
    let key = plant(&world, fallback["encoded"].as_str().unwrap()).await;
    let only_new = world.store();
    assert!(only_new.load(&key).await.unwrap().is_none());

    let codec = DjangoSigned::new(SECRET).with_fallbacks([fallback["fallback_key"].as_str().unwrap()]);
    let both = world.builder().project("shop").codec(codec).build().unwrap();
    let mut session = both.load(&key).await.unwrap().unwrap();
    assert_eq!(session.get::<u64>("uid").unwrap(), Some(9));
    both.save(&mut session).await.unwrap();
    assert!(only_new.load(&key).await.unwrap().is_some());
}

async fn scod_05_values_of_others_survive_a_save(world: World) {
    let json = r#"{"z":1180591620717411303424,"\ud800":NaN,"f":[1e+16,1E5,-0.0],"a":"\udfffx"}"#;
    let payload = DjangoSigned::new(SECRET).encode(&SessionData::from_json(json).unwrap(), SystemTime::UNIX_EPOCH);
    let key = plant(&world, std::str::from_utf8(&payload.unwrap()).unwrap()).await;
    let store = world.store();
    let mut session = store.load(&key).await.unwrap().unwrap();
    assert_eq!(
        session.get::<Box<RawValue>>("a").unwrap().unwrap().get(),
        r#""\udfffx""#
    );
    session.insert("new", true).unwrap();
    assert_eq!(session.keys().collect::<Vec<_>>(), ["z", "f", "a", "new"]);
    store.save(&mut session).await.unwrap();

    let payload = world.backend.get(&record(&key)).await.unwrap().unwrap();
    let written = DjangoSigned::new(SECRET).decode(&payload).unwrap().to_json();
    assert_eq!(written, json.replace('}', r#","new":true}"#));
}

/// JSON, and nothing around it.
struct Plain;

impl SessionCodec for Plain {
    fn encode(&self, data: &SessionData, _now: SystemTime) -> Result<Bytes, CodecError> {
        Ok(data.to_json().into())
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        let text = std::str::from_utf8(payload).map_err(|_| CodecError::Malformed("no UTF-8"))?;
        SessionData::from_json(text)
    }
}

async fn scod_08_another_codec(world: World) {
    let store = world.builder().project("shop").codec(Plain).build().unwrap();
    let mut session = store.create().await.unwrap();
    session.insert("a", "é").unwrap();
    store.save(&mut session).await.unwrap();
    let stored = world.backend.get(&record(&key(&session))).await.unwrap();
    assert_eq!(stored.as_deref(), Some(br#"{"a":"\u00e9"}"#.as_slice()));
    let loaded = store.load(&key(&session)).await.unwrap().unwrap();
    assert_eq!(loaded.get::<String>("a").unwrap().as_deref(), Some("é"));
}

#[test]
fn scod_04_an_empty_secret_builds_no_store() {
    let world = World::memory();
    let error = SessionStore::builder(world.backend)
        .codec(DjangoSigned::new(""))
        .build()
        .unwrap_err();
    assert_eq!(error.to_string(), "a secret key must not be empty");
}
