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

/// The codec type of a builder whose codec is not set. It does not implement [`SessionCodec`], so
/// [`SessionStoreBuilder::build`] does not compile until a codec is set.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CodecMissing;

/// A builder of a [`SessionStore`], returned by [`SessionStore::builder`].
///
/// The codec has no default:
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
    /// Sets the first segment of every stored key. The default is empty. An empty segment is
    /// omitted.
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.project = project.into();
        self
    }

    /// Sets the second segment of every stored key. The default is `session`. An empty segment is
    /// omitted.
    pub fn key_prefix(mut self, key_prefix: impl Into<String>) -> Self {
        self.key_prefix = key_prefix.into();
        self
    }

    /// Sets how long a session without its own expiry lives after each save. The default is
    /// 1,209,600 s (two weeks).
    pub fn cookie_age(mut self, cookie_age: Duration) -> Self {
        self.cookie_age = cookie_age;
        self
    }

    /// Sets whether the cookie of a session without its own expiry ends with the browser: Django's
    /// `SESSION_EXPIRE_AT_BROWSER_CLOSE`. The default is `false`. The record lives for the [cookie
    /// age](Self::cookie_age) either way.
    pub fn browser_session(mut self, browser_session: bool) -> Self {
        self.browser_session = browser_session;
        self
    }

    /// Sets the time zone of a Django project with `USE_TZ = False`: its `TIME_ZONE`, as a name in
    /// the IANA database, for example `America/Los_Angeles`. Without this setting, expiry dates are
    /// written with an offset, as Django does with `USE_TZ = True`.
    ///
    /// Such a project stores expiry dates in local time without an offset, and fails on a date with
    /// an offset. With this setting, dates are read, written and compared in the local time of the
    /// zone. A daylight saving change before the end of a session therefore shortens or extends it,
    /// as in Django. Durations are stored in seconds and are not affected.
    pub fn time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = Some(name.into());
        self
    }

    /// Ends a session after this time without use. The record lives until then, or until its own
    /// expiry if that is earlier.
    ///
    /// A session is used when it is saved, touched or [renewed](SessionStore::renew). The session
    /// layer renews a session that a handler has accessed, and sends the cookie again. Renewals are
    /// written at most once per [`touch_interval`](Self::touch_interval), so a session can end
    /// earlier by up to that interval. A [remembered](super::Login::remember_for) login has no idle
    /// timeout.
    ///
    /// A Django project that shares the sessions needs the same value as its `SESSION_COOKIE_AGE`.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Ends a session this long after its login, regardless of its use. The record's time to live
    /// ends with the timeout at the latest, and [`load`](SessionStore::load) treats a record that
    /// outlives it as missing. A new key or a merge does not change the timeout. A new login
    /// restarts it, and a [remembered](super::Login::remember_for) login replaces it. A session
    /// without a login has no absolute timeout.
    ///
    /// The time of the login is stored in the session, under `_codex_login`. If Django logged the
    /// user in without writing it, the timeout begins with the first save by this store.
    pub fn absolute_timeout(mut self, timeout: Duration) -> Self {
        self.absolute_timeout = Some(timeout);
        self
    }

    /// Sets the minimum interval between renewals of a session that is used but not changed. With
    /// an [`idle_timeout`](Self::idle_timeout), the default is a tenth of it, but at most 60 s.
    /// Without an idle timeout, sessions are renewed on use only if this interval is set; a renewal
    /// then restarts the [cookie age](Self::cookie_age).
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = Some(interval);
        self
    }

    /// Limits the number of sessions per user. A [login](SessionStore::login) beyond the limit ends
    /// the user's oldest session. A login that replaces a session of the same user in the same
    /// browser is not beyond the limit.
    ///
    /// Only sessions in the list of [`sessions`](SessionStore::sessions) count, so a login by
    /// Django does not. There is no limit by default.
    pub fn sessions_per_user(mut self, limit: NonZeroUsize) -> Self {
        self.sessions_per_user = Some(limit);
        self
    }

    /// Sets whether [`load`](SessionStore::load) fails on a record that it cannot read, with
    /// [`SessionError::Codec`] or [`SessionError::TooLarge`]. The default is `false`: such a record
    /// is logged and counts as missing, as in Django.
    ///
    /// A visitor whose session counts as missing gets a new session on the next save, which logs
    /// the visitor out. With `true`, the load fails instead and the cookie stays. A process with
    /// the wrong secret, or a process that was deployed before the others could read its codec,
    /// then logs no users out. A record that stays unreadable fails every request that accesses it
    /// until it expires or is deleted. See [`MigratingCodec`](super::MigratingCodec) for changing
    /// the codec without unreadable sessions.
    pub fn fail_on_unreadable(mut self, fail: bool) -> Self {
        self.fail_on_unreadable = fail;
        self
    }

    /// Sets the codec: [`DjangoSigned`](super::DjangoSigned) with the project's secret, or another
    /// codec.
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

    /// Sets the clock, whose time is written to payloads and compared with absolute expiries. The
    /// default is [`SystemTime::now`].
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(now);
        self
    }

    /// Returns the store. Does no I/O.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] if the codec's settings are invalid (an empty secret).
    /// [`SessionError::Config`] if the cookie age or a timeout is zero or too long for any backend,
    /// if the touch interval is not shorter than the idle timeout (without one, than the cookie
    /// age), or if the time zone is unknown.
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

// Omits the codec, which may hold a secret.
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
