//! Sessions in actix-web (feature `actix`).
//!
//! [`SessionMiddleware`] reads and writes the cookie. A handler takes the session of the request as
//! a [`Session`] argument. The [parent module](super) describes the rules.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web::get};
//! use codex_kv::{
//!     DjangoSigned, SessionError, SessionStore,
//!     web::{Session, actix::SessionMiddleware},
//! };
//!
//! async fn visits(session: Session) -> Result<String, SessionError> {
//!     let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1).await?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//!     let backend = codex_kv::connect("memory://").await?;
//!     let store = SessionStore::builder(backend).codec(DjangoSigned::new("a secret")).build()?;
//!     let sessions = SessionMiddleware::new(store);
//!     let server = HttpServer::new(move || {
//!         App::new().wrap(sessions.clone()).route("/", get().to(visits))
//!     });
//!     server.bind(("127.0.0.1", 8080))?.run().await?;
//!     Ok(())
//! }
//!
//! // With actix-web's feature `macros`, `#[actix_web::main]` does the same.
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     actix_web::rt::System::new().block_on(serve())
//! }
//! ```

#![expect(
    clippy::future_not_send,
    reason = "actix-web runs a request on the thread that accepted it"
)]

use std::{
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    error::InternalError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
};
use codex_traits::KvBackend;

use super::{
    Outcome, RequestSession, Session, SessionCookie, Sessions, headers::names_cookie, settings::middleware_settings,
};
use crate::{
    CacheError,
    session::{SessionCodec, SessionError, SessionStore},
};

type Respond = dyn Fn(&SessionError) -> HttpResponse + Send + Sync;

/// A middleware for `App::wrap` that gives each request a [`Session`] and each response its cookie.
#[derive(Clone)]
pub struct SessionMiddleware {
    sessions: Sessions,
    on_error: Arc<Respond>,
}

middleware_settings!(SessionMiddleware, HttpResponse, "a middleware");

/// Creates a middleware from settings that it can share with other middleware.
impl From<Sessions> for SessionMiddleware {
    fn from(sessions: Sessions) -> Self {
        Self {
            sessions,
            on_error: Arc::new(|error| respond(error.answer())),
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for SessionMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = SessionService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(SessionService {
            service,
            middleware: self.clone(),
        }))
    }
}

/// A service wrapped by a [`SessionMiddleware`].
#[derive(Debug)]
pub struct SessionService<S> {
    service: S,
    middleware: SessionMiddleware,
}

impl<S, B> Service<ServiceRequest> for SessionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    S::Future: 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let SessionMiddleware { sessions, on_error } = self.middleware.clone();
        let cookies: Vec<&[u8]> = request
            .headers()
            .get_all(header::COOKIE)
            .map(HeaderValue::as_bytes)
            .collect();
        let session = sessions.begin(cookies);
        request.extensions_mut().insert(session.session().clone());
        let response = self.service.call(request);
        Box::pin(async move {
            match response.await {
                Ok(response) => Ok(finish(session, response, &*on_error).await),
                Err(error) => Err(finish_failed(session, error, &*on_error).await),
            }
        })
    }
}

async fn finish<B>(
    session: RequestSession,
    response: ServiceResponse<B>,
    on_error: &Respond,
) -> ServiceResponse<EitherBody<B>> {
    let returned = response.response().error().and_then(as_session_error);
    // A handler that returned a session error has not done its work, regardless of the response's
    // status.
    let outcome = match returned {
        Some(_) => session.finish_without_saving().await,
        None => session.finish(response.status().as_u16()).await,
    };
    let replacement = returned.or(outcome.error.as_ref()).map(on_error);
    let mut response = match replacement {
        Some(replacement) => response.into_response(replacement).map_into_right_body(),
        None => response.map_into_left_body(),
    };
    apply(&outcome, response.headers_mut());
    response
}

/// Finishes a request that failed in an inner middleware. An outer middleware converts the error to
/// a response, and that response needs the cookie too.
async fn finish_failed(session: RequestSession, error: actix_web::Error, on_error: &Respond) -> actix_web::Error {
    let returned = as_session_error(&error);
    let outcome = match returned {
        Some(_) => session.finish_without_saving().await,
        None => session.finish(error.as_response_error().status_code().as_u16()).await,
    };
    let replacement = returned.or(outcome.error.as_ref()).map(on_error);
    let mut response = replacement.unwrap_or_else(|| error.error_response());
    apply(&outcome, response.headers_mut());
    InternalError::from_response(error, response).into()
}

fn as_session_error(error: &actix_web::Error) -> Option<&SessionError> {
    error.as_error::<SessionError>()
}

fn apply(outcome: &Outcome, headers: &mut HeaderMap) {
    // The cookie's settings were checked and a key is ASCII, so the conversion cannot fail.
    let cookie = outcome.set_cookie.as_deref();
    if let Some(mut cookie) = cookie.and_then(|cookie| HeaderValue::from_str(cookie).ok()) {
        cookie.set_sensitive(true);
        headers.append(header::SET_COOKIE, cookie);
    }
    if outcome.vary
        && !headers
            .get_all(header::VARY)
            .any(|value| names_cookie(value.as_bytes()))
    {
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
    }
}

impl FromRequest for Session {
    type Error = MissingSessionMiddleware;
    type Future = Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = request.extensions().get::<Self>().cloned();
        ready(session.ok_or(MissingSessionMiddleware))
    }
}

/// The error of a [`Session`] argument when no [`SessionMiddleware`] wraps the handler's route. The
/// response is a 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a handler takes a session, but no SessionMiddleware wraps its route: add one with `App::wrap`")]
pub struct MissingSessionMiddleware;

impl ResponseError for MissingSessionMiddleware {
    fn error_response(&self) -> HttpResponse {
        tracing::error!("{self}");
        HttpResponse::InternalServerError().finish()
    }
}

/// Responds with a line of text and the [status of the error](SessionError::status_code). Inside a
/// [`SessionMiddleware`] with [`on_error`](SessionMiddleware::on_error), `on_error` creates the
/// response instead.
impl ResponseError for SessionError {
    fn status_code(&self) -> StatusCode {
        status(self.answer().0)
    }

    fn error_response(&self) -> HttpResponse {
        tracing::warn!(reason = %self, "a handler failed on its session");
        respond(self.answer())
    }
}

/// Responds with a line of text and the [status of the error](CacheError::status_code).
impl ResponseError for CacheError {
    fn status_code(&self) -> StatusCode {
        status(self.answer().0)
    }

    fn error_response(&self) -> HttpResponse {
        tracing::warn!(reason = %self, "a handler failed on its cache");
        respond(self.answer())
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn respond((code, text): (u16, &'static str)) -> HttpResponse {
    HttpResponse::build(status(code))
        .content_type(header::ContentType::plaintext())
        .body(text)
}
