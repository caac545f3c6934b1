//! The session of a request, as handlers see it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, MutexGuard};

use super::{Outcome, SessionOutput, Sessions, settings::SaveWhen, store::Store};
use crate::session::{
    KeyOnCommit, Login, NOBODY_IS_LOGGED_IN, Session as Loaded, SessionError, SessionExpiry, SessionKey,
};

/// The session of a request: an argument of a handler.
///
/// All clones refer to the same session, so middleware and handlers see each other's changes. The
/// first access loads the session, and changes are saved after the handler. After that, every
/// method fails with [`SessionError::Finished`], because changes would no longer be saved.
///
/// The error converts to a response, so a handler can return `Result<_, SessionError>` and use `?`.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    sessions: Sessions,
    presented: Option<SessionKey>,
    // Held across the load, so that concurrent accesses in a request load only once.
    state: Mutex<State>,
    // Outside the mutex, because a handle that outlives its request may hold the lock.
    finished: AtomicBool,
}

#[derive(Default)]
struct State {
    loaded: Option<Loaded>,
    key: KeyOnCommit,
    /// The user whose other sessions end after the handler.
    ends_others_of: Option<String>,
    /// Whether this request has removed the record of the browser's key.
    ended: bool,
    accessed: bool,
    /// The failures in this request, in case the handler ignored the errors. A failure is forgotten
    /// when the same step succeeds later.
    failures: Vec<(Step, SessionError)>,
}

/// A step of a request that calls the store before the end of the handler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Load,
    Login,
    Flush,
}

enum CookieChange {
    None,
    Set(SessionKey, Option<Duration>),
    Remove,
}

impl Session {
    pub(super) fn new(sessions: Sessions, presented: Option<SessionKey>) -> Self {
        let shared = Shared {
            sessions,
            presented,
            state: Mutex::default(),
            finished: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Runs a closure on the session, with all methods of [`codex_kv::Session`](crate::Session).
    /// The closure returns a `Result` or a plain value; see [`SessionOutput`].
    ///
    /// ```
    /// # use codex_kv::{SessionError, web::Session};
    /// # async fn add(session: Session) -> Result<(), SessionError> {
    /// let items = session
    ///     .with(|session| {
    ///         let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    ///         cart.push("SKU-1".to_owned());
    ///         session.insert("cart", &cart)?;
    ///         Ok(cart.len())
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the session cannot be loaded, [`SessionError::Finished`] after
    /// the response, and the error of the closure.
    pub async fn with<R: SessionOutput>(&self, act: impl FnOnce(&mut Loaded) -> R) -> Result<R::Value, SessionError> {
        let mut state = self.open().await?;
        act(self.load(&mut state).await?).into_result()
    }

    /// Returns the value of `name`, or `None` if it has no value.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with), and [`SessionError::Codec`] if the value cannot be
    /// read as `T`.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        self.with(|session| session.get(name)).await
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with), and [`SessionError::Codec`] if JSON cannot
    /// represent the value. Nothing is changed then.
    pub async fn insert<T: Serialize + Send>(&self, name: &str, value: T) -> Result<(), SessionError> {
        self.with(|session| session.insert(name, value)).await
    }

    /// Sets a value that is computed from its previous value (`None` if there is none), and returns
    /// it. Concurrent requests of a browser lose no update: if another request has saved meanwhile,
    /// the value is computed again from the saved value. `change` can therefore run many times and
    /// should have no other effects. This method returns the value before any merge.
    ///
    /// ```
    /// # use codex_kv::{SessionError, web::Session};
    /// # async fn count(session: Session) -> Result<(), SessionError> {
    /// let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with), and [`SessionError::Codec`] if the previous value
    /// is not a `T`. Nothing is changed then.
    pub async fn update<T, F>(&self, name: &str, change: F) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        self.with(|session| session.update(name, change)).await
    }

    /// Removes a value and returns whether it existed.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with).
    pub async fn remove(&self, name: &str) -> Result<bool, SessionError> {
        self.with(|session| session.remove(name)).await
    }

    /// Returns whether `name` has a value.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with).
    pub async fn contains_key(&self, name: &str) -> Result<bool, SessionError> {
        self.with(|session| session.contains_key(name)).await
    }

    /// Returns whether the session has no values.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with).
    pub async fn is_empty(&self) -> Result<bool, SessionError> {
        self.with(|session| session.is_empty()).await
    }

    /// Sets the expiry of the session, and with it the age of the cookie.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with) and [`crate::Session::set_expiry`].
    pub async fn set_expiry(&self, expiry: impl Into<SessionExpiry> + Send) -> Result<(), SessionError> {
        self.with(|session| session.set_expiry(expiry)).await
    }

    /// Returns the key of the session, or `None` for a new session, which gets its key after the
    /// handler.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with).
    pub async fn key(&self) -> Result<Option<SessionKey>, SessionError> {
        self.with(|session| session.key().cloned()).await
    }

    /// Returns the user who is logged in.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with).
    pub async fn user(&self) -> Result<Option<String>, SessionError> {
        self.with(|session| session.user()).await
    }

    /// Logs the user in, like [`SessionStore::login`](crate::SessionStore::login). The new key is
    /// stored after the handler, and the session of another user who was logged in ends then. Check
    /// the password first.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with), and [`SessionError::InvalidArgument`] as with
    /// [`SessionStore::login`](crate::SessionStore::login).
    pub async fn login(&self, login: &Login) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        let session = self.load(&mut state).await?;
        match self.store().login(session, login).await {
            Ok(()) => {
                state.forget(Step::Login);
                state.key = KeyOnCommit::Cycle;
                Ok(())
            }
            Err(error) => Err(state.remember(Step::Login, error)),
        }
    }

    /// Ends all other sessions of the user who is logged in, like
    /// [`SessionStore::end_others`](crate::SessionStore::end_others): "log out all other devices".
    /// This session stays. The others end after the handler, and none ends if the response has
    /// status 500 or above, or 408.
    ///
    /// ```
    /// # use codex_kv::{SessionError, web::Session};
    /// # async fn password_was_changed(session: Session) -> Result<(), SessionError> {
    /// session.cycle_key().await?;
    /// session.end_others().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with), and [`SessionError::InvalidArgument`] if no user is
    /// logged in.
    pub async fn end_others(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        let user = self.load(&mut state).await?.user();
        state.ends_others_of = Some(user.ok_or(NOBODY_IS_LOGGED_IN)?);
        Ok(())
    }

    /// Logs the user out. Equivalent to [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// The same errors as [`flush`](Self::flush).
    pub async fn logout(&self) -> Result<(), SessionError> {
        self.flush().await
    }

    /// Gives the session a new key after the handler, and keeps its data. Call it when the user's
    /// rights change, to prevent session fixation. A response with status 500 or above, or 408,
    /// keeps the old key.
    ///
    /// # Errors
    ///
    /// The same errors as [`with`](Self::with).
    pub async fn cycle_key(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        self.load(&mut state).await?;
        state.key = KeyOnCommit::Cycle;
        Ok(())
    }

    /// Removes the record at once and leaves an empty session: a logout. Data that is inserted
    /// afterwards is stored under a new key.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the backend fails; the session does not change then.
    /// [`SessionError::Finished`] after the response.
    pub async fn flush(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        // A load hides a record that is unreadable, revoked or past its timeout, and a login of
        // another user takes the key out of the session.
        let presented = self.shared.presented.as_ref().filter(|_| !state.ended);
        let key = state.loaded.as_ref().and_then(Loaded::key).or(presented);
        let removed = match key {
            Some(key) => self.store().delete(key).await,
            None => Ok(false),
        };
        match removed {
            Ok(removed) => state.ended |= removed,
            Err(error) => return Err(state.remember(Step::Flush, error)),
        }
        state.failures.clear();
        state.loaded = Some(self.store().new_session());
        state.key = KeyOnCommit::Keep;
        Ok(())
    }

    /// Saves the session and returns its effects on the response. Saves nothing if `failed`.
    pub(super) async fn finish(&self, failed: bool) -> Outcome {
        let mut state = self.shared.state.lock().await;
        self.shared.finished.store(true, Ordering::Release);
        let saved = match state.failures.pop() {
            _ if failed => Ok(state.removal()),
            Some((_, error)) => Err(error),
            None => self.save(&mut state).await,
        };
        let (change, error) = match saved {
            Ok(change) => (change, None),
            Err(error) => (state.removal(), Some(error)),
        };
        let cookie = self.shared.sessions.session_cookie();
        let set_cookie = match change {
            CookieChange::None => None,
            CookieChange::Set(key, max_age) => Some(cookie.set(&key, max_age)),
            CookieChange::Remove => Some(cookie.remove()),
        };
        Outcome {
            // A response that carries a session key depends on the cookie too, even if no handler
            // accessed the session.
            vary: state.accessed || set_cookie.is_some(),
            set_cookie,
            error,
        }
    }

    /// Returns whether the session has unsaved changes.
    pub(super) async fn has_changes(&self) -> bool {
        let state = self.shared.state.lock().await;
        state.key == KeyOnCommit::Cycle
            || state.ends_others_of.is_some()
            || state.loaded.as_ref().is_some_and(Loaded::is_modified)
    }

    /// Ends the session without saving, unless [`finish`](Self::finish) has ended it.
    pub(super) fn close(&self) {
        self.shared.finished.store(true, Ordering::Release);
    }

    async fn save(&self, state: &mut State) -> Result<CookieChange, SessionError> {
        let save = self.shared.sessions.saves();
        if save == SaveWhen::EveryRequest && self.shared.presented.is_some() {
            self.load(state).await?;
        }
        let Some(session) = &mut state.loaded else {
            return Ok(CookieChange::None);
        };
        let store = self.store();
        if let Some(user) = &state.ends_others_of {
            state.ended |= store.commit_alone(session, state.key, user).await?;
            store.end_replaced(session).await?;
        } else if session.is_modified() || state.key == KeyOnCommit::Cycle {
            state.ended |= store.commit(session, state.key).await?;
            store.end_replaced(session).await?;
        } else if session.key().is_none() {
            return Ok(state.removal());
        } else if (save == SaveWhen::EveryRequest || store.renews()) && session.expiry_age().is_zero() {
            // The session has expired. A commit removes exactly the record that was loaded.
            match store.commit(session, KeyOnCommit::Keep).await {
                // Another request has ended the session. This request has no changes to lose.
                Err(SessionError::Gone) => return Ok(CookieChange::None),
                removed => state.ended |= removed?,
            }
        } else if save == SaveWhen::Modified || store.renews() {
            if !store.renew(session).await? {
                return Ok(state.removal());
            }
        } else {
            // Only the time to live is written, so no data of another request is overwritten.
            match store.touch(session).await {
                // Another request has ended or saved the session, and its response has the cookie.
                Err(SessionError::Gone | SessionError::Conflict) => return Ok(CookieChange::None),
                touched => touched?,
            }
        }
        Ok(match session.key() {
            Some(key) if session.is_stored() => {
                let max_age = (!session.expires_at_browser_close()).then(|| session.expiry_age());
                CookieChange::Set(key.clone(), max_age)
            }
            _ => state.removal(),
        })
    }

    async fn open(&self) -> Result<MutexGuard<'_, State>, SessionError> {
        let mut state = self.shared.state.lock().await;
        if self.shared.finished.load(Ordering::Acquire) {
            return Err(SessionError::Finished);
        }
        state.accessed = true;
        Ok(state)
    }

    async fn load<'a>(&self, state: &'a mut State) -> Result<&'a mut Loaded, SessionError> {
        if state.loaded.is_none() {
            let found = match &self.shared.presented {
                Some(key) => self.store().load(key).await,
                None => Ok(None),
            };
            match found {
                Ok(found) => {
                    state.forget(Step::Load);
                    state.loaded = found;
                }
                Err(error) => return Err(state.remember(Step::Load, error)),
            }
        }
        Ok(state.loaded.get_or_insert_with(|| self.store().new_session()))
    }

    fn store(&self) -> &dyn Store {
        self.shared.sessions.store()
    }
}

impl State {
    /// Remembers an outage or an unreadable session, so that the response can report it even if the
    /// handler ignores the error.
    fn remember(&mut self, step: Step, error: SessionError) -> SessionError {
        let copy = match &error {
            SessionError::Backend(error) => error.clone().into(),
            SessionError::Codec(error) => SessionError::Codec(error.clone()),
            SessionError::TooLarge { limit } => SessionError::TooLarge { limit: *limit },
            _ => return error,
        };
        self.forget(step);
        self.failures.push((step, copy));
        error
    }

    /// Forgets the failure of a step that has succeeded now.
    fn forget(&mut self, step: Step) {
        self.failures.retain(|(failed, _)| *failed != step);
    }

    /// Removes the cookie only if this request ended its session. A login in another request may
    /// have replaced any other key meanwhile, and its response may have arrived first.
    fn removal(&self) -> CookieChange {
        if self.ended {
            CookieChange::Remove
        } else {
            CookieChange::None
        }
    }
}

// Omits the key and the values, which are secret.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
