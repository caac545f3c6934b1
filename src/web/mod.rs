//! Sessions in axum, or any tower stack (feature `axum`).
//!
//! [`SessionLayer`] reads the cookie and writes it; [`Session`] in a handler's arguments is the session of the request.
//!
//! ```
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
//! ```
//!
//! # What happens when
//!
//! Nothing is loaded before a handler asks the session something, and nothing is saved unless it was changed
//! ([`SessionLayer::save_every_request`] changes that). Saving, and the cookie, come after the handler and before the response
//! leaves:
//!
//! | the session | the record | the cookie |
//! |---|---|---|
//! | was not asked | is not read | is left alone |
//! | was read | stays | is left alone |
//! | was changed | is saved, or created | is set, with the session's expiry age, or none where it ends with the browser |
//! | was flushed, or changed so that nothing is left | is removed | is removed, where the request had one |
//! | is not in the store (expired, ended, never was) | | is removed, where the request had one |
//!
//! A response for which the session was asked anything, or that sets or removes the cookie, carries `Vary: Cookie`. A response of 500 and above saves nothing;
//! a [flush](Session::flush) has happened by then and is not undone.
//!
//! # Logins
//!
//! ```
//! use codex_kv::{Login, SessionError, web::Session};
//!
//! async fn log_in(session: Session) -> Result<&'static str, SessionError> {
//!     // Once the password is checked: a new key, so that nobody who planted the old one is logged in too.
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
//! [`SessionStore::revoke_all`](crate::SessionStore::revoke_all) ends the user's other sessions, and this one.
//!
//! # Requests side by side
//!
//! Where another request of the same browser saved meanwhile, this request's changes are made to what that one saved, name by
//! name (see [`SessionStore::save_merged`](crate::SessionStore::save_merged)): two requests that set different names both keep
//! theirs. Of one name, the last response's value stays; a value that is computed from the one before it (a counter, a cart) is for
//! [`Session::update`], which is computed again then, so that each request counts.
//!
//! # What goes wrong, and what the browser sees
//!
//! | what | response |
//! |---|---|
//! | the store is down | 503, also where the handler ignored the error: an outage is never a visitor who is not logged in |
//! | the session was ended elsewhere while this request changed it | 400, as in Django |
//! | a value that is no JSON, or is read as another type; a session past the size limit | 500 |
//!
//! Another response is set with [`SessionLayer::on_error`]; it also gets the [`SessionError`](crate::SessionError)s that handlers
//! return. A cookie that could be no session key never reaches the store, and is a request without a session.
//!
//! # What this does not do
//!
//! The cookie is `SameSite=Lax`, so that a browser sends it with no POST that another site makes. That is not all of CSRF: a
//! GET that changes something is open, and so are other applications on subdomains of the same site and old browsers.
//! `docs/web-security.md` of the repository lists what is covered, and `examples/web/safety.rs` there is a middleware for the rest.

mod cookie;
mod error;
mod layer;
mod session;
mod store;

pub use cookie::{SameSite, SessionCookie};
pub use error::MissingSessionLayer;
pub use layer::{SessionLayer, SessionService};
pub use session::Session;

/// Runs the guide's code as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../docs/from-django.md")]
struct FromDjango;
