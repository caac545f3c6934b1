//! The builder of a session store.

use std::{
    fmt,
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use super::SessionStore;
use crate::{AnyBackend, DjangoSigned, KvBackend, SessionCodec, SessionError, session::CodecMissing};

/// The settings of a [`SessionStore`], the same as those of
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
        project(project: impl Into<String>), "the first segment of every stored key";
        key_prefix(key_prefix: impl Into<String>), "the second segment of every stored key";
        cookie_age(cookie_age: Duration), "how long a session without its own expiry lives after each save";
        browser_session(browser_session: bool), "whether the cookie of a session without its own expiry ends with the browser";
        time_zone(name: impl Into<String>), "the time zone of expiry dates that are stored without an offset";
        idle_timeout(timeout: Duration), "how long a session lives without use";
        absolute_timeout(timeout: Duration), "how long a session lives after its login";
        touch_interval(interval: Duration), "the minimum interval between renewals of a session that is used but not changed";
        sessions_per_user(limit: NonZeroUsize), "the maximum number of sessions per user";
        fail_on_unreadable(fail: bool), "whether an unreadable session is an error";
        clock(now: impl Fn() -> SystemTime + Send + Sync + 'static), "the clock";
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
