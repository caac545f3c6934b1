//! The session of a request, as middleware sees it: begun with the request's cookie, finished with
//! the response's status.

use std::{fmt, ops::Deref};

use codex_traits::KvBackend;

use super::{CookieHeader, Session, Sessions};
use crate::session::{SessionCodec, SessionError, SessionKey, SessionStore};

/// The session of a request, for a middleware of any framework.
///
/// [`begin`](Self::begin) it with the request's `Cookie` header, give the handler a clone of
/// [`session`](Self::session), and [`finish`](Self::finish) it with the status of the response.
/// This type implements all rules: the session is loaded on first access, `finish` saves and merges
/// changes and gives a login its new key, and a response with status 500 or above saves nothing.
///
/// ```
/// use codex_kv::{AnyBackend, Login, SessionError, SessionStore, web::RequestSession};
///
/// async fn serve(
///     store: &SessionStore<AnyBackend>,
///     cookie: Option<&str>,
/// ) -> Result<(), SessionError> {
///     let request = RequestSession::begin(store, cookie);
///
///     // The handler's part.
///     request.login(&Login::new("42")).await?;
///     let mut status = 200;
///
///     let outcome = request.finish(status).await;
///     if let Some(error) = &outcome.error {
///         status = error.status_code(); // in place of the handler's response
///     }
///     if let Some(set_cookie) = &outcome.set_cookie {
///         // add `Set-Cookie` to the response
///     }
///     if outcome.vary {
///         // add `Vary: Cookie`
///     }
///     Ok(())
/// }
/// ```
///
/// Dropping the request before it is finished saves nothing.
#[must_use = "nothing is saved before `finish`"]
pub struct RequestSession {
    session: Session,
}

/// The cookie of the response, and whether the response has to be replaced.
#[derive(Default)]
#[must_use = "the response needs the cookie"]
#[non_exhaustive]
pub struct Outcome {
    /// The value of a `Set-Cookie` header to add.
    pub set_cookie: Option<String>,
    /// Whether the response depends on the request's cookie and needs `Vary: Cookie`, so that no
    /// shared cache serves it to another visitor.
    pub vary: bool,
    /// The reason why the session was not saved. If it is set, the handler's response is wrong:
    /// send one with [`status_code`](SessionError::status_code) in its place. Always `None` if the
    /// handler itself failed.
    pub error: Option<SessionError>,
}

impl RequestSession {
    /// Begins the session of a request, with the default [`SessionCookie`](super::SessionCookie).
    /// Does no I/O. For other settings use [`Sessions::begin`].
    pub fn begin<B: KvBackend, C: SessionCodec>(store: &SessionStore<B, C>, cookie_header: impl CookieHeader) -> Self {
        Sessions::new(store.clone()).begin(cookie_header)
    }

    pub(super) fn new(sessions: Sessions, presented: Option<SessionKey>) -> Self {
        Self {
            session: Session::new(sessions, presented),
        }
    }

    /// Returns the session for the handler. All clones refer to the same session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Saves the session, and returns its effects on the response. Every later call on the session
    /// fails with [`SessionError::Finished`].
    ///
    /// With a `status` of 500 or above, or 408 (a timeout cancelled the handler), nothing is saved.
    /// A [flush](Session::flush) has already happened by then and is not undone.
    ///
    /// A status of 408 or 504 that discards changes is logged as a warning, because it indicates a
    /// timeout inside the session layer.
    pub async fn finish(self, status: u16) -> Outcome {
        if matches!(status, 408 | 504) && self.session.has_changes().await {
            tracing::warn!(
                status,
                "a timeout cut a handler short, and its changes to the session are not saved; put the timeout outside the \
                 session layer, so that it can answer with any status"
            );
        }
        self.end(status >= 500 || status == 408).await
    }

    /// Ends the request without saving. Use it for a handler that failed with a [`SessionError`],
    /// regardless of the status of its response.
    pub async fn finish_without_saving(self) -> Outcome {
        self.end(true).await
    }

    async fn end(self, failed: bool) -> Outcome {
        let outcome = self.session.finish(failed).await;
        if let Some(error) = &outcome.error {
            tracing::warn!(reason = %error, "a request failed on its session");
        }
        outcome
    }
}

/// Gives access to the methods of the session.
impl Deref for RequestSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for RequestSession {
    fn drop(&mut self) {
        self.session.close();
    }
}

impl fmt::Debug for RequestSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestSession").finish_non_exhaustive()
    }
}

// Omits the cookie, which contains the key.
impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("set_cookie", &self.set_cookie.as_ref().map(|_| ".."))
            .field("vary", &self.vary)
            .field("error", &self.error)
            .finish()
    }
}
