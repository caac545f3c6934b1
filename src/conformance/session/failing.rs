//! Clauses on keys that are taken, and on a backend that fails in the middle of a verb.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_testkit::doubles::{Intercepted, Interceptor, Reply, Request};

use super::super::{
    context::Cx,
    face::SessionStore,
    watched::{Watch, Watched},
};
use super::{SECRET, key, record};
use crate::{DjangoSigned, ErrorKind, KvBackend, Login, Result, Session, SessionError, SetOptions};

/// An interceptor that stores a value under each of the next new keys, just before the session is
/// stored there.
struct Squatter<B> {
    backend: Arc<B>,
    left: Arc<AtomicUsize>,
    taken: Arc<Mutex<Vec<String>>>,
}

impl<B: KvBackend> Interceptor for Squatter<B> {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let one_less = |left: usize| left.checked_sub(1);
        if let Request::Set { key, .. } = &request
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
        {
            self.taken.lock().unwrap().push((*key).to_owned());
            let _ = self.backend.set(key, "taken".into(), SetOptions::new()).await?;
        }
        call.await
    }
}

// The backend may have no `Debug` form.
impl<B> fmt::Debug for Squatter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Squatter")
    }
}

pub(super) async fn a_key_that_is_taken_is_left_alone<B: KvBackend>(cx: &Cx<B>) {
    let (left, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let squatter = Squatter {
        backend: cx.backend.clone(),
        left: left.clone(),
        taken: taken.clone(),
    };
    let backend = Intercepted::with_interceptor(cx.backend.clone(), squatter);
    let builder = cx.face.sessions(backend).codec(DjangoSigned::new(SECRET));
    let store = builder.clock(cx.time_of_day()).project("shop").build().unwrap();

    left.store(1, Ordering::SeqCst);
    let mut session = store.create().await.unwrap();
    session.insert("a", 1).unwrap();
    store.save(&mut session).await.unwrap();
    left.store(1, Ordering::SeqCst);
    store.cycle_key(&mut session).await.unwrap();
    assert_eq!(taken.lock().unwrap().len(), 2, "each was tried again with another key");

    left.store(usize::MAX, Ordering::SeqCst);
    let full = store.create().await;
    assert!(matches!(full, Err(SessionError::KeyTaken)), "{full:?}");
    let mut unstored = store.new_session();
    let full = store.save(&mut unstored).await;
    assert!(matches!(full, Err(SessionError::KeyTaken)), "{full:?}");
    assert!(unstored.key().is_none());
    let old = key(&session);
    let full = store.cycle_key(&mut session).await;
    assert!(matches!(full, Err(SessionError::KeyTaken)), "{full:?}");
    assert_eq!(key(&session), old);
    let loaded = store.load(&old).await.unwrap().expect("it kept its key");
    assert_eq!(loaded.get::<u64>("a").unwrap(), Some(1));

    let taken = taken.lock().unwrap().clone();
    assert!(!taken.contains(&record(&old)));
    for key in taken {
        assert_eq!(cx.stored(&key).await.as_deref(), Some(&b"taken"[..]), "{key:?}");
    }
}

/// The verbs, each in the situations in which it makes different calls.
const VERBS: [&str; 24] = [
    "create",
    "load of a visitor",
    "load of a user",
    "load of a remembered user",
    "load with renewal",
    "load of a remembered user with renewal",
    "exists",
    "delete",
    "save",
    "save of a new session",
    "save of an end",
    "save of a changed session",
    "save_merged of a changed session",
    "touch",
    "renew",
    "update",
    "cycle_key",
    "cycle_key_merged of a changed session",
    "login",
    "login of another user",
    "flush",
    "sessions",
    "end",
    "revoke_all",
];

/// A logged-in session, and a store that fails in the middle of a verb.
struct Attempt<B: KvBackend> {
    store: SessionStore<Watched<B>>,
    watch: Watch,
    session: Session,
    user: String,
}

impl<B: KvBackend> Attempt<B> {
    async fn new(cx: &Cx<B>, verb: &str, user: String) -> Self {
        let watched = cx.watched();
        let watch = watched.interceptor().clone();
        let builder = cx.face.sessions(watched).codec(DjangoSigned::new(SECRET));
        let mut builder = builder.clock(cx.time_of_day()).project("shop");
        if verb.contains("renew") {
            builder = builder.idle_timeout(Duration::from_secs(1_000));
        }
        let store = builder.build().unwrap();

        let sound = cx.store();
        let mut session = sound.new_session();
        session.insert("a", 1).unwrap();
        if verb == "load of a visitor" {
            sound.save(&mut session).await.unwrap();
        } else {
            sound.login(&mut session, &Login::new(&user)).await.unwrap();
        }
        if verb == "renew" {
            let soon = crate::Expiry::After(Duration::from_secs(50));
            assert!(cx.backend.expire(&record(&key(&session)), soon).await.unwrap());
            session = store.load(&key(&session)).await.unwrap().expect("it is there");
        }
        if verb.contains("remembered") {
            assert!(store.load(&key(&session)).await.unwrap().is_some());
        }
        session.insert("b", 1).unwrap();
        if verb.contains("changed") {
            let stored = key(&session);
            let change = sound.update(&stored, |session| session.insert("theirs", 1));
            change.await.unwrap();
        }
        watch.take();
        Self {
            store,
            watch,
            session,
            user,
        }
    }

    /// Calls the verb.
    async fn run(&mut self, cx: &Cx<B>, verb: &str) -> std::result::Result<(), SessionError> {
        let (store, session) = (&self.store, &mut self.session);
        let key = key(session);
        match verb {
            "create" => store.create().await.map(drop),
            "exists" => store.exists(&key).await.map(drop),
            "delete" => store.delete(&key).await.map(drop),
            "save" => store.save(session).await,
            "save of a new session" => store.save(&mut store.new_session()).await,
            "save of an end" => {
                session.set_expiry(cx.now() - Duration::from_secs(5))?;
                store.save(session).await
            }
            "save of a changed session" => match store.save(session).await {
                Err(SessionError::Conflict) => Ok(()),
                saved => saved,
            },
            "save_merged of a changed session" => store.save_merged(session).await,
            "touch" => store.touch(session).await,
            "renew" => store.renew(session).await.map(|renewed| assert!(renewed)),
            "update" => store.update(&key, |session| session.insert("c", 1)).await,
            "cycle_key" => store.cycle_key(session).await,
            "cycle_key_merged of a changed session" => store.cycle_key_merged(session).await,
            "login" => store.login(session, &Login::new(&self.user)).await,
            "login of another user" => store.login(session, &Login::new("another")).await,
            "flush" => store.flush(session).await,
            "sessions" => {
                let listed = store.sessions(&self.user).await?;
                assert_eq!(listed.len(), 1);
                Ok(())
            }
            "end" => {
                let id = session.login_id().expect("it is logged in");
                store.end(&self.user, &id).await.map(|ended| assert!(ended))
            }
            "revoke_all" => store.revoke_all(&self.user).await,
            _ => store.load(&key).await.map(|loaded| assert!(loaded.is_some())),
        }
    }
}

/// Fails the first call of each verb, then the second, and so on, until the verb makes fewer calls.
/// All later calls fail too, or none.
pub(super) async fn an_outage_in_the_middle_is_an_error_of_the_verb<B: KvBackend>(cx: &Cx<B>) {
    for verb in VERBS {
        for is_short in [false, true] {
            // A new key that was not used is removed as well as possible.
            if is_short && verb == "cycle_key_merged of a changed session" {
                continue;
            }
            for calls in 0.. {
                let what = format!("{verb} after {calls} calls, {is_short}");
                let mut attempt = Attempt::new(cx, verb, what.clone()).await;
                if is_short {
                    attempt.watch.fail_once_after(calls);
                } else {
                    attempt.watch.fail_after(calls);
                }
                let answer = attempt.run(cx, verb).await;
                if attempt.watch.take().len() <= calls {
                    answer.unwrap_or_else(|error| panic!("{what}, without an outage: {error:?}"));
                    assert!(calls > 0, "{verb} makes no call");
                    break;
                }
                assert!(
                    matches!(&answer, Err(SessionError::Backend(error)) if error.kind() == ErrorKind::Connection),
                    "{what}: {answer:?}"
                );
            }
        }
    }
}
