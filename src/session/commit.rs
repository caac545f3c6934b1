//! Changes to a session that another client may have changed since it was loaded.

use codex_traits::KvBackend;

use super::{
    Session, SessionCodec, SessionData, SessionError, SessionKey, SessionStore,
    login::{USER, user_of},
};

/// The number of attempts to store a change. Each failed attempt means that another client's change
/// was stored meanwhile. No realistic number of concurrent writers makes a task lose a thousand
/// times in a row.
pub(super) const ATTEMPTS: usize = 1_000;

/// The part of a session to store.
#[derive(Clone, Copy)]
pub(super) enum Write<'a> {
    /// The whole session, under its key.
    Save,
    /// The whole session of this user, whose generation is being replaced. The stored record may
    /// still belong to the previous generation.
    SaveAs(&'a str),
    /// The whole session, under a new key.
    Cycle,
    /// The state of a session after a request.
    Request(KeyOnCommit),
    /// The same for a session of this user, whose generation is being replaced.
    RequestAs(KeyOnCommit, &'a str),
}

/// The session's key after a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum KeyOnCommit {
    #[default]
    Keep,
    /// A new key with the same data.
    Cycle,
}

impl Write<'_> {
    fn goes_on_alone(self, session: &Session) -> bool {
        match self {
            Self::Request(key) => key == KeyOnCommit::Cycle || session.holds_nothing(),
            // Only a login of this request is a login without the record.
            Self::RequestAs(..) => session.logs_in(),
            _ => false,
        }
    }
}

impl<B: KvBackend, C: SessionCodec> SessionStore<B, C> {
    /// Loads the session, applies `change` and saves it. Repeats all steps if another client
    /// changed the session meanwhile. Returns the result of the last call of `change`.
    ///
    /// `change` can run many times, so it should only change the session. If it fails, nothing is
    /// saved.
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
    /// [`SessionError::Conflict`] if a thousand attempts in a row lost to other clients, the error
    /// of `change`, and the errors of [`save`](Self::save).
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

    /// Stores the session like [`save`](Self::save), but merges if the session was changed
    /// elsewhere. A merge loads the session again, applies the changes of this session name by
    /// name, and stores the result. The session then holds the changes of both sides.
    ///
    /// If both sides changed a name, this side's value wins, as if it had been set later. For a
    /// value that is computed from its previous value (a counter), use
    /// [`Session::update`]: a merge computes it again.
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
    /// [`SessionError::Gone`] if the session was deleted elsewhere or can no longer be read,
    /// [`SessionError::Conflict`] if a thousand attempts in a row lost to other clients, and the
    /// errors of [`save`](Self::save). After an error, the session may already hold the changes of
    /// other clients.
    pub async fn save_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        self.write(session, Write::Save).await.map(drop)
    }

    /// Gives the session a new key like [`cycle_key`](Self::cycle_key), and merges like
    /// [`save_merged`](Self::save_merged).
    ///
    /// # Errors
    ///
    /// The errors of both methods.
    pub async fn cycle_key_merged(&self, session: &mut Session) -> Result<(), SessionError> {
        self.write(session, Write::Cycle).await.map(drop)
    }

    /// Stores the changes of a request to its session, or removes the record if the session is
    /// empty. Both merge with the changes of other requests. Returns whether it removed the record
    /// of the old key without storing a new record.
    pub(crate) async fn commit(&self, session: &mut Session, key: KeyOnCommit) -> Result<bool, SessionError> {
        self.write(session, Write::Request(key)).await
    }

    /// Ends all other sessions of the user, and stores the changes of a request like
    /// [`commit`](Self::commit). A session to which the user is no longer logged in is not spared.
    pub(crate) async fn commit_alone(
        &self,
        session: &mut Session,
        key: KeyOnCommit,
        user: &str,
    ) -> Result<bool, SessionError> {
        if user_of(&session.data).as_deref() != Some(user) {
            self.revoke_all(user).await?;
            return self.commit(session, key).await;
        }
        self.end_all_but(session, user).await?;
        let removed = self.write(session, Write::RequestAs(key, user)).await?;
        self.list_again(session).await;
        Ok(removed)
    }

    /// Saves the session. If another client has changed it, merges and retries in a loop. Returns
    /// whether it removed a record without storing a new record.
    ///
    /// Everything except the save is boxed, so that it does not enlarge the future of a plain save.
    pub(super) async fn write(&self, session: &mut Session, write: Write<'_>) -> Result<bool, SessionError> {
        for _ in 0..ATTEMPTS {
            let had_record = session.is_stored();
            let mut result = self.try_once(session, write).await;
            if matches!(result, Err(SessionError::Conflict)) {
                result = match Box::pin(self.rebase(session, write)).await {
                    Ok(()) => continue,
                    rebased => rebased,
                };
            }
            match result {
                // Either the record to remove is already gone, or a second login of the same
                // browser was faster and cycled the key. In the second case this login gets a
                // session of its own, with the changes of this request and no data of the session
                // that has ended.
                Err(SessionError::Gone) if write.goes_on_alone(session) => session.detach()?,
                result => return result.map(|()| had_record && !session.is_stored()),
            }
        }
        Err(SessionError::Conflict)
    }

    async fn try_once(&self, session: &mut Session, write: Write<'_>) -> Result<(), SessionError> {
        match write {
            // Checked in each iteration: a merge can add another request's values to an empty
            // session.
            Write::Request(_) if session.holds_nothing() => Box::pin(self.discard(session)).await,
            Write::Cycle | Write::Request(KeyOnCommit::Cycle) | Write::RequestAs(KeyOnCommit::Cycle, _) => {
                Box::pin(self.cycle_key(session)).await
            }
            Write::Save
            | Write::SaveAs(_)
            | Write::Request(KeyOnCommit::Keep)
            | Write::RequestAs(KeyOnCommit::Keep, _) => self.save(session).await,
        }
    }

    /// Applies the session's unsaved changes to the record that is stored now.
    async fn rebase(&self, session: &mut Session, write: Write<'_>) -> Result<(), SessionError> {
        let key = session.key.as_ref().ok_or(SessionError::Gone)?;
        let fresh = match write {
            Write::SaveAs(user) | Write::RequestAs(_, user) => {
                let fresh = self.load_unrevoked(key).await?;
                // Before a login of this request, the stored session has no user.
                fresh.filter(|fresh| user_of(&fresh.data).map_or(session.logs_in(), |stored| stored == user))
            }
            _ => self.load(key).await?,
        };
        let fresh = fresh.ok_or(SessionError::Gone)?;
        session.data = session.changes.applied_to(fresh.data, &session.data)?;
        session.stored = fresh.stored;
        session.left = fresh.left;
        Ok(())
    }

    /// Removes the record if it still equals the loaded record, and leaves a session without a key.
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
    /// Returns whether the unsaved changes include a login.
    fn logs_in(&self) -> bool {
        self.changes.include(USER) && self.data.contains_key(USER)
    }

    /// Reduces the session to its unsaved changes, as a session that is not stored yet.
    fn detach(&mut self) -> Result<(), SessionError> {
        self.data = self.changes.applied_to(SessionData::new(), &self.data)?;
        self.key = None;
        self.stored = None;
        Ok(())
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use codex_traits::AnyBackend;

    use super::*;
    use crate::{DjangoSigned, memory::MemoryBackend};

    /// The largest block that glibc allocates from its per-thread cache.
    const CACHED: usize = 1_032;

    #[test]
    fn the_futures_of_usual_calls_are_small() {
        let builder = SessionStore::builder(AnyBackend::new(MemoryBackend::new()));
        let store = builder.codec(DjangoSigned::new("a secret")).build().unwrap();
        let mut session = store.new_session();
        let key = SessionKey::generate().unwrap();
        let load = size_of_val(&store.load(&key));
        let save = size_of_val(&store.save(&mut session));
        let commit = size_of_val(&store.commit(&mut session, KeyOnCommit::Keep));
        assert!(
            [load, save, commit].iter().all(|size| *size <= CACHED),
            "load {load}, save {save}, commit {commit}"
        );
    }
}
