//! Settings shared by all requests of a service.

use std::{fmt, sync::Arc};

use codex_traits::KvBackend;

use super::{CookieHeader, RequestSession, SessionCookie, store::Store};
use crate::session::{SessionCodec, SessionError, SessionStore};

/// A store and its cookie, which a middleware holds for the whole service. Clones are cheap
/// handles.
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

/// The condition for saving an unchanged session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaveWhen {
    Modified,
    EveryRequest,
}

impl Sessions {
    /// Returns the settings of this store with the default [`SessionCookie`].
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

    /// Sets the name and attributes of the cookie.
    ///
    /// # Errors
    ///
    /// [`SessionError::Config`] if a browser would drop the cookie: if the name is not a token, the
    /// path does not begin with `/`, the domain is not a host name, a prefix (`__Host-`,
    /// `__Secure-`, `__Http-`), `SameSite=None` or `Partitioned` lacks its required attributes, or
    /// name and value can exceed 4,096 bytes.
    pub fn cookie(mut self, cookie: SessionCookie) -> Result<Self, SessionError> {
        cookie.check()?;
        Arc::make_mut(&mut self.shared).cookie = cookie;
        Ok(self)
    }

    /// Renews the session and the cookie with every request of a visitor who has a session:
    /// Django's `SESSION_SAVE_EVERY_REQUEST`. The data of an unchanged session is not written
    /// again. The setting costs a load and an `EXPIRE` per request. If the store has an idle
    /// timeout or a touch interval, renewals are still limited to one per interval.
    ///
    /// Every response to such a visitor then sets the cookie. A response that arrives after the
    /// response of a concurrent login can put the old key back into the browser, which logs the
    /// visitor out. For pages that poll, prefer the store's idle timeout.
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

/// Implements the settings of a framework's middleware on its fields `sessions` and `on_error`.
#[cfg(any(feature = "actix", feature = "axum"))]
macro_rules! middleware_settings {
    ($middleware:ident, $response:ty, $article:literal) => {
        impl $middleware {
            #[doc = concat!("Returns ", $article, " for the sessions of this store, with the default [`SessionCookie`].")]
            pub fn new<B: KvBackend, C: SessionCodec>(store: SessionStore<B, C>) -> Self {
                Sessions::new(store).into()
            }

            /// Sets the name and attributes of the cookie.
            ///
            /// # Errors
            ///
            /// [`SessionError::Config`] if a browser would drop the cookie; see
            /// [`Sessions::cookie`].
            pub fn cookie(mut self, cookie: SessionCookie) -> Result<Self, SessionError> {
                self.sessions = self.sessions.cookie(cookie)?;
                Ok(self)
            }

            /// Renews the session and the cookie with every request; see
            /// [`Sessions::save_every_request`].
            #[must_use]
            pub fn save_every_request(mut self) -> Self {
                self.sessions = self.sessions.save_every_request();
                self
            }

            /// Sets the response to a session error. The default is a line of text with the [status
            /// of the error](SessionError::status_code).
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
