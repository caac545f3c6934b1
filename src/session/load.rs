//! Loads of sessions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use codex_traits::{KvBackend, Ttl};
use futures_util::future::try_join;

use super::{Session, SessionCodec, SessionError, SessionKey, SessionStore, login::user_of, revocation::Asked};

/// A stored record and the values that were read together with it.
struct Found {
    payload: Bytes,
    left: Option<Duration>,
    asked: Option<Asked>,
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Returns the session with this key. Returns `None` if the session is missing, expired or
    /// unreadable, if its user was [revoked](Self::revoke_all) since its login, if its login has
    /// ended, or if its own expiry date has passed. Creates nothing.
    ///
    /// An unreadable session (signed with another secret, damaged, beyond the size limit) is logged
    /// as a warning, without its key and payload. A store that is set to
    /// [fail](super::SessionStoreBuilder::fail_on_unreadable) returns an error instead.
    ///
    /// A load takes one round trip, except for this store's first load of a logged-in session; see
    /// [`revoke_all`](Self::revoke_all).
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the backend fails. [`SessionError::Codec`] or
    /// [`SessionError::TooLarge`] for an unreadable session, if the store is set to fail on it.
    pub async fn load(&self, key: &SessionKey) -> Result<Option<Session>, SessionError> {
        let presumed = self.users().get(key);
        let Some((session, asked)) = self.read(key, presumed).await? else {
            return Ok(None);
        };
        let Some(user) = user_of(&session.data) else {
            if asked.is_some() {
                self.users().forget(key);
            }
            return Ok(Some(session));
        };
        let asked = asked.filter(|asked| *asked.user == *user);
        if asked.is_none() {
            self.users().remember(key, &user);
        }
        let is_revoked = self.is_revoked(&user, &session.data, asked).await?;
        Ok((!is_revoked).then_some(session))
    }

    /// Loads like [`load`](Self::load), but ignores the generation of the session.
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
            Ok(data) if self.policy().is_over(&data, now) => Ok(None),
            Ok(data) => {
                let session = self.session_of(data);
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

    /// Reads the record. In the same round trip it reads the time to live if sessions are renewed,
    /// and the generation of the session's presumed user.
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
}
