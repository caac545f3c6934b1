//! The session of a request, as handlers see it.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    MissingSessionLayer,
    cookie::Presented,
    store::{KeyOnCommit, Store},
};
use crate::session::{Login, Session as Loaded, SessionError, SessionExpiry, SessionKey};

/// The session of a request: an argument of a handler.
///
/// A clone is the same session, so that middleware and handler see each other's changes. The first question loads it; what is changed
/// is saved when the handler is done. After that every method fails with [`SessionError::Finished`], because nothing would be saved
/// any more.
///
/// An error is a response too, so a handler can return `Result<_, SessionError>` and use `?`.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    presented: Presented,
    // Held across the load, so that a request with two askers loads once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: Option<Loaded>,
    key: KeyOnCommit,
    flushed: bool,
    accessed: bool,
    finished: bool,
    /// Why it could not be loaded, for a handler that did not want to know.
    failure: Option<codex_traits::Error>,
}

/// What the response is to say.
pub(super) struct Finished {
    pub(super) accessed: bool,
    pub(super) cookie: CookieChange,
    pub(super) failure: Option<SessionError>,
}

pub(super) enum CookieChange {
    None,
    Set(SessionKey, Option<Duration>),
    Remove,
}

/// When an unchanged session is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaveWhen {
    Modified,
    EveryRequest,
}

impl Session {
    pub(super) fn new(store: Arc<dyn Store>, presented: Presented) -> Self {
        let shared = Shared {
            store,
            presented,
            state: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Does several things to the session at once, with all that [`codex_kv::Session`](crate::Session) offers.
    ///
    /// ```
    /// # use codex_kv::{SessionError, web::Session};
    /// # async fn add(session: Session) -> Result<(), SessionError> {
    /// let items = session
    ///     .with(|session| {
    ///         let mut cart: Vec<String> = session.get("cart")?.unwrap_or_default();
    ///         cart.push("SKU-1".to_owned());
    ///         session.insert("cart", &cart)?;
    ///         Ok::<_, SessionError>(cart.len())
    ///     })
    ///     .await??;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] where the session cannot be loaded, [`SessionError::Finished`] after the response.
    pub async fn with<R>(&self, act: impl FnOnce(&mut Loaded) -> R) -> Result<R, SessionError> {
        let mut state = self.open().await?;
        self.load(&mut state).await.map(act)
    }

    /// The value, where there is one.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with), and [`SessionError::Codec`] where it cannot be read as `T`.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SessionError> {
        self.with(|session| session.get(name)).await?
    }

    /// Sets a value.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with), and [`SessionError::Codec`] for what JSON has no form for; nothing is changed then.
    pub async fn insert<T: Serialize + Send>(&self, name: &str, value: T) -> Result<(), SessionError> {
        self.with(|session| session.insert(name, value)).await?
    }

    /// Sets a value that is computed from the one before it (`None` where there is none), and returns it. Requests of one browser
    /// side by side lose nothing of it: where another one saved meanwhile, it is computed again from what that one saved. So `change` can
    /// run many times, and should do nothing else; what is returned is the value that this request saw.
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
    /// As [`with`](Self::with), and [`SessionError::Codec`] where the value before is no `T`; nothing is changed then.
    pub async fn update<T, F>(&self, name: &str, change: F) -> Result<T, SessionError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        self.with(|session| session.update(name, change)).await?
    }

    /// Removes a value and tells whether it was there.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn remove(&self, name: &str) -> Result<bool, SessionError> {
        self.with(|session| session.remove(name)).await
    }

    /// Whether there is such a value.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn contains_key(&self, name: &str) -> Result<bool, SessionError> {
        self.with(|session| session.contains_key(name)).await
    }

    /// Whether there is no value.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn is_empty(&self) -> Result<bool, SessionError> {
        self.with(|session| session.is_empty()).await
    }

    /// Sets when the session ends, and with it the age of the cookie.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn set_expiry(&self, expiry: impl Into<SessionExpiry> + Send) -> Result<(), SessionError> {
        self.with(|session| session.set_expiry(expiry)).await?
    }

    /// The key that the session is stored under; `None` for a new one, which gets its key when the handler is done.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn key(&self) -> Result<Option<SessionKey>, SessionError> {
        self.with(|session| session.key().cloned()).await
    }

    /// The user who is logged in.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn user(&self) -> Result<Option<String>, SessionError> {
        self.with(|session| session.user()).await
    }

    /// Logs the user in, as [`SessionStore::login`](crate::SessionStore::login) does; the session gets its new key when the
    /// handler is done. Check the password first.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn login(&self, login: &Login) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        let session = self.load(&mut state).await?;
        if let Err(error) = self.shared.store.login(session, login).await {
            return Err(state.remember(error));
        }
        state.key = KeyOnCommit::Cycle;
        Ok(())
    }

    /// Logs the user out: [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub async fn logout(&self) -> Result<(), SessionError> {
        self.flush().await
    }

    /// Gives the session a new key when the handler is done, and keeps its data: what has to be done when the user's rights
    /// change, against session fixation. A response of 500 and above leaves the key as it was.
    ///
    /// # Errors
    ///
    /// As [`with`](Self::with).
    pub async fn cycle_key(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        self.load(&mut state).await?;
        state.key = KeyOnCommit::Cycle;
        Ok(())
    }

    /// Removes the record at once and leaves an empty session: a logout. What is put in afterwards is stored under a new key.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] where the store fails; the session is as before then. [`SessionError::Finished`] after the
    /// response.
    pub async fn flush(&self) -> Result<(), SessionError> {
        let mut state = self.open().await?;
        let key = match (&state.loaded, &self.shared.presented) {
            (Some(loaded), _) => loaded.key(),
            (None, Presented::Key(key)) => Some(key),
            (None, _) => None,
        };
        if let Some(key) = key
            && let Err(error) = self.shared.store.delete(key).await
        {
            return Err(state.remember(error));
        }
        state.failure = None;
        state.loaded = Some(self.shared.store.new_session());
        state.key = KeyOnCommit::Keep;
        state.flushed = true;
        Ok(())
    }

    /// Saves what is to be saved and says what the response is to carry. `failed` is a response of 500 and above.
    pub(super) async fn finish(&self, save: SaveWhen, failed: bool) -> Finished {
        let mut state = self.shared.state.lock().await;
        state.finished = true;
        let saved = match state.failure.take() {
            Some(error) => Err(error.into()),
            None if failed => Ok(self.cookie_without_saving(&state)),
            None => self.save(&mut state, save).await,
        };
        let (cookie, failure) = match saved {
            Ok(cookie) => (cookie, None),
            Err(error) => (CookieChange::None, Some(error)),
        };
        Finished {
            accessed: state.accessed,
            cookie,
            failure,
        }
    }

    async fn save(&self, state: &mut State, save: SaveWhen) -> Result<CookieChange, SessionError> {
        if save == SaveWhen::EveryRequest && matches!(self.shared.presented, Presented::Key(_)) {
            self.load(state).await?;
        }
        let Some(session) = &mut state.loaded else {
            return Ok(CookieChange::None);
        };
        let store = &self.shared.store;
        if session.is_modified() || state.key == KeyOnCommit::Cycle {
            store.commit(session, state.key).await?;
        } else if save == SaveWhen::Modified || session.key().is_none() {
            return Ok(self.cookie_without_saving(state));
        } else if session.expiry_age().is_zero() {
            store.commit(session, KeyOnCommit::Keep).await?;
        } else {
            // The time alone begins anew, which no other request's change can be in the way of.
            store.touch(session).await?;
        }
        Ok(match session.key() {
            Some(key) if session.is_stored() => {
                let max_age = (!session.expires_at_browser_close()).then(|| session.expiry_age());
                CookieChange::Set(key.clone(), max_age)
            }
            _ => self.removal(),
        })
    }

    /// The browser forgets a key that is not in the store. Not one that was not looked at.
    fn cookie_without_saving(&self, state: &State) -> CookieChange {
        match &state.loaded {
            Some(session) if session.key().is_none() && (state.flushed || !session.is_modified()) => self.removal(),
            _ => CookieChange::None,
        }
    }

    fn removal(&self) -> CookieChange {
        match self.shared.presented {
            Presented::Nothing => CookieChange::None,
            Presented::NoKey | Presented::Key(_) => CookieChange::Remove,
        }
    }

    async fn open(&self) -> Result<MutexGuard<'_, State>, SessionError> {
        let mut state = self.shared.state.lock().await;
        if state.finished {
            return Err(SessionError::Finished);
        }
        state.accessed = true;
        Ok(state)
    }

    async fn load<'a>(&self, state: &'a mut State) -> Result<&'a mut Loaded, SessionError> {
        if state.loaded.is_none() {
            let found = match &self.shared.presented {
                Presented::Key(key) => self.shared.store.load(key).await,
                Presented::Nothing | Presented::NoKey => Ok(None),
            };
            match found {
                Ok(found) => {
                    state.failure = None;
                    state.loaded = Some(found.unwrap_or_else(|| self.shared.store.new_session()));
                }
                Err(error) => return Err(state.remember(error)),
            }
        }
        Ok(state.loaded.get_or_insert_with(|| self.shared.store.new_session()))
    }
}

impl State {
    /// Keeps an outage, so that the response can tell of it whatever the handler makes of the error.
    fn remember(&mut self, error: SessionError) -> SessionError {
        if let SessionError::Backend(error) = &error {
            self.failure = Some(codex_traits::Error::new(
                error.kind(),
                error.operation(),
                "the session was asked for in vain",
            ));
        }
        error
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = MissingSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or(MissingSessionLayer)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

// Neither the key nor a value.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}
