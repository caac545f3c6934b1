//! The session store.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_traits::{AnyBackend, Condition, Expiry, KvBackend, KvBackendExt as _, SetOptions};

use super::{
    CodecMissing, DjangoSigned, Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStoreBuilder,
    login::user_of,
    login_record::{LOGIN, LoginRecord},
    policy::Policy,
    user_sessions::Replaced,
    users::UserMemory,
};

/// The maximum number of new keys to try. Keys of 165 bits do not collide by chance, so even one
/// collision indicates a fault.
const KEY_ATTEMPTS: usize = 8;

/// Sessions on any [`KvBackend`], in the form that Django reads. Clones are cheap handles to the
/// same store.
///
/// ```
/// # #[cfg(feature = "memory")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), codex_kv::SessionError> {
/// use codex_kv::{DjangoSigned, SessionStore, memory::MemoryBackend};
///
/// let store = SessionStore::builder(MemoryBackend::new())
///     .project("shop")
///     .codec(DjangoSigned::new("the SECRET_KEY of Django's settings"))
///     .build()?;
///
/// let mut session = store.create().await?;
/// session.insert("user", 42)?;
/// store.save(&mut session).await?;
///
/// let key = session.key().expect("it is stored").clone();
/// let again = store.load(&key).await?.expect("it is there");
/// assert_eq!(again.get::<u64>("user")?, Some(42));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "memory"))]
/// # fn main() {}
/// ```
///
/// # Lost updates
///
/// No update is lost. A session remembers the bytes from which it was loaded, and
/// [`save`](Self::save) writes only if exactly these bytes are still stored, in one atomic step. If
/// the session was deleted elsewhere, `save` returns [`Gone`](SessionError::Gone) and does not
/// recreate it. If the session was changed elsewhere, `save` returns
/// [`Conflict`](SessionError::Conflict). [`update`](Self::update) loads again and retries.
///
/// # Failure and cancellation
///
/// During an outage every method that calls the backend returns [`SessionError::Backend`]; a broken
/// store never looks like an empty session. A call whose future is dropped, or that fails with an
/// error that [may have executed](codex_traits::Error::may_have_executed), wrote at most once. The
/// session does not know whether it was written. If it was, the next `save` of the same session
/// returns `Conflict`, and the session has to be loaded again.
pub struct SessionStore<B = AnyBackend, C = DjangoSigned> {
    shared: Arc<Shared<B, C>>,
}

struct Shared<B, C> {
    backend: B,
    codec: C,
    project: String,
    key_prefix: String,
    policy: Arc<Policy>,
    /// The users of recently seen sessions.
    users: UserMemory,
}

impl<B: KvBackend> SessionStore<B> {
    /// Returns the builder of a store on `backend`. Set a codec before
    /// [`build`](SessionStoreBuilder::build).
    pub fn builder(backend: B) -> SessionStoreBuilder<B, CodecMissing> {
        SessionStoreBuilder::new(backend)
    }
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    pub(super) fn new(backend: B, codec: C, project: String, key_prefix: String, policy: Arc<Policy>) -> Self {
        Self {
            shared: Arc::new(Shared {
                backend,
                codec,
                project,
                key_prefix,
                policy,
                users: UserMemory::new(),
            }),
        }
    }

    /// Returns a session that is not stored yet. The first [`save`](Self::save) gives it a key. Use
    /// it for visitors who may never need a session.
    pub fn new_session(&self) -> Session {
        self.session_of(SessionData::new())
    }

    /// Creates an empty session and stores it under a new key.
    ///
    /// # Errors
    ///
    /// [`SessionError::KeyTaken`] if every generated key is already in use,
    /// [`SessionError::Generator`] if the random generator fails, and [`SessionError::Backend`] if
    /// the backend fails.
    pub async fn create(&self) -> Result<Session, SessionError> {
        let mut session = self.new_session();
        self.store_anew(&mut session, self.now()).await?;
        Ok(session)
    }

    /// Stores the session for its [expiry age](Session::expiry_age) if the record has not changed
    /// since it was loaded, in one atomic step. An unmodified session is stored too, which renews
    /// its time to live.
    ///
    /// A session without a key is stored under a new key. A session whose expiry has passed is
    /// removed instead; it keeps its key, and later saves return `Gone`.
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`], [`SessionError::Conflict`], [`SessionError::TooLarge`] and
    /// [`SessionError::Backend`]. Nothing was written, except perhaps with `Backend`. A second read
    /// of the store distinguishes `Gone` from `Conflict`: a session that was changed elsewhere and
    /// ended before that read is `Gone`.
    pub async fn save(&self, session: &mut Session) -> Result<(), SessionError> {
        let now = self.now();
        self.date_login(session, now)?;
        let age = session.expiry_age_at(now);
        let Some(key) = &session.key else {
            Box::pin(self.store_anew(session, now)).await?;
            session.mark_saved();
            return Ok(());
        };
        let record = self.record(key);
        let stored = session.stored.clone().ok_or(SessionError::Gone)?;
        if age.is_zero() {
            self.remove_exactly(&record, &stored).await?;
            session.stored = None;
            session.mark_saved();
            return Ok(());
        }
        let payload = self.codec().encode_for(&record, &session.data, now)?;
        let options = SetOptions::expires_after(age).with_condition(Condition::IfEquals(stored));
        let outcome = self.backend().set(&record, payload.clone(), options).await?;
        if !outcome.is_written() {
            return Err(self.gone_or_conflict(&record).await?);
        }
        session.stored = Some(payload);
        session.left = Some((age, now));
        session.mark_saved();
        Ok(())
    }

    /// Removes the record and returns whether it existed. A missing record is not an error.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn delete(&self, key: &SessionKey) -> Result<bool, SessionError> {
        Ok(self.backend().del(&[&self.record(key)]).await? > 0)
    }

    /// Returns whether the record exists, readable or not.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn exists(&self, key: &SessionKey) -> Result<bool, SessionError> {
        Ok(self.backend().exists(&self.record(key)).await?)
    }

    /// Renews the session's time to live without writing its data: the record lives for the [expiry
    /// age](Session::expiry_age) from now. Data that was changed elsewhere stays, but the time to
    /// live follows the expiry of this session, even if the stored expiry was changed meanwhile. An
    /// expiry age of zero removes the record if it has not changed since it was loaded.
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] if the record is missing, [`SessionError::Conflict`] if the expiry
    /// age is zero and the record was changed elsewhere, and [`SessionError::Backend`] if the
    /// backend fails.
    pub async fn touch(&self, session: &Session) -> Result<(), SessionError> {
        let key = session.key.as_ref().ok_or(SessionError::Gone)?;
        let age = session.expiry_age_at(self.now());
        if age.is_zero() {
            // Another client may have extended the expiry meanwhile.
            let stored = session.stored.as_ref().ok_or(SessionError::Gone)?;
            return Box::pin(self.remove_exactly(&self.record(key), stored)).await;
        }
        if self.backend().expire(&self.record(key), Expiry::After(age)).await? {
            Ok(())
        } else {
            Err(SessionError::Gone)
        }
    }

    /// Gives the session a new key and keeps its data, including unsaved changes. Call it when a
    /// user logs in, to prevent session fixation.
    ///
    /// The record is stored under the new key first. Then the old record is removed if it still
    /// equals the loaded record. If it does not, the new record is removed again and the session
    /// stays as it was. Neither a concurrent change nor a concurrent logout is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] and [`SessionError::Conflict`] as with [`save`](Self::save), and the
    /// errors of [`create`](Self::create). If the backend fails to remove the old record, the
    /// session has the new key, and the old record may remain until it expires. If the call is
    /// dropped, the session has either key, and the record of the other key may remain.
    pub async fn cycle_key(&self, session: &mut Session) -> Result<(), SessionError> {
        let now = self.now();
        let Some(old_key) = session.key.clone().filter(|_| !session.expiry_age_at(now).is_zero()) else {
            return self.save(session).await;
        };
        let old_payload = session.stored.clone().ok_or(SessionError::Gone)?;
        self.store_anew(session, now).await?;
        match self.remove_exactly(&self.record(&old_key), &old_payload).await {
            Err(lost @ (SessionError::Gone | SessionError::Conflict)) => {
                let new_key = session.key.replace(old_key.clone());
                session.stored = Some(old_payload);
                self.take_back(session, &old_key, new_key, lost).await
            }
            removed => {
                session.mark_saved();
                removed
            }
        }
    }

    /// Removes the record of the new key, because the old record was changed or ended elsewhere.
    /// Returns the error for the caller.
    async fn take_back(
        &self,
        session: &Session,
        old_key: &SessionKey,
        new_key: Option<SessionKey>,
        lost: SessionError,
    ) -> Result<(), SessionError> {
        let Some(new_key) = new_key else {
            return Err(lost);
        };
        // If the delete fails, a record under an unknown key stays until it expires. The original
        // error is more useful to the caller than this failure.
        let was_there = self.delete(&new_key).await.unwrap_or(true);
        if !was_there {
            // The user ended this login while it had the new key.
            self.delete(old_key).await?;
            return Err(SessionError::Gone);
        }
        if matches!(lost, SessionError::Conflict)
            && let Some((user, login)) = listed(&session.data)
        {
            let replaced = Replaced {
                key: Some(old_key),
                others: &session.replaced,
            };
            self.enlist(&user, &login.id, old_key, replaced).await?;
        }
        Err(lost)
    }

    /// Removes the record, even if it was changed elsewhere, and leaves an empty session without a
    /// key: a logout.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the backend fails. The session does not change then.
    pub async fn flush(&self, session: &mut Session) -> Result<(), SessionError> {
        if let Some(key) = &session.key {
            self.delete(key).await?;
        }
        self.end_replaced(session).await?;
        session.clear();
        session.key = None;
        session.stored = None;
        Ok(())
    }

    /// Stores the session under a new key unless it has expired. Does not mark it as saved.
    async fn store_anew(&self, session: &mut Session, now: SystemTime) -> Result<(), SessionError> {
        let age = session.expiry_age_at(now);
        if age.is_zero() {
            return Ok(());
        }
        for _ in 0..KEY_ATTEMPTS {
            let key = SessionKey::generate()?;
            let record = self.record(&key);
            let payload = self.codec().encode_for(&record, &session.data, now)?;
            let written = self
                .backend()
                .set_if_absent(&record, payload.clone(), Expiry::After(age))
                .await?;
            if written.is_written() {
                return self.enter(session, key, payload, (age, now)).await;
            }
        }
        Err(SessionError::KeyTaken)
    }

    /// Gives a session the key under which it was stored. A login is added to the list first, so
    /// that no live login is missing there.
    async fn enter(
        &self,
        session: &mut Session,
        key: SessionKey,
        payload: Bytes,
        left: (Duration, SystemTime),
    ) -> Result<(), SessionError> {
        let replaced = Replaced {
            key: session.key.as_ref(),
            others: &session.replaced,
        };
        if let Some((user, login)) = listed(&session.data)
            && let Err(error) = self.enlist(&user, &login.id, &key, replaced).await
        {
            // If the delete fails too, a record under an unknown key stays until it expires.
            let _ = self.delete(&key).await;
            return Err(error);
        }
        if let Some(user) = user_of(&session.data) {
            self.shared.users.remember(&key, &user);
        }
        session.key = Some(key);
        session.stored = Some(payload);
        session.left = Some(left);
        Ok(())
    }

    /// Records a time for another program's login if the store has an absolute timeout.
    fn date_login(&self, session: &mut Session, now: SystemTime) -> Result<(), SessionError> {
        if self.policy().absolute_timeout.is_some()
            && user_of(&session.data).is_some()
            && LoginRecord::of(&session.data).is_none()
        {
            session.insert(LOGIN, LoginRecord::new(now, None, None)?)?;
        }
        Ok(())
    }

    /// Removes the record if it holds exactly these bytes, in one atomic step.
    pub(super) async fn remove_exactly(&self, record: &str, stored: &Bytes) -> Result<(), SessionError> {
        if self.backend().del_if_equals(record, stored).await? {
            Ok(())
        } else {
            Err(self.gone_or_conflict(record).await?)
        }
    }

    /// Returns the reason why a comparison failed.
    async fn gone_or_conflict(&self, record: &str) -> Result<SessionError, SessionError> {
        Ok(if self.backend().exists(record).await? {
            SessionError::Conflict
        } else {
            SessionError::Gone
        })
    }

    /// Returns a session with this data that is not stored yet.
    pub(super) fn session_of(&self, data: SessionData) -> Session {
        Session::new(data, self.shared.policy.clone())
    }

    pub(super) fn project(&self) -> &str {
        &self.shared.project
    }

    pub(super) fn key_prefix(&self) -> &str {
        &self.shared.key_prefix
    }

    pub(super) fn backend(&self) -> &B {
        &self.shared.backend
    }

    pub(super) fn codec(&self) -> &C {
        &self.shared.codec
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    pub(super) fn users(&self) -> &UserMemory {
        &self.shared.users
    }

    pub(super) fn now(&self) -> SystemTime {
        self.shared.policy.now()
    }
}

/// Returns the user and the login of a session that belongs in the user's list.
pub(super) fn listed(data: &SessionData) -> Option<(String, LoginRecord)> {
    Some((user_of(data)?.into_owned(), LoginRecord::of(data)?))
}

// Not derived, because `derive` would require `B: Clone` and `C: Clone`.
impl<B, C> Clone for SessionStore<B, C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

// Omits the codec, which may hold a secret.
impl<B: fmt::Debug, C> fmt::Debug for SessionStore<B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("backend", &self.shared.backend)
            .field("project", &self.shared.project)
            .field("key_prefix", &self.shared.key_prefix)
            .field("cookie_age", &self.shared.policy.cookie_age)
            .finish_non_exhaustive()
    }
}
