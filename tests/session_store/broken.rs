//! Tests on a backend that counts, refuses or fails on demand.

use std::{
    any::Any,
    fmt::{self, Write as _},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use codex_kv::{
    Condition, DjangoSigned, ErrorKind, Login, Result, SessionError, SessionKey, SessionStore, SetOutcome,
    memory::MemoryBackend,
    testkit::doubles::{Fault, FaultyBackend, Intercepted, Interceptor, Loss, RecordingBackend, Reply, Request, Verb},
};
use tracing::{Subscriber, field::Field, span};

use crate::support::{self, SECRET, key};

type Broken = RecordingBackend<Intercepted<FaultyBackend<MemoryBackend>, Refusals>>;

/// Returns a working backend and a session store on it. Clones share their state.
fn broken() -> (Broken, SessionStore<Broken>) {
    let faulty = FaultyBackend::new(MemoryBackend::new());
    let backend = RecordingBackend::new(Intercepted::with_interceptor(faulty, Refusals::default()));
    (backend.clone(), support::store(backend))
}

/// Fails every call after this many more calls.
fn fail_after(backend: &Broken, calls: u64) {
    let fault = Fault::request_lost(Loss::Connection).after(calls);
    backend.inner().inner().inject(fault);
}

fn heal(backend: &Broken) {
    backend.inner().inner().heal();
}

/// Returns the verbs since the last call of this function.
fn take_verbs(backend: &Broken) -> Vec<&'static str> {
    let calls = backend.calls();
    backend.clear();
    calls.iter().map(|call| call.verb.name()).collect()
}

/// An interceptor that answers writes as refused.
#[derive(Debug, Clone, Default)]
struct Refusals {
    /// The number of new keys that are reported as taken.
    taken: Arc<AtomicUsize>,
    /// Whether another client always writes first.
    contended: Arc<AtomicBool>,
}

impl Refusals {
    fn refuses(&self, condition: &Condition) -> bool {
        match condition {
            Condition::IfAbsent => {
                let one_less = |taken: usize| taken.checked_sub(1);
                self.taken
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                    .is_ok()
            }
            Condition::IfEquals(_) => self.contended.load(Ordering::SeqCst),
            _ => false,
        }
    }
}

impl Interceptor for Refusals {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if let Request::Set { options, .. } = &request
            && self.refuses(&options.condition)
            && let Some(refused) = as_reply(SetOutcome::Refused)
        {
            return Ok(refused);
        }
        call.await
    }
}

/// Returns the reply of a verb if it has replies of this type.
fn as_reply<T: Reply>(answer: impl Reply) -> Option<T> {
    let answer: Box<dyn Any> = Box::new(answer);
    answer.downcast().ok().map(|answer| *answer)
}

#[tokio::test]
async fn skey_03_a_hostile_cookie_never_reaches_the_backend() {
    let (backend, store) = broken();
    for cookie in [
        "",
        "short",
        "*",
        "shop:session:*",
        "aaaaaaaa\r\nFLUSHALL",
        &"a".repeat(129),
    ] {
        // The verbs take a key rather than text, so parsing is the only way to the store.
        if let Ok(key) = cookie.parse::<SessionKey>() {
            store.load(&key).await.unwrap();
        }
    }
    assert_eq!(take_verbs(&backend), [""; 0]);
}

#[tokio::test]
async fn sverb_01_a_full_key_space_ends_in_an_error() {
    let (backend, store) = broken();
    backend.inner().interceptor().taken.store(usize::MAX, Ordering::SeqCst);
    assert!(matches!(store.create().await, Err(SessionError::KeyTaken)));
    assert_eq!(take_verbs(&backend), ["set"; 8]);
    let mut session = store.new_session();
    assert!(matches!(store.save(&mut session).await, Err(SessionError::KeyTaken)));
    assert!(session.key().is_none());
}

#[tokio::test]
async fn sverb_01_a_collision_is_tried_again_with_another_key() {
    let (backend, store) = broken();
    backend.inner().interceptor().taken.store(1, Ordering::SeqCst);
    let session = store.create().await.unwrap();
    let calls = backend.calls();
    let sets = calls.iter().filter(|call| call.verb == Verb::Set);
    let tried: Vec<&String> = sets.flat_map(|call| &call.keys).collect();
    assert_eq!(tried.len(), 2);
    assert_ne!(tried[0], tried[1]);
    assert_eq!(*tried[1], format!("session:{}", key(&session).as_str()));
}

#[tokio::test]
async fn sverb_04_update_gives_up_where_it_never_wins() {
    let (backend, store) = broken();
    let session = key(&store.create().await.unwrap());
    backend.inner().interceptor().contended.store(true, Ordering::SeqCst);
    let mut runs = 0;
    let never = store.update(&session, |session| {
        runs += 1;
        session.insert("a", 1)
    });
    assert!(matches!(never.await, Err(SessionError::Conflict)));
    assert_eq!(runs, 1_000, "more than 8 tasks of 100 updates can lose to each other");
}

#[tokio::test]
async fn sverb_06_an_outage_is_an_error_from_every_verb() {
    let (backend, store) = broken();
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    store.save(&mut session).await.unwrap();
    let (key, calls) = (key(&session), take_verbs(&backend).len());
    assert_eq!(calls, 2);

    fail_after(&backend, 0);
    let down = |result: std::result::Result<(), SessionError>| match result {
        Err(SessionError::Backend(error)) => assert_eq!(error.kind(), ErrorKind::Connection),
        other => panic!("{other:?}"),
    };
    down(store.create().await.map(drop));
    down(store.load(&key).await.map(drop));
    down(store.save(&mut session).await);
    down(store.save(&mut store.new_session()).await);
    down(store.update(&key, |_| Ok(())).await);
    down(store.delete(&key).await.map(drop));
    down(store.exists(&key).await.map(drop));
    down(store.touch(&session).await);
    down(store.cycle_key(&mut session).await);
    down(store.flush(&mut session).await);
    assert_eq!(session.key(), Some(&key), "the session is as before");
    assert_eq!(session.get::<u64>("a").unwrap(), Some(1));

    heal(&backend);
    store.save(&mut session).await.unwrap();
}

#[tokio::test]
async fn sverb_06_an_outage_in_the_middle_is_no_conflict() {
    let (backend, store) = broken();
    let mut session = store.create().await.unwrap();
    store.delete(&key(&session)).await.unwrap();
    fail_after(&backend, 1);
    assert!(
        matches!(store.save(&mut session).await, Err(SessionError::Backend(_))),
        "the second look failed"
    );
}

#[tokio::test]
async fn sverb_07_what_was_lost_is_told_also_where_the_new_record_cannot_be_taken_back() {
    let (backend, store) = broken();
    let mut session = store.create().await.unwrap();
    let old = key(&session);
    store.update(&old, |session| session.insert("theirs", 1)).await.unwrap();
    fail_after(&backend, 3);
    assert!(matches!(
        store.cycle_key(&mut session).await,
        Err(SessionError::Conflict)
    ));
    heal(&backend);
    assert_eq!(key(&session), old, "the session is as before");
    let theirs = store.load(&old).await.unwrap().unwrap();
    assert_eq!(theirs.get::<u64>("theirs").unwrap(), Some(1));
}

#[tokio::test]
async fn a_repeated_login_ends_the_session_of_the_previous_user() {
    let (backend, store) = broken();
    // The calls of the second login: the generation, the new record, the list (read and written),
    // and the removal.
    for calls in 1..5 {
        let mut session = store.new_session();
        store.login(&mut session, &Login::new("ada")).await.unwrap();
        let ada = key(&session);
        fail_after(&backend, calls);
        let failed = store.login(&mut session, &Login::new("bob")).await;
        assert!(
            matches!(failed, Err(SessionError::Backend(_))),
            "after {calls}: {failed:?}"
        );
        heal(&backend);
        assert!(store.exists(&ada).await.unwrap(), "a login that failed ends nothing");
        store.login(&mut session, &Login::new("bob")).await.unwrap();
        assert!(!store.exists(&ada).await.unwrap(), "after {calls}");
        assert!(store.exists(&key(&session)).await.unwrap());
    }
}

#[tokio::test]
async fn an_empty_user_id_is_refused() {
    let (backend, store) = broken();
    let refused = store.login(&mut store.new_session(), &Login::new("")).await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
    let refused = store.revoke_all("").await;
    assert!(matches!(refused, Err(SessionError::InvalidArgument(_))), "{refused:?}");
    assert_eq!(take_verbs(&backend), [""; 0]);
}

#[tokio::test]
async fn a_touch_removes_no_session_that_was_changed_elsewhere() {
    let (_, store) = broken();
    let mut session = store.create().await.unwrap();
    let key = key(&session);
    store.update(&key, |session| session.insert("theirs", 1)).await.unwrap();
    session.set_expiry(SystemTime::UNIX_EPOCH).unwrap();
    let touched = store.touch(&session).await;
    assert!(matches!(touched, Err(SessionError::Conflict)), "{touched:?}");
    assert!(store.exists(&key).await.unwrap());
}

#[tokio::test]
async fn a_session_is_missing_after_its_own_date_though_its_record_is_not() {
    const START: u64 = 1_700_000_000;
    let seconds = Arc::new(AtomicU64::new(START));
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let clock = seconds.clone();
    let store = SessionStore::builder(MemoryBackend::new())
        .codec(DjangoSigned::new(SECRET))
        .clock(move || at(clock.load(Ordering::SeqCst)))
        .build()
        .unwrap();
    let held = store.create().await.unwrap();
    let key = key(&held);
    let change = store.update(&key, |session| session.set_expiry(at(START + 60)));
    change.await.unwrap();
    // This session still has the default expiry, so the record outlives the date.
    store.touch(&held).await.unwrap();
    seconds.fetch_add(59, Ordering::SeqCst);
    assert!(store.load(&key).await.unwrap().is_some());
    seconds.fetch_add(1, Ordering::SeqCst);
    assert!(store.exists(&key).await.unwrap());
    assert!(store.load(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn sverb_06_no_error_and_no_debug_shows_key_value_or_secret() {
    let (_, store) = broken();
    let mut session = store.create().await.unwrap();
    session.insert("a", "hunter2").unwrap();
    let key = key(&session);
    let mut shown = format!("{store:?} {session:?} {key:?}");
    for error in [
        SessionError::Gone,
        SessionError::Conflict,
        SessionError::KeyTaken,
        store
            .update(&key, |_| Err::<(), _>(SessionError::Gone))
            .await
            .unwrap_err(),
    ] {
        write!(shown, "{error} {error:?}").unwrap();
    }
    assert!(
        !shown.contains("hunter2") && !shown.contains(key.as_str()) && !shown.contains(SECRET),
        "{shown}"
    );
}

/// A subscriber that records the text of every event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _metadata: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _span: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _span: &span::Id, _values: &span::Record<'_>) {}

    fn record_follows_from(&self, _span: &span::Id, _follows: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut log = self.0.lock().unwrap();
        *log += event.metadata().level().as_str();
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| write!(log, " {field}={value:?}").unwrap());
        *log += "\n";
    }

    fn enter(&self, _span: &span::Id) {}

    fn exit(&self, _span: &span::Id) {}
}

#[tokio::test]
async fn sverb_05_an_unreadable_session_is_logged_without_key_and_payload() {
    let log = Log::default();
    // With a single subscriber, `tracing` asks only the thread that reaches an event first, and may
    // then disable the event for all threads.
    let _second = tracing::Dispatch::new(log.clone());
    let _guard = tracing::subscriber::set_default(log.clone());
    let (backend, store) = broken();
    let mut session = store.create().await.unwrap();
    session.insert("a", "hunter2").unwrap();
    store.save(&mut session).await.unwrap();
    let key = key(&session);
    assert!(store.load(&key).await.unwrap().is_some());
    assert_eq!(*log.0.lock().unwrap(), "", "a readable one is nothing to log");

    let other = SessionStore::builder(backend.clone())
        .codec(DjangoSigned::new("another"))
        .build()
        .unwrap();
    assert!(other.load(&key).await.unwrap().is_none());
    assert_eq!(
        *log.0.lock().unwrap(),
        "WARN message=a stored session cannot be read and counts as missing reason=the signature does not match\n"
    );
}
