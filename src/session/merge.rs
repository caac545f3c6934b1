//! What becomes of a session's changes where somebody else has changed it since it was loaded.

use codex_traits::KvBackend;

use super::{Session, SessionCodec, SessionError, SessionStore, store::UPDATE_ATTEMPTS};

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Stores the session as [`save`](Self::save) does, but merges where it was changed elsewhere: it is loaded again, the
    /// changes made here are made there, name by name, and that is stored. The session then holds both sides' changes.
    ///
    /// Of a name that both sides changed, the value of this side counts, as if this side had come later. A value that is computed
    /// from the one before it (a counter) is for [`Session::update`]: it is computed again here.
    ///
    /// ```
    /// # use codex_kv::{KvBackend, session::*};
    /// # async fn both<B: KvBackend>(store: &SessionStore<B>, key: &SessionKey) -> Result<(), SessionError> {
    /// let mut here = store.load(key).await?.ok_or(SessionError::Gone)?;
    /// let mut there = store.load(key).await?.ok_or(SessionError::Gone)?;
    /// there.insert("theme", "dark")?;
    /// store.save(&mut there).await?;
    ///
    /// here.insert("language", "eo")?;
    /// store.save_merged(&mut here).await?;
    /// assert_eq!(here.get::<String>("theme")?.as_deref(), Some("dark"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] where it was deleted elsewhere or can no longer be read, [`SessionError::Conflict`] where a
    /// thousand attempts in a row lost to somebody else, and whatever [`save`](Self::save) fails with. The session may hold
    /// others' changes then too.
    pub async fn save_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        for _ in 0..UPDATE_ATTEMPTS {
            match self.save(session).await {
                Err(SessionError::Conflict) => self.rebase(session).await?,
                saved => return saved,
            }
        }
        Err(SessionError::Conflict)
    }

    /// [`cycle_key`](Self::cycle_key), merging as [`save_merged`](Self::save_merged) does.
    ///
    /// # Errors
    ///
    /// As of both.
    pub async fn cycle_key_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        for _ in 0..UPDATE_ATTEMPTS {
            match self.cycle_key(session).await {
                Err(SessionError::Conflict) => self.rebase(session).await?,
                cycled => return cycled,
            }
        }
        Err(SessionError::Conflict)
    }

    /// Puts the session's unsaved changes on top of what is stored now.
    pub(crate) async fn rebase(&self, session: &mut Session) -> Result<(), SessionError> {
        let key = session.key.as_ref().ok_or(SessionError::Gone)?;
        let fresh = self.load(key).await?.ok_or(SessionError::Gone)?;
        session.data = session.changes.applied_to(fresh.data, &session.data)?;
        session.stored = fresh.stored;
        Ok(())
    }

    /// Removes the record where it is still what was loaded, and leaves a session without a key.
    pub(crate) async fn discard(&self, session: &mut Session) -> Result<(), SessionError> {
        if let (Some(key), Some(stored)) = (&session.key, &session.stored) {
            self.remove_exactly(&self.record(key), stored).await?;
        }
        session.key = None;
        session.stored = None;
        session.mark_saved();
        Ok(())
    }
}

impl Session {
    /// Leaves the unsaved changes alone, as a session that is not stored yet.
    pub(crate) fn detach(&mut self) -> Result<(), SessionError> {
        self.data = self.changes.applied_to(super::SessionData::new(), &self.data)?;
        self.key = None;
        self.stored = None;
        Ok(())
    }
}
