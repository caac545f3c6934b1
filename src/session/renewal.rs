//! Renewal of sessions on use.

use codex_traits::KvBackend;

use super::{Session, SessionCodec, SessionError, SessionStore};

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Returns whether use should renew the session: the store has an
    /// [`idle_timeout`](super::SessionStoreBuilder::idle_timeout) or a
    /// [`touch_interval`](super::SessionStoreBuilder::touch_interval), and the last renewal is at
    /// least that interval ago. Does no I/O.
    pub fn renewal_is_due(&self, session: &Session) -> bool {
        if session.key().is_none() || session.stored.is_none() || !self.policy().renews() {
            return false;
        }
        let now = self.now();
        let Some((left, seen)) = session.left else {
            return true;
        };
        let left = left.saturating_sub(now.duration_since(seen).unwrap_or_default());
        self.policy().renewal_is_due(left, session.expiry_age_at(now))
    }

    pub(crate) fn renews(&self) -> bool {
        self.policy().renews()
    }

    /// Renews the session's time to live if the renewal [is due](Self::renewal_is_due), without
    /// writing its data. Returns whether it did. If so, the caller must send the cookie again.
    ///
    /// Call it at the end of each request that used the session without saving it; a save renews
    /// too. A session that was ended elsewhere is not renewed, which is not an error. A session
    /// whose expiry has passed is removed instead, as [`touch`](Self::touch) does.
    ///
    /// # Errors
    ///
    /// [`SessionError::Backend`] if the store fails.
    pub async fn renew(&self, session: &mut Session) -> Result<bool, SessionError> {
        if !self.renewal_is_due(session) {
            return Ok(false);
        }
        match self.touch(session).await {
            Ok(()) => {
                let now = self.now();
                let age = session.expiry_age_at(now);
                session.left = Some((age, now));
                Ok(!age.is_zero())
            }
            // Another client has ended the session, or has saved it, which renews it.
            Err(SessionError::Gone | SessionError::Conflict) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
