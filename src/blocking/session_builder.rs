//! The builder of a session store.

use std::{
    fmt,
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use super::SessionStore;
use crate::{AnyBackend, DjangoSigned, KvBackend, SessionCodec, SessionError, session::CodecMissing};

/// The settings of a [`SessionStore`]: those of
/// [`codex_kv::SessionStoreBuilder`](crate::SessionStoreBuilder).
#[must_use]
pub struct SessionStoreBuilder<B = AnyBackend, C = DjangoSigned>(crate::SessionStoreBuilder<B, C>);

macro_rules! settings {
    ($($name:ident($($argument:ident: $type:ty),*), $what:literal;)*) => {$(
        #[doc = concat!("Sets ", $what, "; see [`SessionStoreBuilder::", stringify!($name), "`](crate::SessionStoreBuilder::", stringify!($name), ").")]
        pub fn $name(self, $($argument: $type),*) -> Self {
            Self(self.0.$name($($argument),*))
        }
    )*};
}

impl<B: KvBackend> SessionStoreBuilder<B, CodecMissing> {
    pub(super) fn new(builder: crate::SessionStoreBuilder<B, CodecMissing>) -> Self {
        Self(builder)
    }
}

impl<B: KvBackend, C> SessionStoreBuilder<B, C> {
    settings! {
        project(project: impl Into<String>), "the first part of every stored key";
        key_prefix(key_prefix: impl Into<String>), "the second part of every stored key";
        cookie_age(cookie_age: Duration), "how long a session without an expiry of its own is kept";
        browser_session(browser_session: bool), "whether cookies end with the browser unless a session says otherwise";
        time_zone(name: impl Into<String>), "the zone of expiry dates without an offset";
        idle_timeout(timeout: Duration), "how long a session lives without a request";
        absolute_timeout(timeout: Duration), "how long a login lives";
        touch_interval(interval: Duration), "how often a session's idle time is renewed";
        sessions_per_user(limit: NonZeroUsize), "how many sessions a user may have";
        fail_on_unreadable(fail: bool), "whether an unreadable session is an error";
        clock(now: impl Fn() -> SystemTime + Send + Sync + 'static), "where the time of day comes from";
    }

    /// Sets the codec; see [`SessionStoreBuilder::codec`](crate::SessionStoreBuilder::codec).
    pub fn codec<D: SessionCodec>(self, codec: D) -> SessionStoreBuilder<B, D> {
        SessionStoreBuilder(self.0.codec(codec))
    }

    /// Returns the store. Does no I/O.
    ///
    /// # Errors
    ///
    /// The same errors as [`SessionStoreBuilder::build`](crate::SessionStoreBuilder::build).
    pub fn build(self) -> Result<SessionStore<B, C>, SessionError>
    where
        B: KvBackend,
        C: SessionCodec,
    {
        self.0.build().map(SessionStore::from)
    }
}

impl<B, C> fmt::Debug for SessionStoreBuilder<B, C>
where
    crate::SessionStoreBuilder<B, C>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionStoreBuilder").field(&self.0).finish()
    }
}
