//! Revocation of all sessions of a user.

use std::future::Future;

use bytes::Bytes;
use codex_traits::{Condition, KvBackend, SetOptions};

use super::{
    Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStore,
    commit::ATTEMPTS,
    login::{GENERATION, check_user, user_of},
};

/// A user whose generation was read together with a session, and the result.
pub(super) struct Asked {
    pub(super) user: std::sync::Arc<str>,
    pub(super) generation: Option<Bytes>,
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Ends all sessions of a user, in one step for any number of sessions: "log out everywhere".
    ///
    /// It does not depend on the list of the user's [sessions](Self::sessions). The user gets a new
    /// generation, a random value stored under `{project}:{key_prefix}-generation:{user}`. A
    /// session holds the generation of its login, and [`load`](Self::load) treats a session of
    /// another generation as missing. The records themselves expire with their times to live.
    ///
    /// The store remembers the users of about 60,000 sessions. For a remembered session, a load
    /// reads the generation together with the session, in one round trip, and verifies the user.
    /// The first load of a session takes two round trips. Each user who was ever revoked costs one
    /// small record. The record does not expire, because an old session could outlive it. Do not
    /// let the store evict it.
    ///
    /// # With Django
    ///
    /// Django's own `login` writes no generation, like a login of a user who was never revoked.
    /// `revoke_all` therefore ends sessions that Django started too. For Django to honour a
    /// revocation, it must check the generation. For its logins to be valid here after the user's
    /// first `revoke_all`, it must write the generation. `examples/django/codex_sessions.py` shows
    /// both in ten lines.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the backend fails; the sessions may have been ended then.
    /// [`SessionError::Generator`] if the random generator fails. [`SessionError::InvalidArgument`]
    /// if the user id is empty.
    pub async fn revoke_all(&self, user: &str) -> Result<(), SessionError> {
        // An unconditional write is never refused.
        self.new_generation(user, Condition::Always).await.map(drop)
    }

    /// Gives the user a new generation, and the session with it, so that all other sessions of the
    /// user end. The caller saves the session. Fails with `Gone` if the session was revoked since
    /// it was loaded, so that it does not become valid again.
    pub(super) async fn end_all_but(&self, session: &mut Session, user: &str) -> Result<(), SessionError> {
        let mut current = generation_of(&session.data);
        for _ in 0..ATTEMPTS {
            let condition = current.map_or(Condition::IfAbsent, |current| Condition::IfEquals(current.into()));
            if let Some(generation) = self.new_generation(user, condition).await? {
                return session.insert(GENERATION, &generation);
            }
            // Another request of the same browser may have ended the other sessions meanwhile.
            let key = session.key.as_ref().ok_or(SessionError::Gone)?;
            let fresh = self.load(key).await?;
            let fresh = fresh.filter(|fresh| user_of(&fresh.data).as_deref() == Some(user));
            current = generation_of(&fresh.ok_or(SessionError::Gone)?.data);
        }
        Err(SessionError::Conflict)
    }

    /// Gives the user a new generation that no session has, and returns it. Returns `None` if the
    /// current generation does not meet the condition.
    async fn new_generation(&self, user: &str, condition: Condition) -> Result<Option<String>, SessionError> {
        check_user(user)?;
        // Random rather than a counter: if a counter was lost and restarted, old sessions would
        // become valid again.
        let generation = SessionKey::generate()?.as_str().to_owned();
        let record = self.generation_record(user);
        let value = Bytes::copy_from_slice(generation.as_bytes());
        let options = SetOptions::new().with_condition(condition);
        let written = self.backend().set(&record, value, options).await?;
        Ok(written.is_written().then_some(generation))
    }

    /// Returns whether the user of a session was revoked since the login. `asked` is the user's
    /// generation, if it was read together with the session.
    pub(super) async fn is_revoked(
        &self,
        user: &str,
        data: &SessionData,
        asked: Option<Asked>,
    ) -> Result<bool, SessionError> {
        let current = match asked {
            Some(asked) => asked.generation.as_ref().map(text_of),
            None => self.generation(user).await?,
        };
        Ok(current != generation_of(data))
    }

    pub(super) fn generation(
        &self,
        user: &str,
    ) -> impl Future<Output = Result<Option<String>, SessionError>> + Send + use<'_, B, C> {
        let record = self.generation_record(user);
        async move { Ok(self.backend().get(&record).await?.as_ref().map(text_of)) }
    }
}

/// Returns the generation of a session's user at the login.
pub(super) fn generation_of(data: &SessionData) -> Option<String> {
    data.get::<String>(GENERATION).ok().flatten()
}

pub(super) fn text_of(stored: &Bytes) -> String {
    String::from_utf8_lossy(stored).into_owned()
}
