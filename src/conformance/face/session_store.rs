//! A session store whose verbs go through the async store or through the blocking store.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, SystemTime},
};

use super::threads::in_place;
use crate::{
    AnyBackend, DjangoSigned, KvBackend, Login, Session, SessionCodec, SessionError, SessionKey, blocking,
    session::UserSession,
};

/// The verbs that the blocking store offers go through it, on other threads, if `blocking` is set.
/// All other verbs go through the async store, which shares its state.
pub(crate) struct SessionStore<B = AnyBackend, C = DjangoSigned> {
    blocking: Option<blocking::SessionStore<B, C>>,
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
        Self {
            blocking: self.blocking.clone(),
            rest: self.rest.clone(),
        }
    }
}

impl<B, C> From<blocking::SessionStore<B, C>> for SessionStore<B, C> {
    fn from(blocking: blocking::SessionStore<B, C>) -> Self {
        Self {
            rest: blocking.clone().into(),
            blocking: Some(blocking),
        }
    }
}

impl<B, C> From<crate::SessionStore<B, C>> for SessionStore<B, C> {
    fn from(rest: crate::SessionStore<B, C>) -> Self {
        Self { blocking: None, rest }
    }
}

impl<B, C> Deref for SessionStore<B, C> {
    type Target = crate::SessionStore<B, C>;

    fn deref(&self) -> &Self::Target {
        &self.rest
    }
}

pub(crate) enum SessionStoreBuilder<B = AnyBackend, C = DjangoSigned> {
    Async(crate::SessionStoreBuilder<B, C>),
    Blocking(blocking::SessionStoreBuilder<B, C>),
}

macro_rules! settings {
    ($($name:ident($argument:ident: $type:ty);)*) => {$(
        pub(crate) fn $name(self, $argument: $type) -> Self {
            match self {
                Self::Async(builder) => Self::Async(builder.$name($argument)),
                Self::Blocking(builder) => Self::Blocking(builder.$name($argument)),
            }
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
        match self {
            Self::Async(builder) => SessionStoreBuilder::Async(builder.codec(codec)),
            Self::Blocking(builder) => SessionStoreBuilder::Blocking(builder.codec(codec)),
        }
    }

    pub(crate) fn build(self) -> Result<SessionStore<B, C>, SessionError>
    where
        C: SessionCodec,
    {
        match self {
            Self::Async(builder) => builder.build().map(SessionStore::from),
            Self::Blocking(builder) => builder.build().map(SessionStore::from),
        }
    }
}

macro_rules! verbs {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        pub(crate) async fn $name(&self, $($argument: $type),*) -> Result<$output, SessionError> {
            match &self.blocking {
                Some(store) => in_place(|| store.$name($($argument),*)),
                None => self.rest.$name($($argument),*).await,
            }
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

    pub(crate) async fn update<T, F>(&self, key: &SessionKey, change: F) -> Result<T, SessionError>
    where
        T: Send,
        F: FnMut(&mut Session) -> Result<T, SessionError> + Send,
    {
        match &self.blocking {
            Some(store) => in_place(|| store.update(key, change)),
            None => self.rest.update(key, change).await,
        }
    }
}
