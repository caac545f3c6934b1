//! The blocking session store.

use std::fmt;

use super::{SessionStoreBuilder, executor::wait};
use crate::{
    AnyBackend, DjangoSigned, KvBackend, Login, Session, SessionCodec, SessionError, SessionKey,
    session::{ClearExpired, CodecMissing, UserSession},
};

/// Sessions on any [`KvBackend`], without `async`. Each verb corresponds to the method of
/// [`codex_kv::SessionStore`](crate::SessionStore) with the same name.
///
/// ```
/// use codex_kv::{DjangoSigned, blocking::SessionStore, memory::MemoryBackend};
///
/// # fn main() -> Result<(), codex_kv::SessionError> {
/// let store = SessionStore::builder(MemoryBackend::new())
///     .project("shop")
///     .codec(DjangoSigned::new("the SECRET_KEY of Django's settings"))
///     .build()?;
/// let mut session = store.create()?;
/// session.insert("user", 42)?;
/// store.save(&mut session)?;
///
/// let key = session.key().expect("it is stored").clone();
/// let again = store.load(&key)?.expect("it is there");
/// assert_eq!(again.get::<u64>("user")?, Some(42));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every verb returns the errors of its async counterpart. On a thread of an async runtime, it
/// returns [`SessionError::Backend`] of kind
/// [`InvalidArgument`](crate::ErrorKind::InvalidArgument); see the [module](super).
pub struct SessionStore<B = AnyBackend, C = DjangoSigned>(crate::SessionStore<B, C>);

impl<B: KvBackend> SessionStore<B> {
    /// Returns the builder of a store on `backend`.
    pub fn builder(backend: B) -> SessionStoreBuilder<B, CodecMissing> {
        SessionStoreBuilder::new(crate::SessionStore::builder(backend))
    }
}

impl<B, C> From<crate::SessionStore<B, C>> for SessionStore<B, C> {
    fn from(store: crate::SessionStore<B, C>) -> Self {
        Self(store)
    }
}

impl<B, C> From<SessionStore<B, C>> for crate::SessionStore<B, C> {
    fn from(store: SessionStore<B, C>) -> Self {
        store.0
    }
}

// Implemented by hand because `derive` would require `B: Clone` and `C: Clone`.
impl<B, C> Clone for SessionStore<B, C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Returns a session that is not stored yet; see
    /// [`SessionStore::new_session`](crate::SessionStore::new_session).
    pub fn new_session(&self) -> Session {
        self.0.new_session()
    }

    /// Stores an empty session under a new key; see
    /// [`SessionStore::create`](crate::SessionStore::create).
    ///
    /// # Errors
    ///
    /// [`SessionError::KeyTaken`], [`SessionError::Generator`], and the errors of [every
    /// verb](Self#errors).
    pub fn create(&self) -> Result<Session, SessionError> {
        wait(self.0.create())
    }

    /// Returns the session with this key; see [`SessionStore::load`](crate::SessionStore::load).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn load(&self, key: &SessionKey) -> Result<Option<Session>, SessionError> {
        wait(self.0.load(key))
    }

    /// Stores the session if its record is unchanged; see
    /// [`SessionStore::save`](crate::SessionStore::save).
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`], [`SessionError::Conflict`], [`SessionError::TooLarge`], and the
    /// errors of [every verb](Self#errors).
    pub fn save(&self, session: &mut Session) -> Result<(), SessionError> {
        wait(self.0.save(session))
    }

    /// Stores the session, merged with concurrent changes; see
    /// [`SessionStore::save_merged`](crate::SessionStore::save_merged).
    ///
    /// # Errors
    ///
    /// The same errors as [`save`](Self::save), but `Conflict` only after a thousand attempts.
    pub fn save_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        wait(self.0.save_merged(session))
    }

    /// Loads, changes and saves a session, and retries after a conflict; see
    /// [`SessionStore::update`](crate::SessionStore::update).
    ///
    /// # Errors
    ///
    /// The same errors as [`save`](Self::save), and the error of `change`.
    pub fn update<T, F>(&self, key: &SessionKey, change: F) -> Result<T, SessionError>
    where
        T: Send,
        F: FnMut(&mut Session) -> Result<T, SessionError> + Send,
    {
        wait(self.0.update(key, change))
    }

    /// Removes the record and returns whether it existed; see
    /// [`SessionStore::delete`](crate::SessionStore::delete).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn delete(&self, key: &SessionKey) -> Result<bool, SessionError> {
        wait(self.0.delete(key))
    }

    /// Returns whether the record exists; see
    /// [`SessionStore::exists`](crate::SessionStore::exists).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn exists(&self, key: &SessionKey) -> Result<bool, SessionError> {
        wait(self.0.exists(key))
    }

    /// Renews the session's time to live; see [`SessionStore::touch`](crate::SessionStore::touch).
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] and [`SessionError::Conflict`] as in the async method, and the errors
    /// of [every verb](Self#errors).
    pub fn touch(&self, session: &Session) -> Result<(), SessionError> {
        wait(self.0.touch(session))
    }

    /// Gives the session a new key; see
    /// [`SessionStore::cycle_key`](crate::SessionStore::cycle_key).
    ///
    /// # Errors
    ///
    /// The same errors as [`save`](Self::save).
    pub fn cycle_key(&self, session: &mut Session) -> Result<(), SessionError> {
        wait(self.0.cycle_key(session))
    }

    /// Gives the session a new key and merges like [`save_merged`](Self::save_merged); see
    /// [`SessionStore::cycle_key_merged`](crate::SessionStore::cycle_key_merged).
    ///
    /// # Errors
    ///
    /// The same errors as [`save_merged`](Self::save_merged).
    pub fn cycle_key_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        wait(self.0.cycle_key_merged(session))
    }

    /// Removes the record and empties the session; see
    /// [`SessionStore::flush`](crate::SessionStore::flush).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn flush(&self, session: &mut Session) -> Result<(), SessionError> {
        wait(self.0.flush(session))
    }

    /// Logs a user in under a new key; see [`SessionStore::login`](crate::SessionStore::login).
    ///
    /// # Errors
    ///
    /// The same errors as [`cycle_key_merged`](Self::cycle_key_merged), and
    /// [`SessionError::InvalidArgument`] as in the async method.
    pub fn login(&self, session: &mut Session, login: &Login) -> Result<(), SessionError> {
        wait(self.0.login(session, login))
    }

    /// Ends every session of a user; see
    /// [`SessionStore::revoke_all`](crate::SessionStore::revoke_all).
    ///
    /// # Errors
    ///
    /// [`SessionError::InvalidArgument`] if the user id is empty, and the errors of [every
    /// verb](Self#errors).
    pub fn revoke_all(&self, user: &str) -> Result<(), SessionError> {
        wait(self.0.revoke_all(user))
    }

    /// Returns the live sessions of a user; see
    /// [`SessionStore::sessions`](crate::SessionStore::sessions).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn sessions(&self, user: &str) -> Result<Vec<UserSession>, SessionError> {
        wait(self.0.sessions(user))
    }

    /// Ends a session of a user and returns whether it existed; see
    /// [`SessionStore::end`](crate::SessionStore::end).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn end(&self, user: &str, id: &str) -> Result<bool, SessionError> {
        wait(self.0.end(user, id))
    }

    /// Ends all other sessions of this session's user; see
    /// [`SessionStore::end_others`](crate::SessionStore::end_others).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn end_others(&self, session: &mut Session) -> Result<(), SessionError> {
        wait(self.0.end_others(session))
    }

    /// Returns immediately, because there is nothing to remove; see
    /// [`SessionStore::clear_expired`](crate::SessionStore::clear_expired).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn clear_expired(&self) -> Result<ClearExpired, SessionError> {
        wait(self.0.clear_expired())
    }
}

impl<B, C> fmt::Debug for SessionStore<B, C>
where
    crate::SessionStore<B, C>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionStore").field(&self.0).finish()
    }
}
