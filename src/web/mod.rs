//! Sessions on the web: cookies, logins and requests side by side, for axum, actix-web and any
//! other framework.
//!
//! | framework | the middleware | guide |
//! |---|---|---|
//! | axum, or any tower stack | `SessionLayer` (feature `axum`) | `docs/axum.md` |
//! | actix-web | `actix::SessionMiddleware` (feature `actix`) | `docs/actix-web.md` |
//! | any other | [`RequestSession`], in a middleware of a few lines | `docs/other-frameworks.md` |
//!
//! In each of them [`Session`] is the session of the request. In axum:
//!
//! ```
//! # #[cfg(feature = "axum")]
//! # mod app {
//! use axum::{Router, routing::get};
//! use codex_kv::{
//!     DjangoSigned, KvBackend, SessionError, SessionStore,
//!     web::{Session, SessionLayer},
//! };
//!
//! async fn visits(session: Session) -> Result<String, SessionError> {
//!     let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1).await?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! fn app<B: KvBackend>(backend: B) -> Result<Router, SessionError> {
//!     let store = SessionStore::builder(backend)
//!         .project("shop")
//!         .codec(DjangoSigned::new("the SECRET_KEY of Django's settings"))
//!         .build()?;
//!     Ok(Router::new().route("/", get(visits)).layer(SessionLayer::new(store)))
//! }
//! # }
//! ```
//!
//! # Loading, saving and the cookie
//!
//! Nothing is loaded before a handler asks the session something, and nothing is saved unless it
//! was changed ([`Sessions::save_every_request`] changes that). The session is saved after the
//! handler and before the response leaves:
//!
//! | the session | the record | the cookie |
//! |---|---|---|
//! | was not asked | is not read | is left alone |
//! | was read | stays | is left alone |
//! | was changed | is saved, or created | is set, with the session's expiry age, or without one if it ends with the browser |
//! | was flushed, or changed so that nothing is left | is removed | is removed, if this request has removed the record |
//! | is not in the store (expired, ended, never was) | | is left alone |
//!
//! A response never removes a cookie for any other reason: while a request with an old key is on
//! its way, the response of a login may have brought the browser a new one. A key that is not in
//! the store is harmless, and is not taken over: a visitor gets a key of his own when something is
//! saved.
//!
//! A response for which the session was asked anything, or that sets or removes the cookie, carries
//! `Vary: Cookie`.
//!
//! # All or nothing
//!
//! A response of 500 and above, or of 408, saves nothing: the handler failed, or a timeout cut it
//! short. A [flush](Session::flush) has happened by then and is not undone. A request whose client
//! goes away saves nothing either.
//!
//! Put a timeout outside the session layer: the whole request then ends without an effect. In axum,
//! add it after the `SessionLayer`; in actix-web, `wrap` it after the `SessionMiddleware`. Inside
//! the session layer a timeout drops the handler half-way and answers in its place, and the session
//! layer sees nothing but that answer. With 408 (the default of tower-http's `TimeoutLayer`), 503
//! or 504 nothing is saved; with another status the changes until then are. A warning is logged if
//! a response of 408 or 504 loses changes.
//!
//! # Logins
//!
//! ```
//! use codex_kv::{Login, SessionError, web::Session};
//!
//! async fn log_in(session: Session) -> Result<&'static str, SessionError> {
//!     // Once the password is checked: a new key, so that nobody who planted the old one is
//!     // logged in too.
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
//! [`SessionStore::revoke_all`](crate::SessionStore::revoke_all) ends the user's other sessions,
//! and this one.
//!
//! # Requests side by side
//!
//! If another request of the same browser saved meanwhile, this request's changes are made to what
//! that one saved, name by name (see
//! [`SessionStore::save_merged`](crate::SessionStore::save_merged)): two requests that set
//! different names both keep theirs. Of one name, the last response's value stays. Use
//! [`Session::update`] for a value that is computed from the one before it (a counter, a cart): it
//! is computed again then, so that each request counts.
//!
//! # Failures
//!
//! | failure | response |
//! |---|---|
//! | the store is down, also if the handler ignored the error: an outage is never a visitor who is not logged in | 503 |
//! | the session was ended elsewhere while this request changed it | 400, as in Django |
//! | a missing permission, a record of another type, a value that is not JSON or is read as another type, a session past the size limit | 500 |
//!
//! [`SessionError::status_code`](crate::SessionError::status_code) has the whole list. The layers'
//! `on_error` sets another response, also for the errors that handlers return. A cookie that cannot
//! be a session key never reaches the store, and is a request without a session.
//!
//! # Known limitations
//!
//! The cookie is `SameSite=Lax`, so that a browser does not send it with a POST that another site
//! makes. That is not all of CSRF: a GET that changes something is open, and so are other
//! applications on subdomains of the same site and old browsers. Add tower-http's `CsrfLayer`, as
//! `examples/web` does; `docs/web-security.md` of the repository lists what is covered.

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

/// Runs the guide's code as a doctest.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../../docs/from-django.md")]
struct FromDjango;
