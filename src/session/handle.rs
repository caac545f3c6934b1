//! A session and its unsaved changes.

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

/// A session, as [`SessionStore`](super::SessionStore) creates, loads and saves it.
///
/// Changes reach the store only when the session is saved. Values are kept as JSON text until they
/// are read, so that the values of other programs are written back unchanged; see [`SessionData`].
///
/// A session remembers the stored bytes from which it was loaded, so that a save replaces exactly
/// those bytes.
pub struct Session {
    /// The key that the cookie holds or will hold.
    pub(super) key: Option<SessionKey>,
    /// The exact bytes last seen under that key; `None` if nothing is stored.
    pub(super) stored: Option<Bytes>,
    /// The keys of other users' sessions that a login replaced and whose records still exist. They
    /// are kept here, so that a repeated login removes them if the first attempt failed.
    pub(super) replaced: Vec<SessionKey>,
    pub(super) data: SessionData,
    /// `Relaxed` suffices: the flag is read after the request.
    accessed: AtomicBool,
    pub(super) modified: bool,
    pub(super) changes: Changes,
    /// The record's remaining time to live, and when it was read; `None` if the store does not
    /// renew sessions or the time to live was not read.
    pub(super) left: Option<(Duration, SystemTime)>,
    policy: Arc<Policy>,
}

impl Session {
    pub(super) fn new(data: SessionData, policy: Arc<Policy>) -> Self {
        Self {
            key: None,
            stored: None,
            replaced: Vec::new(),
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

    /// Returns the key for the cookie, or `None` after [`flush`](super::SessionStore::flush) and
    /// for a session that was never stored.
    pub fn key(&self) -> Option<&SessionKey> {
        self.key.as_ref()
    }

    /// Returns the value of `name`, or `None` if it has no value.
    ///
    /// ```
    /// # use codex_kv::session::*;
    /// # fn read(session: &Session) -> Result<(), SessionError> {
    /// let visits: u64 = session.get("visits")?.unwrap_or(0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A `Box<serde_json::value::RawValue>` reads any value as its original text, including
    /// Python's `NaN`. It can be nested in a struct, a map or a list. All other types refuse such a
    /// number. A `serde_json::Value` converts an integer beyond 64 bits to a float.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] if the value cannot be read as `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        Ok(self.data().get(name)?)
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// [`SessionError::Codec`] if JSON cannot represent the value (NaN, an infinity, raw bytes, a
    /// map key that is not text), or if the value is nested in more than 127 arrays and objects,
    /// which is the limit of [`get`](Self::get). Nothing is changed then.
    pub fn insert<T: Serialize>(&mut self, name: &str, value: T) -> Result<(), SessionError> {
        self.mark_accessed();
        self.data.insert(name, &value)?;
        self.mark_replaced(name);
        Ok(())
    }

    /// Sets a value that is computed from its previous value (`None` if there is none), and returns
    /// it. Use it for a counter or a cart.
    ///
    /// If another client has changed the session meanwhile,
    /// [`save_merged`](super::SessionStore::save_merged) computes the value again from the stored
    /// value, so that no concurrent increment is lost. `change` can therefore run many times and
    /// should have no other effects. This method returns the value before any merge.
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
    /// [`SessionError::Codec`] if the previous value cannot be read as `T`, or if JSON cannot
    /// represent the new value. Nothing is changed then. A merge can fail with the same errors.
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

    /// Removes a value and returns whether it existed.
    pub fn remove(&mut self, name: &str) -> bool {
        self.mark_accessed();
        let removed = self.data.remove(name);
        if removed {
            self.mark_replaced(name);
        }
        removed
    }

    /// Returns whether `name` has a value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.data().contains_key(name)
    }

    /// Returns the names of the values in insertion order, except for names that are not valid Rust
    /// text (with a lone surrogate, as Python can write).
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.data().keys()
    }

    /// Removes all values, including the session's own expiry.
    pub fn clear(&mut self) {
        self.mark_accessed();
        for name in self.data.entries().keys() {
            self.changes.replaced(name.clone());
        }
        self.data.clear();
        self.modified = true;
    }

    /// Returns whether the session has no values. Unlike Django's `is_empty`, it does not check for
    /// a key.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns whether the session was changed since it was loaded or last saved.
    pub fn is_modified(&self) -> bool {
        self.modified
    }

    /// Returns whether the values were accessed, so that the response depends on the cookie
    /// (`Vary: Cookie`).
    pub fn is_accessed(&self) -> bool {
        self.accessed.load(Ordering::Relaxed)
    }

    /// Sets the expiry of the session: a [`Duration`] after each save, a [`SystemTime`], or a
    /// [`SessionExpiry`].
    ///
    /// The expiry is stored under `_session_expiry`, as in Django. [`SessionExpiry::Default`]
    /// removes it.
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
    /// [`SessionError::InvalidArgument`] if a [`Duration`] ends after the year 9999, which neither
    /// Django nor a cookie can express. Nothing is changed then.
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

    /// Returns how long the record lives if it is saved now: the session's own expiry in whole
    /// seconds, or the store's cookie age. The store's
    /// [`idle_timeout`](super::SessionStoreBuilder::idle_timeout) and
    /// [`absolute_timeout`](super::SessionStoreBuilder::absolute_timeout) limit the result. Zero
    /// means that the session has expired.
    pub fn expiry_age(&self) -> Duration {
        self.mark_accessed();
        self.expiry_age_at(self.policy.now())
    }

    /// Returns when the session ends if it is saved now.
    pub fn expiry_date(&self) -> SystemTime {
        self.mark_accessed();
        self.policy.end(&self.data, self.policy.now())
    }

    /// Returns whether the browser drops the cookie when it closes, because the cookie has no age.
    /// The session's own expiry or the store's
    /// [`browser_session`](super::SessionStoreBuilder::browser_session) decides this.
    pub fn expires_at_browser_close(&self) -> bool {
        self.mark_accessed();
        match self.policy.kept(&self.data) {
            Kept::Unset => self.policy.browser_session,
            kept => kept == Kept::BrowserClose,
        }
    }

    /// Sets a value with which [`test_cookie_worked`](Self::test_cookie_worked) detects in the next
    /// request that the browser accepts cookies.
    pub fn set_test_cookie(&mut self) {
        self.insert_json(TEST_COOKIE.0, format!("\"{}\"", TEST_COOKIE.1));
    }

    /// Returns whether the test cookie came back.
    pub fn test_cookie_worked(&self) -> bool {
        matches!(self.get::<String>(TEST_COOKIE.0), Ok(Some(value)) if value == TEST_COOKIE.1)
    }

    /// Removes the test cookie and returns whether it existed.
    pub fn delete_test_cookie(&mut self) -> bool {
        self.remove(TEST_COOKIE.0)
    }

    /// Returns whether the session has no values, without marking it as accessed.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns whether the record existed after the last call of the store.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored.is_some()
    }

    pub(super) fn expiry_age_at(&self, now: SystemTime) -> Duration {
        self.policy.age(&self.data, now)
    }

    pub(super) fn now(&self) -> SystemTime {
        self.policy.now()
    }

    /// Returns a duration in its stored resolution: whole seconds, rounded up.
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

    /// Marks the session as having no unsaved changes.
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

// The `Debug` output of the key and of the data hides their secret content.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("key", &self.key)
            .field("data", &self.data)
            .field("modified", &self.modified)
            .finish_non_exhaustive()
    }
}
