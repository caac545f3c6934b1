//! A session store without type parameters, so that the `Session` argument of a handler has none.

use std::{future::Future, pin::Pin};

use codex_traits::KvBackend;

use crate::session::{KeyOnCommit, Login, Session, SessionCodec, SessionError, SessionKey, SessionStore};

pub(super) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The session operations of a request.
pub(super) trait Store: Send + Sync {
    fn new_session(&self) -> Session;
    fn load<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<Option<Session>, SessionError>>;
    fn touch<'a>(&'a self, session: &'a Session) -> BoxFuture<'a, Result<(), SessionError>>;
    /// Returns whether use renews sessions at intervals.
    fn renews(&self) -> bool;
    fn renew<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<bool, SessionError>>;
    fn delete<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<bool, SessionError>>;
    /// Prepares the login. After the commit, the caller ends the sessions that it replaced.
    fn login<'a>(&'a self, session: &'a mut Session, login: &'a Login) -> BoxFuture<'a, Result<(), SessionError>>;
    fn end_replaced<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<(), SessionError>>;
    /// Stores the changes of a request. Returns whether it removed the record of the session's old
    /// key without storing a new record.
    fn commit<'a>(&'a self, session: &'a mut Session, key: KeyOnCommit) -> BoxFuture<'a, Result<bool, SessionError>>;
    /// Does the same, and ends all other sessions of the user.
    fn commit_alone<'a>(
        &'a self,
        session: &'a mut Session,
        key: KeyOnCommit,
        user: &'a str,
    ) -> BoxFuture<'a, Result<bool, SessionError>>;
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

    fn renews(&self) -> bool {
        self.renews()
    }

    fn renew<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<bool, SessionError>> {
        Box::pin(self.renew(session))
    }

    fn delete<'a>(&'a self, key: &'a SessionKey) -> BoxFuture<'a, Result<bool, SessionError>> {
        Box::pin(self.delete(key))
    }

    fn login<'a>(&'a self, session: &'a mut Session, login: &'a Login) -> BoxFuture<'a, Result<(), SessionError>> {
        Box::pin(self.prepare_login(session, login))
    }

    fn end_replaced<'a>(&'a self, session: &'a mut Session) -> BoxFuture<'a, Result<(), SessionError>> {
        Box::pin(self.end_replaced(session))
    }

    fn commit<'a>(&'a self, session: &'a mut Session, key: KeyOnCommit) -> BoxFuture<'a, Result<bool, SessionError>> {
        Box::pin(self.commit(session, key))
    }

    fn commit_alone<'a>(
        &'a self,
        session: &'a mut Session,
        key: KeyOnCommit,
        user: &'a str,
    ) -> BoxFuture<'a, Result<bool, SessionError>> {
        Box::pin(self.commit_alone(session, key, user))
    }
}
