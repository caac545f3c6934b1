//! One session in the hands of a request.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    SessionData, SessionError, SessionExpiry, SessionKey,
    changes::Changes,
    data::Name,
    expiry::{EXPIRY_NAME, Kept, ends_in_range, format_date, seconds_of},
    policy::Policy,
};

/// The name and value of Django's test cookie.
const TEST_COOKIE: (&str, &str) = ("testcookie", "worked");

/// A session: what [`SessionStore`](super::SessionStore) creates, loads and saves.
///
/// Nothing that is done to it reaches the store before it is saved. Values are kept as JSON text
/// until they are asked for, so that what another program wrote goes back unchanged; see
/// [`SessionData`].
///
/// It remembers the stored bytes that it stands for, so that a save changes those and no others.
pub struct Session {
    /// The key that is in the cookie, or is to be.
    pub(super) key: Option<SessionKey>,
    /// The exact bytes under that key when they were last seen; none where nothing is stored.
    pub(super) stored: Option<Bytes>,
    pub(super) data: SessionData,
    /// `Relaxed` suffices: the flag is read after the request.
    accessed: AtomicBool,
    pub(super) modified: bool,
    pub(super) changes: Changes,
    /// The time that the record had to live, and when that was seen; none if the store does not
    /// renew, or nobody has looked.
    pub(super) left: Option<(Duration, SystemTime)>,
    policy: Arc<Policy>,
}

impl Session {
    pub(super) fn new(data: SessionData, policy: Arc<Policy>) -> Self {
        Self {
            key: None,
            stored: None,
            data,
            accessed: AtomicBool::new(false),
            modified: false,
            changes: Changes::default(),
            left: None,
            policy,
        }
    }

    pub(super) fn stored_as(mut self, key: SessionKey, payload: Bytes) -> Self {
        self.key = Some(key);
        self.stored = Some(payload);
        self
    }

    /// Returns the key, for the cookie. `None` after [`flush`](super::SessionStore::flush), and for
    /// a session that was never stored.
    pub fn key(&self) -> Option<&SessionKey> {
        self.key.as_ref()
    }

    /// Returns the value, where there is one.
    ///
    /// ```
    /// # use codex_kv::session::*;
    /// # fn read(session: &Session) -> Result<(), SessionError> {
    /// let visits: u64 = session.get("visits")?.unwrap_or(0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A `Box<serde_json::value::RawValue>`, also one inside a struct, a map or a list, takes any
    /// value as it was written, Python's `NaN` too. Every other type refuses such a number.
    /// A `serde_json::Value` turns an integer past 64 bits into a float.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] if it is there and cannot be read as `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        Ok(self.data().get(name)?)
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] for what JSON has no form for: NaN, an infinity, raw bytes, a map
    /// key that is no text; and for a value in more than 127 arrays and objects, which is as deep
    /// as [`get`](Self::get) reads. Nothing is changed then.
    pub fn insert<T: Serialize>(&mut self, name: &str, value: T) -> Result<(), SessionError> {
        self.mark_accessed();
        self.data.insert(name, &value)?;
        self.mark_replaced(name);
        Ok(())
    }

    /// Sets a value that is computed from the one before it (`None` if there is none), and returns
    /// it: a counter, a cart.
    ///
    /// If somebody else has changed the session meanwhile,
    /// [`save_merged`](super::SessionStore::save_merged) computes it again from what they stored,
    /// so that of two who count at once both are counted. So `change` can run many times, and
    /// should do nothing else. What was returned here is the value before any merge.
    ///
    /// ```
    /// # use codex_kv::session::*;
    /// # fn count(session: &mut Session) -> Result<(), SessionError> {
    /// let visits: u64 = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] if a value is there that cannot be read as `T`, and for what JSON
    /// has no form for; nothing is changed then. A merge fails with the same.
    pub fn update<T, F>(&mut self, name: &str, change: F) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let value = change(self.get(name)?);
        self.data.insert(name, &value)?;
        let again = name.to_owned();
        let compute = move |data: &mut SessionData| {
            let value = change(data.get(&again)?);
            data.insert(&again, &value)
        };
        self.changes.computed(Name::new(name), Box::new(compute));
        self.modified = true;
        Ok(value)
    }

    /// Removes a value and returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.mark_accessed();
        let removed = self.data.remove(name);
        if removed {
            self.mark_replaced(name);
        }
        removed
    }

    /// Returns whether there is such a value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.data().contains_key(name)
    }

    /// Returns the names of the values, in the order they came in; without those that are no Rust
    /// text (a lone surrogate of Python's).
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.data().keys()
    }

    /// Removes every value, and with them the session's own expiry.
    pub fn clear(&mut self) {
        self.mark_accessed();
        for name in self.data.entries().keys() {
            self.changes.replaced(name.clone());
        }
        self.data.clear();
        self.modified = true;
    }

    /// Returns whether there is no value. Unlike Django's, it does not ask whether there is a key.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns whether it was changed since it was loaded or last saved.
    pub fn is_modified(&self) -> bool {
        self.modified
    }

    /// Returns whether its values were looked at, so that the response depends on the cookie
    /// (`Vary: Cookie`).
    pub fn is_accessed(&self) -> bool {
        self.accessed.load(Ordering::Relaxed)
    }

    /// Sets when the session ends: a [`Duration`] after each save, or a [`SystemTime`], or as
    /// [`SessionExpiry`] says.
    ///
    /// It is kept under `_session_expiry` as Django keeps it. [`SessionExpiry::Default`] removes
    /// what was set before.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use codex_kv::session::*;
    /// # fn set(session: &mut Session) -> Result<(), SessionError> {
    /// session.set_expiry(Duration::from_secs(300))?;
    /// session.set_expiry(SessionExpiry::BrowserClose)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidArgument`] for a [`Duration`] that ends after the year 9999, which
    /// neither Django nor a cookie can express. Nothing is changed then.
    pub fn set_expiry(&mut self, expiry: impl Into<SessionExpiry>) -> Result<(), SessionError> {
        let json = match expiry.into() {
            SessionExpiry::Default => {
                self.remove(EXPIRY_NAME);
                return Ok(());
            }
            SessionExpiry::BrowserClose => "0".to_owned(),
            SessionExpiry::After(after) => self.whole_seconds(after)?.as_secs().to_string(),
            SessionExpiry::At(date) => format!("\"{}\"", format_date(date, self.policy.zone.as_ref())),
        };
        self.insert_json(EXPIRY_NAME, json);
        Ok(())
    }

    /// Returns how long the record lives when it is saved now: the session's own expiry in whole
    /// seconds, or the store's cookie age; no longer than the store's
    /// [`idle_timeout`](super::SessionStoreBuilder::idle_timeout), and not past its
    /// [`absolute_timeout`](super::SessionStoreBuilder::absolute_timeout). Zero where its time has
    /// passed.
    pub fn expiry_age(&self) -> Duration {
        self.mark_accessed();
        self.expiry_age_at(self.policy.now())
    }

    /// Returns when the session ends if it is saved now.
    pub fn expiry_date(&self) -> SystemTime {
        self.mark_accessed();
        self.policy.end(&self.data, self.policy.now())
    }

    /// Returns whether the cookie has no age, so that the browser drops it when it closes: the
    /// session's own expiry, or the store's
    /// [`browser_session`](super::SessionStoreBuilder::browser_session).
    pub fn expires_at_browser_close(&self) -> bool {
        self.mark_accessed();
        match self.policy.kept(&self.data) {
            Kept::Unset => self.policy.browser_session,
            kept => kept == Kept::BrowserClose,
        }
    }

    /// Sets a value by which [`test_cookie_worked`](Self::test_cookie_worked) tells, in the next
    /// request, that the browser takes cookies.
    pub fn set_test_cookie(&mut self) {
        self.insert_json(TEST_COOKIE.0, format!("\"{}\"", TEST_COOKIE.1));
    }

    /// Returns whether the test cookie came back.
    pub fn test_cookie_worked(&self) -> bool {
        matches!(self.get::<String>(TEST_COOKIE.0), Ok(Some(value)) if value == TEST_COOKIE.1)
    }

    /// Removes the test cookie and returns whether it was there.
    pub fn delete_test_cookie(&mut self) -> bool {
        self.remove(TEST_COOKIE.0)
    }

    /// Returns whether there is no value, without marking it accessed.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns whether its record was there when the store was last asked.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    pub(super) fn expiry_age_at(&self, now: SystemTime) -> Duration {
        self.policy.age(&self.data, now)
    }

    pub(super) fn now(&self) -> SystemTime {
        self.policy.now()
    }

    /// Returns a duration as it is kept: in whole seconds, rounded up.
    pub(super) fn whole_seconds(&self, after: Duration) -> Result<Duration, SessionError> {
        if ends_in_range(self.policy.now(), after) {
            return Ok(Duration::from_secs(seconds_of(after)));
        }
        Err(SessionError::InvalidArgument(
            "a session's expiry must lie before the year 10000; use a shorter duration",
        ))
    }

    pub(super) fn data(&self) -> &SessionData {
        self.mark_accessed();
        &self.data
    }

    /// Notes that nothing is left to be saved.
    pub(super) fn mark_saved(&mut self) {
        self.modified = false;
        self.changes = Changes::default();
    }

    fn insert_json(&mut self, name: &str, json: String) {
        self.mark_accessed();
        self.data.insert_json(name, json);
        self.mark_replaced(name);
    }

    fn mark_replaced(&mut self, name: &str) {
        self.changes.replaced(Name::new(name));
        self.modified = true;
    }

    fn mark_accessed(&self) {
        self.accessed.store(true, Ordering::Relaxed);
    }
}

// Omits the key and the values, which are secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key)
            .field("data", &self.data)
            .field("modified", &self.modified)
            .finish_non_exhaustive()
    }
}
