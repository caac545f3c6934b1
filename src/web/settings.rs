//! The settings that all requests of a service share.

use std::{fmt, sync::Arc};

use codex_traits::KvBackend;

use super::{CookieHeader, RequestSession, SessionCookie, store::Store};
use crate::session::{SessionCodec, SessionError, SessionStore};

/// A store together with its cookie: what a middleware keeps for the whole service. A clone is
/// another handle, and cheap.
///
/// ```
/// use codex_kv::{AnyBackend, SessionError, SessionStore, web::{SessionCookie, Sessions}};
///
/// fn sessions(store: SessionStore<AnyBackend>) -> Result<Sessions, SessionError> {
///     Sessions::new(store).cookie(SessionCookie::new().name("__Host-session"))
/// }
/// ```
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    store: Arc<dyn Store>,
    cookie: SessionCookie,
    save: SaveWhen,
}

/// When an unchanged session is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaveWhen {
    Modified,
    EveryRequest,
}

impl Sessions {
    /// Returns the sessions of this store, with the default [`SessionCookie`].
    pub fn new<B: KvBackend, C: SessionCodec>(store: SessionStore<B, C>) -> Self {
        let shared = Shared {
            store: Arc::new(store),
            cookie: SessionCookie::new(),
            save: SaveWhen::Modified,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Sets how the cookie is named and where it is sent.
    ///
    /// # Errors
    ///
    /// [`SessionError::Config`] if a browser would drop the cookie: a name that is not a token, a
    /// path without `/`, a domain that is not a host name, a prefix (`__Host-`, `__Secure-`,
    /// `__Http-`), `SameSite=None` or `Partitioned` without what it needs, or more than 4,096
    /// bytes.
    pub fn cookie(mut self, cookie: SessionCookie) -> Result<Self, SessionError> {
        cookie.check()?;
        Arc::make_mut(&mut self.shared).cookie = cookie;
        Ok(self)
    }

    /// Renews the session's time, and the cookie's, with every request of a visitor who has a
    /// session: Django's `SESSION_SAVE_EVERY_REQUEST`. The data of an unchanged session is not
    /// written again. Costs a load and an `EXPIRE` for each request.
    ///
    /// Each response then carries a cookie, also one that overtakes the response of a login and so
    /// puts the old key back into the browser, which logs the visitor out. Pages that poll are
    /// better served by an idle timeout of the store.
    #[must_use]
    pub fn save_every_request(mut self) -> Self {
        Arc::make_mut(&mut self.shared).save = SaveWhen::EveryRequest;
        self
    }

    /// Begins the session of a request. Does no I/O.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a header is a reference already, or an option of one"
    )]
    pub fn begin(&self, cookie_header: impl CookieHeader) -> RequestSession {
        RequestSession::new(self.clone(), self.shared.cookie.key_in(&cookie_header))
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.shared.store
    }

    pub(super) fn session_cookie(&self) -> &SessionCookie {
        &self.shared.cookie
    }

    pub(super) fn saves(&self) -> SaveWhen {
        self.shared.save
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("cookie", &self.shared.cookie)
            .field("save", &self.shared.save)
            .finish_non_exhaustive()
    }
}

/// The settings that the middleware of every framework has, on its fields `sessions` and
/// `on_error`.
#[cfg(any(feature = "actix", feature = "axum"))]
macro_rules! middleware_settings {
    ($middleware:ident, $response:ty, $article:literal) => {
        impl $middleware {
            #[doc = concat!("Returns ", $article, " for the sessions of this store, with the default [`SessionCookie`].")]
            pub fn new<B: KvBackend, C: SessionCodec>(store: SessionStore<B, C>) -> Self {
                Sessions::new(store).into()
            }

            /// Sets how the cookie is named and where it is sent.
            ///
            /// # Errors
            ///
            /// [`SessionError::Config`] if a browser would drop the cookie, as
            /// [`Sessions::cookie`].
            pub fn cookie(mut self, cookie: SessionCookie) -> Result<Self, SessionError> {
                self.sessions = self.sessions.cookie(cookie)?;
                Ok(self)
            }

            /// Renews the session's time, and the cookie's, with every request:
            /// [`Sessions::save_every_request`].
            #[must_use]
            pub fn save_every_request(mut self) -> Self {
                self.sessions = self.sessions.save_every_request();
                self
            }

            /// Sets the response to a failure of the session, in place of a line of text with the
            /// [status of the error](SessionError::status_code).
            #[must_use]
            pub fn on_error(
                mut self,
                respond: impl Fn(&SessionError) -> $response + Send + Sync + 'static,
            ) -> Self {
                self.on_error = Arc::new(respond);
                self
            }
        }

        impl fmt::Debug for $middleware {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($middleware))
                    .field("sessions", &self.sessions)
                    .finish_non_exhaustive()
            }
        }
    };
}
#[cfg(any(feature = "actix", feature = "axum"))]
pub(super) use middleware_settings;
