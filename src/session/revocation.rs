//! An end to all sessions of a user at once.

use std::future::Future;

use bytes::Bytes;
use codex_traits::{KvBackend, SetOptions};

use super::{
    SessionCodec, SessionData, SessionError, SessionKey, SessionStore,
    login::{GENERATION, user_of},
};

/// A user whose generation was asked for together with a session, and the answer.
pub(super) struct Asked {
    pub(super) user: std::sync::Arc<str>,
    pub(super) generation: Option<Bytes>,
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Ends all sessions of a user at once, in one step however many there are: "log out
    /// everywhere".
    ///
    /// It does not depend on the list of the user's [sessions](Self::sessions). The user gets a new
    /// generation, a random value stored under `{project}:{key_prefix}-generation:{user}`; a
    /// session says which generation it was logged in under, and [`load`](Self::load) takes one of
    /// another generation for missing. The records themselves expire in their time.
    ///
    /// A load asks for the generation together with the session, in one round trip, once this store
    /// has seen the session: it remembers of some 60,000 sessions whose they are, and verifies that
    /// with what it loads. The first load takes two. Every user who was ever revoked costs one
    /// small record that does not expire: an old session could outlive it otherwise. Do not let the
    /// store evict it.
    ///
    /// # With Django
    ///
    /// A session of Django's own `login` says no generation, which is the generation of a user who
    /// was never revoked. So it is ended here like any other. For Django to heed the generation,
    /// and for its logins to be valid here after the user's first `revoke_all`, it has to check and
    /// to write it: `examples/django/codex_sessions.py` shows both, in ten lines.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails; perhaps the sessions are ended then.
    /// [`SessionError::Generator`].
    pub async fn revoke_all(&self, user: &str) -> Result<(), SessionError> {
        self.new_generation(user).await.map(drop)
    }

    /// Gives the user a generation that no session has yet.
    pub(super) async fn new_generation(&self, user: &str) -> Result<String, SessionError> {
        // Random and not counted: a count that was lost and begun anew would bring old sessions
        // back.
        let generation = SessionKey::generate()?.as_str().to_owned();
        let record = self.generation_record(user);
        let value = Bytes::copy_from_slice(generation.as_bytes());
        // An unconditional write is never refused.
        let _written = self.backend().set(&record, value, SetOptions::new()).await?;
        Ok(generation)
    }

    /// Returns whether the session's user was revoked since the login. What was asked already
    /// counts where it is of that user.
    pub(super) async fn is_revoked(&self, data: &SessionData, asked: Option<Asked>) -> Result<bool, SessionError> {
        let Some(user) = user_of(data) else {
            return Ok(false);
        };
        let current = match asked {
            Some(asked) if *asked.user == *user => asked.generation.as_ref().map(text_of),
            _ => self.generation(&user).await?,
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

/// Returns the generation that a session was logged in under.
pub(super) fn generation_of(data: &SessionData) -> Option<String> {
    data.get::<String>(GENERATION).ok().flatten()
}

fn text_of(stored: &Bytes) -> String {
    String::from_utf8_lossy(stored).into_owned()
}
