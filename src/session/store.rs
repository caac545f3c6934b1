//! The verbs.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use codex_traits::{AnyBackend, Condition, Expiry, KvBackend, KvBackendExt as _, SetOptions, Ttl};
use futures_util::future::try_join;

use super::{
    CodecMissing, DjangoSigned, Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStoreBuilder,
    login::user_of,
    login_record::{LOGIN, LoginRecord},
    policy::Policy,
    revocation::Asked,
    users::UserMemory,
};

/// The number of new keys to try before giving up. Two keys of 165 bits do not meet by chance, so
/// that one collision is a fault already.
const KEY_ATTEMPTS: usize = 8;

/// Sessions on any [`KvBackend`], in the form that Django reads. A clone is another handle on the
/// same store, and cheap.
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
/// # No update is lost
///
/// A session remembers the bytes it was loaded from, and [`save`](Self::save) writes only where
/// exactly these are still stored, in one step. A session that was deleted elsewhere is
/// [`Gone`](SessionError::Gone) and is not written back to life; one that was changed elsewhere is
/// a [`Conflict`](SessionError::Conflict). [`update`](Self::update) loads again and repeats.
///
/// # Failure and cancellation
///
/// An outage is [`SessionError::Backend`] from every verb; a broken store never looks like an empty
/// session. A call whose future is dropped, or that fails with an error that
/// [may have executed](codex_traits::Error::may_have_executed), wrote once or not at all. The
/// session does not know which: if it was written, the next `save` of the same session is a
/// `Conflict` with itself, and it has to be loaded again.
pub struct SessionStore<B = AnyBackend, C = DjangoSigned> {
    shared: Arc<Shared<B, C>>,
}

struct Shared<B, C> {
    backend: B,
    codec: C,
    project: String,
    key_prefix: String,
    policy: Arc<Policy>,
    /// The users whose sessions were seen.
    users: UserMemory,
}

/// A record as it was found, and what was asked together with it.
struct Found {
    payload: Bytes,
    left: Option<Duration>,
    asked: Option<Asked>,
}

impl<B: KvBackend> SessionStore<B> {
    /// Returns the settings for a store on `backend`. A codec has to be given before
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

    /// Returns a session that is not stored yet: the first [`save`](Self::save) gives it a key. For
    /// visitors who may never need one.
    pub fn new_session(&self) -> Session {
        Session::new(SessionData::new(), self.shared.policy.clone())
    }

    /// Stores an empty session under a new key at once.
    ///
    /// # Errors
    ///
    /// [`SessionError::KeyTaken`] if every new key is in use, [`SessionError::Generator`] if none
    /// can be drawn, [`SessionError::Backend`] if the store fails.
    pub async fn create(&self) -> Result<Session, SessionError> {
        let mut session = self.new_session();
        self.store_anew(&mut session, self.now()).await?;
        Ok(session)
    }

    /// Returns the session of this key; `None` where it is missing, has expired or cannot be read,
    /// its user was [revoked](Self::revoke_all) since, or its login has lasted for as long as it
    /// may. Creates nothing.
    ///
    /// An unreadable one (signed with another secret, damaged, past the size limit) is logged as a
    /// warning, without its key and payload, unless the store is to
    /// [fail](SessionStoreBuilder::fail_on_unreadable).
    ///
    /// One round trip, but for the first load of a logged-in session by this store: see
    /// [`revoke_all`](Self::revoke_all).
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn load(&self, key: &SessionKey) -> Result<Option<Session>, SessionError> {
        let user = self.shared.users.get(key);
        let Some((session, asked)) = self.read(key, user).await? else {
            return Ok(None);
        };
        match user_of(&session.data) {
            Some(user) => self.shared.users.remember(key, &user),
            None if asked.is_some() => self.shared.users.forget(key),
            None => {}
        }
        Ok(if self.is_revoked(&session.data, asked).await? {
            None
        } else {
            Some(session)
        })
    }

    /// Loads as [`load`](Self::load) does, whatever generation the session is of.
    pub(super) async fn load_unrevoked(&self, key: &SessionKey) -> Result<Option<Session>, SessionError> {
        Ok(self.read(key, None).await?.map(|(session, _)| session))
    }

    async fn read(
        &self,
        key: &SessionKey,
        user: Option<Arc<str>>,
    ) -> Result<Option<(Session, Option<Asked>)>, SessionError> {
        let record = self.record(key);
        let Some(found) = self.find(&record, user).await? else {
            return Ok(None);
        };
        let now = self.now();
        match self.codec().decode_for(&record, &found.payload) {
            Ok(data) if self.policy().login_is_over(&data, now) => Ok(None),
            Ok(data) => {
                let session = Session::new(data, self.shared.policy.clone());
                let mut session = session.stored_as(key.clone(), found.payload);
                session.left = found.left.map(|left| (left, now));
                Ok(Some((session, found.asked)))
            }
            Err(error) if self.policy().fail_on_unreadable => Err(error.into()),
            Err(error) => {
                tracing::warn!(reason = %error, "a stored session cannot be read and counts as missing");
                Ok(None)
            }
        }
    }

    /// Asks for the record, and in the same round trip for its time to live where sessions are
    /// renewed, and for the generation of the user who is thought to be its.
    async fn find(&self, record: &str, user: Option<Arc<str>>) -> Result<Option<Found>, SessionError> {
        let (found, asked) = match (user, self.policy().renews()) {
            (None, false) => (self.backend().get(record).await?.map(|payload| (payload, None)), None),
            (None, true) => (self.find_with_ttl(record).await?, None),
            (Some(user), false) => {
                let generation = self.generation_record(&user);
                let mut values = self.backend().get_many(&[record, &generation]).await?.into_iter();
                let payload = values.next().flatten();
                let asked = values.next().map(|generation| Asked { user, generation });
                (payload.map(|payload| (payload, None)), asked)
            }
            (Some(user), true) => {
                let generation = self.generation_record(&user);
                let generation = async { Ok(self.backend().get(&generation).await?) };
                let (found, generation) = try_join(self.find_with_ttl(record), generation).await?;
                (found, Some(Asked { user, generation }))
            }
        };
        Ok(found.map(|(payload, left)| Found { payload, left, asked }))
    }

    async fn find_with_ttl(&self, record: &str) -> Result<Option<(Bytes, Option<Duration>)>, SessionError> {
        let found = self.backend().get_with_ttl(record).await?;
        Ok(found.map(|(payload, ttl)| match ttl {
            Ttl::Remaining(left) => (payload, Some(left)),
            _ => (payload, None),
        }))
    }

    /// Stores the session for its [expiry age](Session::expiry_age), where what it was loaded from
    /// is still stored: one atomic step. Not only a modified one, so that its time begins anew.
    ///
    /// One without a key is stored under a new one. One whose expiry has passed is removed instead;
    /// it keeps its key, and is `Gone` from then on.
    ///
    /// # Errors
    ///
    /// Nothing is written with any of them but perhaps `Backend`: [`SessionError::Gone`] and
    /// [`SessionError::Conflict`]; [`SessionError::TooLarge`]; [`SessionError::Backend`]. Which of
    /// the first two it is takes a second look at the store: a session that was changed elsewhere
    /// and then ended between the two looks is `Gone`.
    pub async fn save(&self, session: &mut Session) -> Result<(), SessionError> {
        let now = self.now();
        self.date_login(session, now)?;
        let age = session.expiry_age_at(now);
        let Some(key) = &session.key else {
            self.store_anew(session, now).await?;
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

    /// Removes the record and returns whether it was there. One that is not is no error.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn delete(&self, key: &SessionKey) -> Result<bool, SessionError> {
        Ok(self.backend().del(&[&self.record(key)]).await? > 0)
    }

    /// Returns whether there is a record, readable or not.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn exists(&self, key: &SessionKey) -> Result<bool, SessionError> {
        Ok(self.backend().exists(&self.record(key)).await?)
    }

    /// Lets the session's time begin anew without writing its data: the record lives for the
    /// [expiry age](Session::expiry_age) from now. Changes that were made elsewhere stay.
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] if there is no record, [`SessionError::Backend`] if the store fails.
    pub async fn touch(&self, session: &Session) -> Result<(), SessionError> {
        let key = session.key.as_ref().ok_or(SessionError::Gone)?;
        let age = session.expiry_age_at(self.now());
        if self.backend().expire(&self.record(key), Expiry::After(age)).await? {
            Ok(())
        } else {
            Err(SessionError::Gone)
        }
    }

    /// Gives the session a new key and keeps its data, unsaved changes too: what has to be done
    /// when a user logs in, against session fixation.
    ///
    /// The record is stored under the new key first; then the old one is removed, where it is still
    /// what was loaded. Where it is not, the new one is taken back and the session is as before, so
    /// that neither somebody else's change nor somebody else's logout is lost.
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] and [`SessionError::Conflict`] as [`save`](Self::save), and what
    /// [`create`](Self::create) fails with. Where the store fails after the new record was stored,
    /// or the call is dropped then, the session has the new key, and the old record may be there
    /// until it expires.
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

    /// Removes the record of a new key, because the old one was changed or ended elsewhere, and
    /// returns why that is.
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
        // If it fails, a record stays that nobody knows the key of, until it expires. What was
        // lost says more.
        let was_there = self.delete(&new_key).await.unwrap_or(true);
        if !was_there {
            // The user has ended this login while its key was the new one.
            self.delete(old_key).await?;
            return Err(SessionError::Gone);
        }
        if matches!(lost, SessionError::Conflict)
            && let Some((user, login)) = listed(&session.data)
        {
            self.enlist(&user, &login.id, old_key).await?;
        }
        Err(lost)
    }

    /// Removes the record, whoever changed it, and leaves an empty session without a key: a logout.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails; the session is as before then.
    pub async fn flush(&self, session: &mut Session) -> Result<(), SessionError> {
        if let Some(key) = &session.key {
            self.delete(key).await?;
        }
        session.clear();
        session.key = None;
        session.stored = None;
        Ok(())
    }

    /// Stores the session under a new key, where its time has not passed already. It is not marked
    /// as saved.
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

    /// Gives a session the key that it was stored under. A login is listed first, so that none
    /// lives unlisted.
    async fn enter(
        &self,
        session: &mut Session,
        key: SessionKey,
        payload: Bytes,
        left: (Duration, SystemTime),
    ) -> Result<(), SessionError> {
        if let Some((user, login)) = listed(&session.data)
            && let Err(error) = self.enlist(&user, &login.id, &key).await
        {
            // If it fails too, a record stays that nobody knows the key of, until it expires.
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

    /// Notes the time of a login that another program made, where the store has to know it.
    fn date_login(&self, session: &mut Session, now: SystemTime) -> Result<(), SessionError> {
        if self.policy().absolute_timeout.is_some()
            && user_of(&session.data).is_some()
            && LoginRecord::of(&session.data).is_none()
        {
            session.insert(LOGIN, LoginRecord::new(now, None, None)?)?;
        }
        Ok(())
    }

    /// Removes the record where it holds these bytes, in one step.
    pub(super) async fn remove_exactly(&self, record: &str, stored: &Bytes) -> Result<(), SessionError> {
        if self.backend().del_if_equals(record, stored).await? {
            Ok(())
        } else {
            Err(self.gone_or_conflict(record).await?)
        }
    }

    /// Returns why a comparison did not hold.
    async fn gone_or_conflict(&self, record: &str) -> Result<SessionError, SessionError> {
        Ok(if self.backend().exists(record).await? {
            SessionError::Conflict
        } else {
            SessionError::Gone
        })
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

    pub(super) fn now(&self) -> SystemTime {
        self.shared.policy.now()
    }
}

/// Returns the user and the login of a session that is listed with the user's others.
fn listed(data: &SessionData) -> Option<(String, LoginRecord)> {
    Some((user_of(data)?, LoginRecord::of(data)?))
}

// Not derived: neither the backend nor the codec has to be `Clone`.
impl<B, C> Clone for SessionStore<B, C> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

// The codec may hold a secret.
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
