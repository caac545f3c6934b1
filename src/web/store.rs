//! The store without its type parameters, so that a handler's argument has none.

use std::{future::Future, pin::Pin};

use codex_traits::KvBackend;

use crate::session::{Login, Session, SessionCodec, SessionError, SessionKey, SessionStore};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How often a commit merges before it gives up, as often as the store's own merging does.
const ATTEMPTS: usize = 1_000;

/// The operations of a request on its session.
pub(super) trait Store: Send + Sync {
    fn new_session(&self) -> Session;
    fn load<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<Option<Session>, SessionError>>;
    fn touch<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), SessionError>>;
    fn delete<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<bool, SessionError>>;
    /// Prepares the login, and returns the key of another user's session, which is to be deleted afterwards.
    fn login<'a>(
        &'a self,
        session: &'a mut Session,
        login: &'a Login,
    ) -> BoxFuture<'a, Result<Option<SessionKey>, SessionError>>;
    /// Whether it has removed the record of the session's old key without storing another.
    fn commit<'a>(&'a self, session: &'a mut Session, key: KeyOnCommit) -> BoxFuture<'a, Result<bool, SessionError>>;
}

/// The session's key after it is saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum KeyOnCommit {
    #[default]
    Keep,
    /// A new key, the data stays.
    Cycle,
}

impl<B: KvBackend, C: SessionCodec> Store for SessionStore<B, C> {
    fn new_session(&self) -> Session {
        self.new_session()
    }

    fn load<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<Option<Session>, SessionError>> {
        Box::pin(self.load(key))
    }

    fn touch<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), SessionError>> {
        Box::pin(self.touch(session))
    }

    fn delete<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<bool, SessionError>> {
        Box::pin(self.delete(key))
    }

    fn login<'a>(
        &'a self,
        session: &'a mut Session,
        login: &'a Login,
    ) -> BoxFuture<'a, Result<Option<SessionKey>, SessionError>> {
        Box::pin(self.prepare_login(session, login))
    }

    fn commit<'a>(&'a self, session: &'a mut Session, key: KeyOnCommit) -> BoxFuture<'a, Result<bool, SessionError>> {
        Box::pin(commit(self, session, key))
    }
}

/// Saves the session, or removes the record if nothing is left in it; either way only on top of what others saved.
async fn commit<B: KvBackend, C: SessionCodec>(
    store: &SessionStore<B, C>,
    session: &mut Session,
    key: KeyOnCommit,
) -> Result<bool, SessionError> {
    for _ in 0..ATTEMPTS {
        let had_record = session.is_stored();
        // Asked each time: a merge can put into an empty session what another request has added.
        let step = if session.holds_nothing() {
            store.discard(session).await
        } else if key == KeyOnCommit::Cycle {
            store.cycle_key(session).await
        } else {
            store.save(session).await
        };
        let step = match step {
            Err(SessionError::Conflict) => match store.rebase(session).await {
                Ok(()) => continue,
                rebased => rebased,
            },
            step => step,
        };
        match step {
            // The record that was to be removed is not there any more; or a second login of the same browser came first and
            // cycled the key, and this one goes into a session of its own: with the changes of this request, and nothing of the
            // session that has ended.
            Err(SessionError::Gone) if key == KeyOnCommit::Cycle || session.holds_nothing() => session.detach()?,
            step => return step.map(|()| had_record && !session.is_stored()),
        }
    }
    Err(SessionError::Conflict)
}
