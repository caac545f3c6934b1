//! Web sessions: cookies, logins and concurrent requests, for axum, actix-web and any other
//! framework.
//!
//! | framework | the middleware | guide |
//! |---|---|---|
//! | axum, or any tower stack | `SessionLayer` (feature `axum`) | `docs/axum.md` |
//! | actix-web | `actix::SessionMiddleware` (feature `actix`) | `docs/actix-web.md` |
//! | any other | [`RequestSession`], in a middleware of a few lines | `docs/other-frameworks.md` |
//!
//! In each of them, a handler gets the session of the request as a [`Session`]. In axum:
//!
#![cfg_attr(not(doctest), doc = include_str!("module_example.md"))]
//!
//! # Loading, saving and the cookie
//!
//! The session is loaded when a handler first accesses it, and saved only if it was changed
//! ([`Sessions::save_every_request`] overrides this). It is saved after the handler and before the
//! response is sent:
//!
//! | the session | the record | the cookie |
//! |---|---|---|
//! | was not accessed | is not read | does not change |
//! | was read | does not change | does not change |
//! | was changed | is saved, or created | is set, with the session's expiry age as `Max-Age`, or without `Max-Age` if it ends with the browser |
//! | was flushed, or emptied by changes | is removed | is removed, if this request removed the record |
//! | is not in the store (expired, ended, never stored) | | does not change |
//!
//! A response never removes a cookie for any other reason: while a request with an old key is in
//! progress, the response of a login may have set a new cookie. A key that is not in the store is
//! harmless. It is never adopted: the visitor gets a new key on the next save.
//!
//! A response carries `Vary: Cookie` if the session was accessed, or if the response sets or
//! removes the cookie.
//!
//! # All or nothing
//!
//! A response with status 500 or above, or 408, saves nothing: the handler failed, or a timeout
//! cancelled it. A [flush](Session::flush) has already happened by then and is not undone. A
//! request whose client disconnects before the handler has finished saves nothing either.
//!
//! Put a timeout outside the session layer, so that the whole request ends without an effect. In
//! axum, add it after the `SessionLayer`; in actix-web, `wrap` it after the `SessionMiddleware`. A
//! timeout inside the session layer drops the handler halfway and sends a response in its place,
//! and the session layer sees only that response. With 408 (the default of tower-http's
//! `TimeoutLayer`), 503 or 504, nothing is saved. With a status below 500 other than 408, the
//! changes made so far are saved. A warning is logged if a response with status 408 or 504 discards
//! changes.
//!
//! # Logins
//!
//! ```
//! use codex_kv::{Login, SessionError, web::Session};
//!
//! async fn log_in(session: Session) -> Result<&'static str, SessionError> {
//!     // Check the password first. `login` replaces the key, which prevents session fixation.
//!     session.login(&Login::new("42")).await?;
//!     Ok("welcome")
//! }
//!
//! async fn log_out(session: Session) -> Result<&'static str, SessionError> {
//!     session.logout().await?;
//!     Ok("see you")
//! }
//! ```
//!
//! [`Session::end_others`] ends all other sessions of the user, on all devices.
//! [`SessionStore::revoke_all`](crate::SessionStore::revoke_all) ends all sessions of the user,
//! including this session.
//!
//! # Concurrent requests
//!
//! If another request of the same browser has saved meanwhile, the changes of this request are
//! merged into the saved data, name by name (see
//! [`SessionStore::save_merged`](crate::SessionStore::save_merged)). If two requests set different
//! names, both values are kept. If they set the same name, the value that was saved last wins. Use
//! [`Session::update`] for a value that is computed from its previous value (a counter, a cart): a
//! merge computes it again, so that no request's update is lost.
//!
//! # Failures
//!
//! | failure | response |
//! |---|---|
//! | the store is down, even if the handler ignored the error: an outage never makes a visitor look logged out | 503 |
//! | a session cannot be read, and the store [fails on it](crate::SessionStoreBuilder::fail_on_unreadable), even if the handler ignored the error | 500 |
//! | the session was ended elsewhere while this request changed it | 400, as in Django |
//! | a missing permission, a record of another type, a value that is not JSON or is read as another type, a session beyond the size limit | 500 |
//!
//! [`SessionError::status_code`](crate::SessionError::status_code) has the complete list. The
//! layers' `on_error` replaces the responses, including those for errors that handlers return. A
//! cookie that cannot be a session key never reaches the store; the request is treated as one
//! without a session.
//!
//! # Known limitations
//!
//! The cookie is `SameSite=Lax`, so a browser does not send it with a POST from another site. This
//! does not prevent all CSRF: GET requests with side effects, other applications on subdomains of
//! the same site, and old browsers remain vulnerable. Add tower-http's `CsrfLayer`, as
//! `examples/web` does. `docs/web-security.md` in the repository lists the attacks that are
//! prevented.

#[cfg(feature = "actix")]
pub mod actix;
mod answer;
#[cfg(feature = "axum")]
mod axum;
mod cookie;
mod headers;
mod output;
mod request;
mod session;
mod settings;
mod store;

#[cfg(feature = "axum")]
pub use axum::{MissingSessionLayer, SessionLayer, SessionService};
pub use cookie::{SameSite, SessionCookie};
pub use headers::CookieHeader;
pub use output::SessionOutput;
pub use request::{Outcome, RequestSession};
pub use session::Session;
pub use settings::Sessions;
