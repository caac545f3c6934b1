//! Tests of the rotation of secrets, codecs and encryption keys while old and new processes share
//! the sessions.

use codex_kv::{
    DjangoSigned, KvBackend, Login, SessionCodec, SessionError, SessionKey, SessionStore, SetOptions,
    crypto::KeyRing,
    memory::MemoryBackend,
    session::{CodecError, Encrypted, MigratingCodec, PlainJson},
};

use crate::support::key;

/// A process of a deployment.
struct Process(SessionStore<MemoryBackend, Box<dyn SessionCodec>>);

impl Process {
    fn new(backend: &MemoryBackend, codec: impl SessionCodec) -> Self {
        let built = SessionStore::builder(backend.clone())
            .codec(Box::new(codec) as Box<dyn SessionCodec>)
            .fail_on_unreadable(true)
            .build();
        Self(built.unwrap())
    }

    async fn log_in(&self) -> SessionKey {
        let mut session = self.0.new_session();
        self.0.login(&mut session, &Login::new("42")).await.unwrap();
        key(&session)
    }

    /// Makes a request that changes the session.
    async fn visit(&self, key: &SessionKey) {
        let mut session = self.0.load(key).await.unwrap().expect("the user is logged in");
        assert_eq!(session.user().as_deref(), Some("42"));
        session.insert("seen", 1).unwrap();
        self.0.save_merged(&mut session).await.unwrap();
    }
}

/// Asserts that users stay logged in while they move between processes of both versions in each
/// step.
async fn nobody_is_logged_out(steps: &[Process]) {
    let mut users = Vec::new();
    for versions in steps.windows(2) {
        for process in versions {
            users.push(process.log_in().await);
        }
        for user in &users {
            for process in [0, 1, 0, 1] {
                versions[process].visit(user).await;
            }
        }
    }
}

#[tokio::test]
async fn a_secret_is_replaced() {
    let backend = MemoryBackend::new();
    let process = |secret: &str, others: &[&str]| {
        let codec = DjangoSigned::new(secret).with_fallbacks(others.iter().copied());
        Process::new(&backend, codec)
    };
    nobody_is_logged_out(&[process("old", &[]), process("old", &["new"]), process("new", &["old"])]).await;
}

#[tokio::test]
async fn sessions_are_encrypted_from_now_on() {
    let backend = MemoryBackend::new();
    let signed = || DjangoSigned::new("secret");
    let encrypted = || Encrypted::new(PlainJson::new(), KeyRing::new(1, [7; 32]));
    nobody_is_logged_out(&[
        Process::new(&backend, signed()),
        Process::new(&backend, MigratingCodec::new(signed(), encrypted())),
        Process::new(&backend, MigratingCodec::new(encrypted(), signed())),
    ])
    .await;
}

#[tokio::test]
async fn an_encryption_key_is_replaced() {
    let backend = MemoryBackend::new();
    let process = |keys: KeyRing| Process::new(&backend, Encrypted::new(DjangoSigned::new("secret"), keys));
    nobody_is_logged_out(&[
        process(KeyRing::new(1, [1; 32])),
        process(KeyRing::new(1, [1; 32]).with_old(2, [2; 32])),
        process(KeyRing::new(2, [2; 32]).with_old(1, [1; 32])),
    ])
    .await;
}

#[tokio::test]
async fn a_process_that_cannot_read_a_session_logs_nobody_out() {
    let backend = MemoryBackend::new();
    let (old, new) = (
        Process::new(&backend, DjangoSigned::new("old")),
        Process::new(&backend, DjangoSigned::new("new")),
    );
    let key = old.log_in().await;
    let refused = |error| matches!(error, SessionError::Codec(CodecError::BadSignature));
    assert!(refused(new.0.load(&key).await.unwrap_err()));
    assert!(refused(new.0.update(&key, |_| Ok(())).await.unwrap_err()));
    old.visit(&key).await;

    // By default an unreadable session is missing, and its record does not change.
    let lenient = SessionStore::builder(backend)
        .codec(DjangoSigned::new("new"))
        .build()
        .unwrap();
    assert!(lenient.load(&key).await.unwrap().is_none());
    old.visit(&key).await;
}

#[tokio::test]
async fn an_encrypted_session_shows_nothing_and_belongs_to_its_record() {
    let backend = MemoryBackend::new();
    let built = SessionStore::builder(backend.clone())
        .codec(Encrypted::new(PlainJson::new(), KeyRing::new(1, [7; 32])))
        .build();
    let store = built.unwrap();
    let mut session = store.new_session();
    session.insert("secret", "hunter2").unwrap();
    store.save(&mut session).await.unwrap();
    let record = |key: &SessionKey| format!("session:{}", key.as_str());
    let stored = backend.get(&record(&key(&session))).await.unwrap().unwrap();
    assert!(!stored.windows(7).any(|part| part == b"hunter2") && !stored.windows(6).any(|part| part == b"secret"));

    let other = store.create().await.unwrap();
    let copied = backend.set(&record(&key(&other)), stored, SetOptions::new()).await;
    assert!(copied.unwrap().is_written());
    assert!(
        store.load(&key(&other)).await.unwrap().is_none(),
        "it was moved to another record"
    );
    let loaded = store.load(&key(&session)).await.unwrap().unwrap();
    assert_eq!(loaded.get::<String>("secret").unwrap().as_deref(), Some("hunter2"));

    store.cycle_key(&mut session).await.unwrap();
    let loaded = store.load(&key(&session)).await.unwrap().unwrap();
    assert_eq!(loaded.get::<String>("secret").unwrap().as_deref(), Some("hunter2"));
}

#[tokio::test]
async fn a_plain_session_past_the_limit_is_neither_written_nor_read() {
    let codec = |limit| PlainJson::new().with_max_size(limit);
    let json = r#"{"a":"aaaa"}"#;
    let data = codex_kv::session::SessionData::from_json(json).unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH;
    assert_eq!(codec(json.len()).encode(&data, now).unwrap(), json);
    assert_eq!(codec(json.len()).decode(json.as_bytes()).unwrap(), data);
    let limit = json.len() - 1;
    assert_eq!(codec(limit).encode(&data, now), Err(CodecError::TooLarge { limit }));
    assert_eq!(
        codec(limit).decode(json.as_bytes()),
        Err(CodecError::TooLarge { limit })
    );
}
