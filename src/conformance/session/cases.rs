//! Clauses on classes of payloads, keys and times to live, through the verbs of a session store.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_testkit::cases::values::{LENGTHS, letters, near};

use super::{
    super::{context::Cx, face},
    key, record,
};
use crate::{
    CodecError, KvBackend, Session, SessionError, SessionKey, SessionStore,
    session::{SessionCodec, SessionData},
};

/// A codec of bare JSON, in which a difference in the data is a difference at the same place in the
/// payload.
struct Plain;

impl SessionCodec for Plain {
    fn encode(&self, data: &SessionData, _: SystemTime) -> Result<Bytes, CodecError> {
        Ok(data.to_json().into())
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        SessionData::from_json(&String::from_utf8_lossy(payload))
    }
}

fn text(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    // Other characters may be escaped, and then differ in more than one place.
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric())
        .then(|| text.to_owned())
}

async fn stored_with<B: KvBackend, C: SessionCodec>(store: &SessionStore<B, C>, value: &str) -> Session {
    let mut session = store.new_session();
    session.insert("a", value).unwrap();
    store.save(&mut session).await.unwrap();
    store.load(&key(&session)).await.unwrap().expect("it was saved")
}

/// Asserts that no verb that compares payloads confuses two nearly equal ones.
pub(super) async fn a_nearly_equal_payload_is_a_change<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.sessions().project("shop").codec(Plain).build().unwrap();
    for length in [1, 65, 1025, 4096, 100_000] {
        let held = text(&letters(length, 0)).unwrap();
        for near in near(&letters(length, 0)) {
            let Some(theirs) = text(&near.value) else { continue };
            let mut mine = stored_with(&store, &held).await;
            let session = key(&mine);
            store
                .update(&session, |session| session.insert("a", &theirs))
                .await
                .unwrap();
            let written = cx.stored(&record(&session)).await;
            let is_kept = async |what: &str| {
                let kept = cx.stored(&record(&session)).await == written;
                assert!(kept, "{what} overwrote or deleted a change where {}", near.how);
            };
            mine.insert("mine", 1).unwrap();
            let saved = store.save(&mut mine).await;
            assert!(
                matches!(saved, Err(SessionError::Conflict)),
                "save where {}: {saved:?}",
                near.how
            );
            is_kept("save").await;
            let cycled = store.cycle_key(&mut mine).await;
            assert!(
                matches!(cycled, Err(SessionError::Conflict)),
                "cycle_key where {}: {cycled:?}",
                near.how
            );
            is_kept("cycle_key").await;
            mine.set_expiry(cx.now() - Duration::from_secs(1)).unwrap();
            let ended = store.save(&mut mine).await;
            assert!(
                matches!(ended, Err(SessionError::Conflict)),
                "save of an end where {}: {ended:?}",
                near.how
            );
            is_kept("save of an end").await;
            assert!(store.delete(&session).await.unwrap());
        }
    }
}

/// Saves, changes, moves, renews and deletes sessions of realistic sizes.
pub(super) async fn payloads_of_every_size_are_kept<B: KvBackend>(cx: &Cx<B>) {
    const FIVE_MINUTES: Duration = Duration::from_secs(300);
    let plain = cx.sessions().project("shop").codec(Plain).build().unwrap();
    for length in LENGTHS.into_iter().filter(|length| *length < 1 << 20) {
        let value = text(&letters(length, 0)).unwrap();
        let mut session = stored_with(&plain, &value).await;
        assert!(
            session.get::<String>("a").unwrap().as_ref() == Some(&value),
            "a session of {length} letters"
        );
        session.insert("n", 1).unwrap();
        session.set_expiry(FIVE_MINUTES).unwrap();
        plain.save(&mut session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), FIVE_MINUTES).await;
        let other = text(&letters(length, 1)).unwrap();
        plain
            .update(&key(&session), |session| session.insert("a", &other))
            .await
            .unwrap();
        cx.assert_ttl(&record(&key(&session)), FIVE_MINUTES).await;
        let mut session = plain.load(&key(&session)).await.unwrap().expect("it was updated");
        assert!(
            session.get::<String>("a").unwrap().as_ref() == Some(&other),
            "an update to {length} letters"
        );
        let old = key(&session);
        plain.cycle_key(&mut session).await.unwrap();
        assert!(!plain.exists(&old).await.unwrap(), "the old record of {length} letters");
        let cycled = plain.load(&key(&session)).await.unwrap().expect("it was moved");
        assert!(
            cycled.get::<String>("a").unwrap().as_ref() == Some(&other),
            "a moved session of {length} letters"
        );
        cx.assert_ttl(&record(&key(&session)), FIVE_MINUTES).await;
        plain.touch(&session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), FIVE_MINUTES).await;
        plain.flush(&mut session).await.unwrap();
        assert!(
            !plain.exists(&key(&cycled)).await.unwrap(),
            "a flushed session of {length} letters"
        );
    }
    // The same with signed and compressed payloads. Texts that differ at the end share a prefix
    // there.
    let signed = cx.store();
    for length in [100, 10_000, 300_000] {
        let value = text(&letters(length, 0)).unwrap();
        let mut mine = stored_with(&signed, &value).await;
        let changed = format!("{}!", &value[..length - 1]);
        signed
            .update(&key(&mine), |session| session.insert("a", &changed))
            .await
            .unwrap();
        mine.insert("mine", 1).unwrap();
        assert!(
            matches!(signed.save(&mut mine).await, Err(SessionError::Conflict)),
            "{length} letters"
        );
        let loaded = signed.load(&key(&mine)).await.unwrap().expect("it is there");
        assert!(
            loaded.get::<String>("a").unwrap().as_ref() == Some(&changed),
            "{length} letters"
        );
    }
}

/// Asserts that keys that differ in one place are different sessions.
pub(super) async fn nearly_equal_keys_are_different_sessions<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let payload = cx
        .stored(&record(&key(&stored_with(&store, "planted").await)))
        .await
        .unwrap();
    let long = "k".repeat(127);
    let keys: Vec<SessionKey> = [
        "abcdefgh",
        "Abcdefgh",
        "abcdefgH",
        "ABCDEFGH",
        "abcdefghi",
        "abcdefg-",
        "abcdefg_",
        "-abcdefgh",
        "00000001",
        "0000000001",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["a", "b", "A"].map(|last| format!("{long}{last}")))
    .chain(["a", "b"].map(|first| format!("{first}{long}")))
    .chain([long.clone(), "k".repeat(63), "k".repeat(64), "k".repeat(65)])
    .map(|key| key.parse().unwrap())
    .collect();
    for session in &keys {
        assert!(
            !store.exists(session).await.unwrap(),
            "{} before it was stored",
            session.as_str()
        );
        cx.put(&record(session), payload.clone()).await;
    }
    for (at, session) in keys.iter().enumerate() {
        let number = u64::try_from(at).unwrap();
        store
            .update(session, |session| session.insert("n", number))
            .await
            .unwrap();
    }
    for (at, session) in keys.iter().enumerate() {
        let loaded = store.load(session).await.unwrap().expect("it was stored");
        assert_eq!(loaded.get::<usize>("n").unwrap(), Some(at), "{}", session.as_str());
    }
    for session in keys.iter().step_by(2) {
        assert!(store.delete(session).await.unwrap(), "{}", session.as_str());
    }
    for (at, session) in keys.iter().enumerate() {
        assert_eq!(
            store.exists(session).await.unwrap(),
            at % 2 == 1,
            "{}",
            session.as_str()
        );
    }
}

/// Asserts that every verb that stores a session sets its expiry age as the time to live, at every
/// magnitude.
pub(super) async fn ages_of_every_width_are_kept<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let long = text(&letters(5000, 0)).unwrap();
    for seconds in [
        61,
        299,
        3_599,
        3_601,
        65_537,
        86_401,
        1_209_599,
        2_147_484,
        2_592_001,
        4_294_969,
        31_536_001,
        2_147_483_649_u64,
    ] {
        let age = Duration::from_secs(seconds);
        let mut session = store.new_session();
        session.insert("a", &long).unwrap();
        session.set_expiry(age).unwrap();
        store.save(&mut session).await.unwrap();
        cx.assert_ttl(&record(&key(&session)), age).await;
        session.insert("b", 1).unwrap();
        every_verb_stores_for(cx, &store, &mut session, age).await;
    }
}

/// Saves, touches and renames a session, and asserts its time to live after each.
pub(super) async fn every_verb_stores_for<B: KvBackend>(
    cx: &Cx<B>,
    store: &face::SessionStore<Arc<B>>,
    session: &mut Session,
    age: Duration,
) {
    store.save(session).await.unwrap();
    cx.assert_ttl(&record(&key(session)), age).await;
    store.touch(session).await.unwrap();
    cx.assert_ttl(&record(&key(session)), age).await;
    store.cycle_key(session).await.unwrap();
    cx.assert_ttl(&record(&key(session)), age).await;
}

/// Names that a store must not confuse.
const NAMES: [&str; 28] = [
    "",
    " ",
    "a",
    "A",
    " a",
    "a ",
    "a\n",
    "a\t",
    "aa",
    "\0",
    "a\0",
    "a\0b",
    "\u{1}",
    "\u{7f}",
    "\"",
    "\\",
    "a.b",
    "_a",
    "null",
    "0",
    "00",
    "\u{e9}",
    "e\u{301}",
    "\u{df}",
    "ss",
    "\u{2028}",
    "\u{feff}a",
    "\u{1f980}",
];

/// Saves, changes and removes values under names that differ little.
pub(super) async fn names_of_every_kind_are_kept_apart_and_in_order<B: KvBackend>(cx: &Cx<B>) {
    let store = cx.store();
    let long = ["n".repeat(300), format!("{}m", "n".repeat(299))];
    let mut names: Vec<&str> = NAMES.into_iter().chain(long.iter().map(String::as_str)).collect();
    let mut session = store.new_session();
    for (number, name) in names.iter().enumerate() {
        session.insert(name, number).unwrap();
    }
    store.save(&mut session).await.unwrap();
    store.cycle_key(&mut session).await.unwrap();
    let mut loaded = store.load(&key(&session)).await.unwrap().expect("it was stored");
    assert_eq!(loaded.keys().collect::<Vec<_>>(), names);
    for (number, name) in names.iter().enumerate() {
        assert!(loaded.contains_key(name), "{name:?}");
        assert_eq!(loaded.get::<usize>(name).unwrap(), Some(number), "{name:?}");
    }

    // A new value keeps the place of its name, and a removed name leaves the others in place.
    loaded.insert("a", "changed").unwrap();
    for removed in ["", "a\0", "e\u{301}"] {
        assert!(loaded.remove(removed), "{removed:?}");
        names.retain(|name| *name != removed);
    }
    store.save(&mut loaded).await.unwrap();
    let loaded = store.load(&key(&session)).await.unwrap().expect("it was stored");
    assert_eq!(loaded.keys().collect::<Vec<_>>(), names);
    assert_eq!(loaded.get::<String>("a").unwrap().as_deref(), Some("changed"));
    assert_eq!(loaded.get::<usize>("A").unwrap(), Some(3));
}

pub(super) async fn values_of_every_kind_are_kept<B: KvBackend>(cx: &Cx<B>) {
    use serde_json::{Value, json};

    let store = cx.store();
    let mut values: Vec<Value> = NAMES.into_iter().map(Value::from).collect();
    values.extend([
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(0.1),
        json!(1e300),
        json!(-5e-324),
        json!(1.0),
        json!([]),
        json!({}),
        json!([null, [], {}, "", 0]),
        json!({"": {"\u{1f980}": [{"a": "\0"}]}}),
        json!("\u{1f980}".repeat(1_000)),
        json!((1..=0xff_u8).map(char::from).collect::<String>()),
    ]);
    let mut session = store.new_session();
    for (number, value) in values.iter().enumerate() {
        session.insert(&number.to_string(), value).unwrap();
    }
    store.save(&mut session).await.unwrap();
    for round in 0..2 {
        let mut loaded = store.load(&key(&session)).await.unwrap().expect("it was stored");
        for (number, value) in values.iter().enumerate() {
            let name = number.to_string();
            assert!(loaded.contains_key(&name), "{value}");
            assert_eq!(
                loaded.get::<Value>(&name).unwrap().as_ref(),
                Some(value),
                "round {round}"
            );
        }
        loaded.insert("round", round).unwrap();
        store.save(&mut loaded).await.unwrap();
    }
}
