//! Changes to a session that somebody else may have changed since it was loaded.

use codex_traits::KvBackend;

use super::{Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStore, login::user_of};

/// The number of times that a change is tried on top of others' changes. Each failure means that
/// somebody else's change was stored meanwhile, so that a task fails only where it loses to a
/// thousand others in a row: more than any session's writers have between them.
pub(super) const ATTEMPTS: usize = 1_000;

/// The part of a session that is to be stored.
#[derive(Clone, Copy)]
pub(super) enum Write<'a> {
    /// All of it, under its key.
    Save,
    /// The same while the generation of this user, whose session it is, is being replaced: what is
    /// stored may be of the one before.
    SaveAs(&'a str),
    /// All of it, under a new key.
    Cycle,
    /// The state that a request has left.
    Request(KeyOnCommit),
}

/// The session's key after a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum KeyOnCommit {
    #[default]
    Keep,
    /// A new key, the data stays.
    Cycle,
}

impl Write<'_> {
    fn goes_on_alone(self, session: &Session) -> bool {
        match self {
            Self::Request(key) => key == KeyOnCommit::Cycle || session.holds_nothing(),
            _ => false,
        }
    }
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Loads the session, applies `change`, saves it, and begins again where somebody else's change
    /// came in between. Returns what `change` returned last.
    ///
    /// `change` can run many times, so it should do nothing but change the session. Where it fails
    /// nothing is saved.
    ///
    /// ```
    /// # use codex_kv::{KvBackend, session::*};
    /// # async fn count<B: KvBackend>(
    /// #     store: &SessionStore<B>,
    /// #     key: &SessionKey,
    /// # ) -> Result<(), SessionError> {
    /// let visits = store
    ///     .update(key, |session| {
    ///         let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    ///         session.insert("visits", visits)?;
    ///         Ok(visits)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Gone`] if the session is missing or cannot be read,
    /// [`SessionError::Conflict`] if a thousand attempts in a row lost to somebody else, what
    /// `change` failed with, and whatever [`save`](Self::save) fails with.
    pub async fn update<T, F>(&self, key: &SessionKey, mut change: F) -> Result<T, SessionError>
    where
        T: Send,
        F: FnMut(&mut Session) -> Result<T, SessionError> + Send,
    {
        for _ in 0..ATTEMPTS {
            let mut session = self.load(key).await?.ok_or(SessionError::Gone)?;
            let result = change(&mut session)?;
            match self.save(&mut session).await {
                Err(SessionError::Conflict) => {}
                saved => return saved.map(|()| result),
            }
        }
        Err(SessionError::Conflict)
    }

    /// Stores the session as [`save`](Self::save) does, but merges where it was changed elsewhere:
    /// it is loaded again, the changes made here are made there, name by name, and that is stored.
    /// The session then holds both sides' changes.
    ///
    /// If both sides changed a name, the value of this side counts, as if this side had come
    /// later. A value that is computed from the one before it (a counter) is for
    /// [`Session::update`]: it is computed again here.
    ///
    /// ```
    /// # use codex_kv::{KvBackend, session::*};
    /// # async fn both<B: KvBackend>(
    /// #     store: &SessionStore<B>,
    /// #     key: &SessionKey,
    /// # ) -> Result<(), SessionError> {
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
    /// [`SessionError::Gone`] if it was deleted elsewhere or can no longer be read,
    /// [`SessionError::Conflict`] if a thousand attempts in a row lost to somebody else, and
    /// whatever [`save`](Self::save) fails with. The session may hold others' changes then too.
    pub async fn save_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        self.write(session, Write::Save).await.map(drop)
    }

    /// Cycles the key as [`cycle_key`](Self::cycle_key) does, and merges as
    /// [`save_merged`](Self::save_merged) does.
    ///
    /// # Errors
    ///
    /// As of both.
    pub async fn cycle_key_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        self.write(session, Write::Cycle).await.map(drop)
    }

    /// Stores what a request has done to its session, or removes the record if nothing is left in
    /// it; either way only on top of what others saved. Returns whether it has removed the record
    /// of the old key without storing another.
    pub(crate) async fn commit(&self, session: &mut Session, key: KeyOnCommit) -> Result<bool, SessionError> {
        self.write(session, Write::Request(key)).await
    }

    /// Saves and, if somebody else has changed the session, merges and tries again, in a loop.
    /// Returns whether it has removed a record without storing another.
    pub(super) async fn write(&self, session: &mut Session, write: Write<'_>) -> Result<bool, SessionError> {
        for _ in 0..ATTEMPTS {
            let had_record = session.is_stored();
            let mut result = self.try_once(session, write).await;
            if matches!(result, Err(SessionError::Conflict)) {
                result = match self.rebase(session, write).await {
                    Ok(()) => continue,
                    rebased => rebased,
                };
            }
            match result {
                // The record that was to be removed is not there any more; or a second login of the
                // same browser came first and cycled the key, and this one goes into a session of
                // its own: with the changes of this request, and nothing of the session that has
                // ended.
                Err(SessionError::Gone) if write.goes_on_alone(session) => session.detach()?,
                result => return result.map(|()| had_record && !session.is_stored()),
            }
        }
        Err(SessionError::Conflict)
    }

    async fn try_once(&self, session: &mut Session, write: Write<'_>) -> Result<(), SessionError> {
        match write {
            // Asked each time: a merge can put into an empty session what another request has
            // added.
            Write::Request(_) if session.holds_nothing() => self.discard(session).await,
            Write::Cycle | Write::Request(KeyOnCommit::Cycle) => self.cycle_key(session).await,
            Write::Save | Write::SaveAs(_) | Write::Request(KeyOnCommit::Keep) => self.save(session).await,
        }
    }

    /// Puts the session's unsaved changes on top of what is stored now.
    async fn rebase(&self, session: &mut Session, write: Write<'_>) -> Result<(), SessionError> {
        let key = session.key.as_ref().ok_or(SessionError::Gone)?;
        let fresh = match write {
            Write::SaveAs(user) => {
                let fresh = self.load_unrevoked(key).await?;
                fresh.filter(|fresh| user_of(&fresh.data).as_deref() == Some(user))
            }
            _ => self.load(key).await?,
        };
        let fresh = fresh.ok_or(SessionError::Gone)?;
        session.data = session.changes.applied_to(fresh.data, &session.data)?;
        session.stored = fresh.stored;
        session.left = fresh.left;
        Ok(())
    }

    /// Removes the record where it is still what was loaded, and leaves a session without a key.
    async fn discard(&self, session: &mut Session) -> Result<(), SessionError> {
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
    fn detach(&mut self) -> Result<(), SessionError> {
        self.data = self.changes.applied_to(SessionData::new(), &self.data)?;
        self.key = None;
        self.stored = None;
        Ok(())
    }
}
