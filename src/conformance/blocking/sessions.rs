//! A blocking session store with the async signatures that the clauses call.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, SystemTime},
};

use super::threads::in_place;
use crate::{
    AnyBackend, DjangoSigned, KvBackend, Login, Session, SessionCodec, SessionError, SessionKey, blocking,
    session::{CodecMissing, UserSession},
};

/// The verbs of the blocking store run on other threads. All other calls go to the async store,
/// with which it shares everything.
pub(crate) struct SessionStore<B = AnyBackend, C = DjangoSigned> {
    blocking: blocking::SessionStore<B, C>,
    rest: crate::SessionStore<B, C>,
}

/// Returns the async store of a store.
pub(crate) fn asynchronous<B, C>(store: SessionStore<B, C>) -> crate::SessionStore<B, C> {
    store.rest
}

impl<B, C> fmt::Debug for SessionStore<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").finish_non_exhaustive()
    }
}

impl<B, C> Clone for SessionStore<B, C> {
    fn clone(&self) -> Self {
        self.blocking.clone().into()
    }
}

impl<B, C> From<blocking::SessionStore<B, C>> for SessionStore<B, C> {
    fn from(blocking: blocking::SessionStore<B, C>) -> Self {
        Self {
            rest: blocking.clone().into(),
            blocking,
        }
    }
}

impl<B, C> Deref for SessionStore<B, C> {
    type Target = crate::SessionStore<B, C>;

    fn deref(&self) -> &Self::Target {
        &self.rest
    }
}

impl<B: KvBackend> SessionStore<B> {
    pub(crate) fn builder(backend: B) -> SessionStoreBuilder<B, CodecMissing> {
        SessionStoreBuilder(blocking::SessionStore::builder(backend))
    }
}

pub(crate) struct SessionStoreBuilder<B = AnyBackend, C = DjangoSigned>(blocking::SessionStoreBuilder<B, C>);

macro_rules! settings {
    ($($name:ident($argument:ident: $type:ty);)*) => {$(
        pub(crate) fn $name(self, $argument: $type) -> Self {
            Self(self.0.$name($argument))
        }
    )*};
}

impl<B: KvBackend, C> SessionStoreBuilder<B, C> {
    settings! {
        project(project: impl Into<String>);
        key_prefix(key_prefix: impl Into<String>);
        cookie_age(cookie_age: Duration);
        browser_session(browser_session: bool);
        time_zone(name: impl Into<String>);
        idle_timeout(timeout: Duration);
        absolute_timeout(timeout: Duration);
        touch_interval(interval: Duration);
        sessions_per_user(limit: std::num::NonZeroUsize);
        clock(now: impl Fn() -> SystemTime + Send + Sync + 'static);
    }

    pub(crate) fn codec<D: SessionCodec>(self, codec: D) -> SessionStoreBuilder<B, D> {
        SessionStoreBuilder(self.0.codec(codec))
    }

    pub(crate) fn build(self) -> Result<SessionStore<B, C>, SessionError>
    where
        C: SessionCodec,
    {
        self.0.build().map(SessionStore::from)
    }
}

macro_rules! verbs {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        pub(crate) async fn $name(&self, $($argument: $type),*) -> Result<$output, SessionError> {
            in_place(|| self.blocking.$name($($argument),*))
        }
    )*};
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    verbs! {
        create() -> Session;
        load(key: &SessionKey) -> Option<Session>;
        save(session: &mut Session) -> ();
        save_merged(session: &mut Session) -> ();
        delete(key: &SessionKey) -> bool;
        exists(key: &SessionKey) -> bool;
        touch(session: &Session) -> ();
        cycle_key(session: &mut Session) -> ();
        cycle_key_merged(session: &mut Session) -> ();
        flush(session: &mut Session) -> ();
        login(session: &mut Session, login: &Login) -> ();
        revoke_all(user: &str) -> ();
        sessions(user: &str) -> Vec<UserSession>;
        end(user: &str, id: &str) -> bool;
        end_others(session: &mut Session) -> ();
    }

    #[expect(clippy::unused_async, reason = "the clauses await it, as they await the async type")]
    pub(crate) async fn update<T, F>(&self, key: &SessionKey, change: F) -> Result<T, SessionError>
    where
        T: Send,
        F: FnMut(&mut Session) -> Result<T, SessionError> + Send,
    {
        in_place(|| self.blocking.update(key, change))
    }
}
