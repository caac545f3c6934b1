//! The settings of a session store.

use std::{
    fmt,
    num::NonZeroUsize,
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

/// Stands where no codec was given yet. It is none, so that [`SessionStoreBuilder::build`] does not
/// compile without one.
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
    idle_timeout: Option<Duration>,
    absolute_timeout: Option<Duration>,
    touch_interval: Option<Duration>,
    sessions_per_user: Option<NonZeroUsize>,
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
            idle_timeout: None,
            absolute_timeout: None,
            touch_interval: None,
            sessions_per_user: None,
            fail_on_unreadable: false,
            clock: Box::new(SystemTime::now),
        }
    }
}

impl<B: KvBackend, C> SessionStoreBuilder<B, C> {
    /// Sets the first segment of every stored key. Empty, and then left out, unless set.
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// Sets the second segment of every stored key: `session` unless set. An empty one is left out.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// Sets how long a session lives after each save that has no expiry of its own: 1,209,600 s
    /// (two weeks) unless set.
    pub fn cookie_age(mut self, cookie_age: Duration) -> Self {
        self.cookie_age = cookie_age;
        self
    }

    /// Sets whether a session's cookie ends with the browser unless the session says otherwise:
    /// Django's `SESSION_EXPIRE_AT_BROWSER_CLOSE`, `false` unless set. The record lives for the
    /// [cookie age](Self::cookie_age) either way.
    pub fn browser_session(mut self, browser_session: bool) -> Self {
        self.browser_session = browser_session;
        self
    }

    /// Sets the time zone of a Django project with `USE_TZ = False`: its `TIME_ZONE`, by its name
    /// in the IANA database, such as `America/Los_Angeles`. Unset, expiry dates are written with an
    /// offset, as Django does with `USE_TZ = True`.
    ///
    /// Such a project keeps expiry dates without an offset, as the clocks of that zone show them,
    /// and fails on one that has an offset. With this setting dates are read and written in the
    /// zone, and compared with its clocks: an hour by which they are put forward or back before the
    /// session ends shortens or prolongs it, as in Django. A duration is kept in seconds and is not
    /// affected.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = Some(name.into());
        self
    }

    /// Ends a session that was not used for this long. The record lives until then, or until an
    /// earlier end of its own.
    ///
    /// A session is used when it is saved, touched or [renewed](SessionStore::renew). The session
    /// layer renews one that a handler has asked for, and sends the cookie again. Renewals are
    /// written at most every [`touch_interval`](Self::touch_interval), so a session can end that
    /// much earlier than this after its last use. A login that is
    /// [remembered](super::Login::remember_for) has no idle timeout.
    ///
    /// A Django project that shares the sessions needs this as its `SESSION_COOKIE_AGE`.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Ends a session this long after its login, however much it is used: the record lives no
    /// longer, and [`load`](SessionStore::load) takes one that does for missing. A new key and a
    /// merge do not change it; a new login does, and so does a login that is
    /// [remembered](super::Login::remember_for). A session that nobody logged in to has none.
    ///
    /// The time of the login is kept in the session, under `_codex_login`. A login by Django that
    /// does not write it begins with the first save here.
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.absolute_timeout = Some(timeout);
        self
    }

    /// Sets how often the time of a session that is used but not changed is renewed at most: with
    /// [`idle_timeout`](Self::idle_timeout) a tenth of it unless set, but not more than 60 s.
    /// Without, setting it makes the [cookie age](Self::cookie_age) begin anew with each use.
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = Some(interval);
        self
    }

    /// Ends the oldest session of a user whose [login](SessionStore::login) would make more than
    /// this many.
    ///
    /// It counts what [`sessions`](SessionStore::sessions) lists, so a login by Django does not
    /// count. No limit unless set.
    pub fn sessions_per_user(mut self, limit: NonZeroUsize) -> Self {
        self.sessions_per_user = Some(limit);
        self
    }

    /// Sets whether [`load`](SessionStore::load) fails on a record that it cannot read, with
    /// [`SessionError::Codec`]. `false` unless set: such a record is logged and counts as missing,
    /// as in Django.
    ///
    /// A visitor whose session counts as missing gets a new one as soon as something is saved,
    /// which is a logout. With `true` the request fails instead and the cookie stays, so that a
    /// process with the wrong secret, or one that was deployed before the others could read its
    /// codec, logs nobody out. A record that stays unreadable then fails each of its visitor's
    /// requests until it expires or is deleted. See [`MigratingCodec`](super::MigratingCodec) for
    /// changing the codec without unreadable sessions.
    pub fn fail_on_unreadable(mut self, fail: bool) -> Self {
        self.fail_on_unreadable = fail;
        self
    }

    /// Sets how data becomes bytes: [`DjangoSigned`](super::DjangoSigned) with the project's
    /// secret, or another.
    pub fn codec<D: SessionCodec>(self, codec: D) -> SessionStoreBuilder<B, D> {
        SessionStoreBuilder {
            backend: self.backend,
            codec,
            project: self.project,
            key_prefix: self.key_prefix,
            cookie_age: self.cookie_age,
            browser_session: self.browser_session,
            time_zone: self.time_zone,
            idle_timeout: self.idle_timeout,
            absolute_timeout: self.absolute_timeout,
            touch_interval: self.touch_interval,
            sessions_per_user: self.sessions_per_user,
            fail_on_unreadable: self.fail_on_unreadable,
            clock: self.clock,
        }
    }

    /// Sets the source of the time of day: [`SystemTime::now`] unless set. It is written into
    /// payloads and compared with absolute expiries.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// Returns the store. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] if the codec cannot work (an empty secret), and
    /// [`SessionError::Config`] if the cookie age or a timeout is zero or more than any backend
    /// takes, where the touch interval is not shorter than the idle timeout, and where the time
    /// zone is not known.
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
        for timeout in [self.idle_timeout, self.absolute_timeout].into_iter().flatten() {
            if Expiry::After(timeout).to_millis("build").is_err() {
                return Err(SessionError::Config(
                    "an idle or absolute timeout must be longer than zero, and its milliseconds must fit a signed 64-bit \
                     integer",
                ));
            }
        }
        if let Some(interval) = self.touch_interval
            && interval >= self.idle_timeout.unwrap_or(self.cookie_age)
        {
            return Err(SessionError::Config(
                "the touch interval must be shorter than the idle timeout, or than the cookie age without one",
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
            idle_timeout: self.idle_timeout,
            absolute_timeout: self.absolute_timeout,
            touch_interval: self.touch_interval,
            sessions_per_user: self.sessions_per_user,
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
            .field("idle_timeout", &self.idle_timeout)
            .field("absolute_timeout", &self.absolute_timeout)
            .field("touch_interval", &self.touch_interval)
            .field("sessions_per_user", &self.sessions_per_user)
            .finish_non_exhaustive()
    }
}
