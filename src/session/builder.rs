//! How a session store is set up.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use codex_traits::{Expiry, KvBackend};
use jiff::tz::TimeZone;

use super::{
    SessionCodec, SessionError, SessionStore,
    policy::{Clock, Policy},
};

/// Two weeks, Django's `SESSION_COOKIE_AGE`.
const DEFAULT_COOKIE_AGE: Duration = Duration::from_secs(1_209_600);

/// Stands where no codec was given yet. It is none, so that [`SessionStoreBuilder::build`] does not compile without one.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CodecMissing;

/// The settings of a [`SessionStore`]; from [`SessionStore::builder`].
///
/// A codec has to be given:
///
/// ```compile_fail
/// # fn build(backend: codex_kv::AnyBackend) {
/// let store = codex_kv::SessionStore::builder(backend).project("shop").build();
/// # }
/// ```
#[must_use = "nothing is built before `build`"]
pub struct SessionStoreBuilder<B, C> {
    backend: B,
    codec: C,
    project: String,
    key_prefix: String,
    cookie_age: Duration,
    browser_session: bool,
    time_zone: Option<String>,
    fail_on_unreadable: bool,
    clock: Box<Clock>,
}

impl<B: KvBackend> SessionStoreBuilder<B, CodecMissing> {
    pub(super) fn new(backend: B) -> Self {
        Self {
            backend,
            codec: CodecMissing,
            project: String::new(),
            key_prefix: "session".to_owned(),
            cookie_age: DEFAULT_COOKIE_AGE,
            browser_session: false,
            time_zone: None,
            fail_on_unreadable: false,
            clock: Box::new(SystemTime::now),
        }
    }
}

impl<B: KvBackend, C> SessionStoreBuilder<B, C> {
    /// The first segment of every stored key. Empty, and then left out, unless set.
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// The second segment of every stored key: `session` unless set. An empty one is left out.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// How long a session lives after each save that has no expiry of its own: 1,209,600 s (two weeks) unless set.
    pub fn cookie_age(mut self, cookie_age: Duration) -> Self {
        self.cookie_age = cookie_age;
        self
    }

    /// Whether a session's cookie ends with the browser unless the session says otherwise: Django's
    /// `SESSION_EXPIRE_AT_BROWSER_CLOSE`, `false` unless set. The record lives for the [cookie age](Self::cookie_age) either way.
    pub fn browser_session(mut self, browser_session: bool) -> Self {
        self.browser_session = browser_session;
        self
    }

    /// The time zone of a Django project with `USE_TZ = False`: its `TIME_ZONE`, by its name in the IANA database, such as
    /// `America/Los_Angeles`. Unset, expiry dates are written with an offset, as Django does with `USE_TZ = True`.
    ///
    /// Such a project keeps expiry dates without an offset, as the clocks of that zone show them, and fails on one that has an
    /// offset. With this setting dates are read and written in the zone, and compared with its clocks: an hour by which they
    /// are put forward or back before the session ends shortens or prolongs it, as in Django. A duration is kept in
    /// seconds and is not affected.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = Some(name.into());
        self
    }

    /// Whether [`load`](SessionStore::load) fails on a record that it cannot read, with
    /// [`SessionError::Codec`]. `false` unless set: such a record is logged and counts as missing, as in Django.
    ///
    /// A visitor whose session counts as missing gets a new one as soon as something is saved, which is a logout. With `true`
    /// the request fails instead and the cookie stays, so that a process with the wrong secret, or one that was deployed
    /// before the others could read its codec, logs nobody out. A record that stays unreadable then fails each of its
    /// visitor's requests until it expires or is deleted. See [`MigratingCodec`](super::MigratingCodec) for changing the
    /// codec without unreadable sessions.
    pub fn fail_on_unreadable(mut self, fail: bool) -> Self {
        self.fail_on_unreadable = fail;
        self
    }

    /// How data becomes bytes: [`DjangoSigned`](super::DjangoSigned) with the project's secret, or another.
    pub fn codec<D: SessionCodec>(self, codec: D) -> SessionStoreBuilder<B, D> {
        SessionStoreBuilder {
            backend: self.backend,
            codec,
            project: self.project,
            key_prefix: self.key_prefix,
            cookie_age: self.cookie_age,
            browser_session: self.browser_session,
            time_zone: self.time_zone,
            fail_on_unreadable: self.fail_on_unreadable,
            clock: self.clock,
        }
    }

    /// Where the time of day comes from: [`SystemTime::now`] unless set. It is written into payloads and compared with absolute
    /// expiries.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// The store. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] where the codec cannot work (an empty secret), and [`SessionError::Config`] where the cookie age
    /// is zero or more than any backend takes, and where the time zone is not known.
    pub fn build(self) -> Result<SessionStore<B, C>, SessionError>
    where
        C: SessionCodec,
    {
        self.codec.validate()?;
        if Expiry::After(self.cookie_age).to_millis("build").is_err() {
            return Err(SessionError::Config(
                "the cookie age must be longer than zero, and its milliseconds must fit a signed 64-bit integer",
            ));
        }
        let zone = self.time_zone.as_deref().map(TimeZone::get).transpose();
        let zone = zone.map_err(|_| {
            SessionError::Config(
                "the time zone is not in the time zone database; use an IANA name such as `America/Los_Angeles`",
            )
        })?;
        let policy = Arc::new(Policy {
            cookie_age: self.cookie_age,
            browser_session: self.browser_session,
            zone,
            fail_on_unreadable: self.fail_on_unreadable,
            clock: self.clock,
        });
        Ok(SessionStore::new(
            self.backend,
            self.codec,
            self.project,
            self.key_prefix,
            policy,
        ))
    }
}

// The codec may hold a secret.
impl<B: fmt::Debug, C> fmt::Debug for SessionStoreBuilder<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStoreBuilder")
            .field("backend", &self.backend)
            .field("project", &self.project)
            .field("key_prefix", &self.key_prefix)
            .field("cookie_age", &self.cookie_age)
            .field("browser_session", &self.browser_session)
            .field("time_zone", &self.time_zone)
            .finish_non_exhaustive()
    }
}
