//! A session store whose verbs go through the async store or through the blocking store.

use std::time::{Duration, SystemTime};

use super::{
    paired::{EitherBuilder, Paired, settings},
    threads::in_place,
};
use crate::{
    AnyBackend, DjangoSigned, KvBackend, Login, Session, SessionCodec, SessionError, SessionKey, blocking,
    session::UserSession,
};

/// A session store whose verbs below go through the blocking store, on other threads, if there is
/// one.
pub(crate) type SessionStore<B = AnyBackend, C = DjangoSigned> =
    Paired<crate::SessionStore<B, C>, blocking::SessionStore<B, C>>;

pub(crate) type SessionStoreBuilder<B = AnyBackend, C = DjangoSigned> =
    EitherBuilder<crate::SessionStoreBuilder<B, C>, blocking::SessionStoreBuilder<B, C>>;

/// Returns the async store behind a store.
pub(crate) fn asynchronous<B, C>(store: SessionStore<B, C>) -> crate::SessionStore<B, C> {
    store.rest
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
            Self::Async(builder) => EitherBuilder::Async(builder.codec(codec)),
            Self::Blocking(builder) => EitherBuilder::Blocking(builder.codec(codec)),
        }
    }

    pub(crate) fn build(self) -> Result<SessionStore<B, C>, SessionError>
    where
        C: SessionCodec,
    {
        match self {
            Self::Async(builder) => builder.build().map(Paired::of_async),
            Self::Blocking(builder) => builder.build().map(Paired::of_blocking),
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
