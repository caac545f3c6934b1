//! Sessions in axum: the layer, the extractor, and errors as responses.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum_core::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use codex_traits::KvBackend;
use http::{Request, StatusCode, request::Parts};
use tower_layer::Layer;
use tower_service::Service;

use super::{Session, SessionCookie, Sessions, settings::middleware_settings};
use crate::{
    CacheError,
    session::{SessionCodec, SessionError, SessionStore},
};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Respond = dyn Fn(&SessionError) -> Response + Send + Sync;

/// A layer that gives each request a [`Session`] and each response its cookie; see [the
/// module](super).
///
/// Put layers that can cancel a handler (timeouts) outside this layer, by adding them after it. See
/// [all or nothing](super#all-or-nothing).
///
#[cfg_attr(not(doctest), doc = include_str!("axum_example.md"))]
#[derive(Clone)]
pub struct SessionLayer {
    sessions: Sessions,
    on_error: Arc<Respond>,
}

middleware_settings!(SessionLayer, Response, "a layer");

/// Creates a layer from settings that it can share with other middleware.
impl From<Sessions> for SessionLayer {
    fn from(sessions: Sessions) -> Self {
        Self {
            sessions,
            on_error: Arc::new(default_response),
        }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service wrapped by a [`SessionLayer`].
#[derive(Debug, Clone)]
pub struct SessionService<S> {
    inner: S,
    layer: SessionLayer,
}

impl<S, ReqBody> Service<Request<ReqBody>> for SessionService<S>
where
    S: Service<Request<ReqBody>> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
    ReqBody: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // The clone may not be ready, so move the ready service into the future.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let SessionLayer { sessions, on_error } = self.layer.clone();
        let session = sessions.begin(request.headers());
        request.extensions_mut().insert(session.session().clone());
        Box::pin(async move {
            let mut response = inner.call(request).await?.into_response();
            let returned = response.extensions_mut().remove::<Failure>();
            // A handler that returned a session error has not done its work, regardless of the
            // response's status.
            let outcome = match &returned {
                Some(_) => session.finish_without_saving().await,
                None => session.finish(response.status().as_u16()).await,
            };
            if let Some(error) = returned.as_ref().map(|failure| &*failure.0).or(outcome.error.as_ref()) {
                response = on_error(error);
            }
            outcome.apply(response.headers_mut());
            Ok(response)
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = MissingSessionLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or(MissingSessionLayer)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

/// The rejection of a [`Session`] argument when no [`SessionLayer`] wraps the handler's route. The
/// response is a 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a handler takes a session, but no SessionLayer wraps its route: add one with `Router::layer`")]
pub struct MissingSessionLayer;

impl IntoResponse for MissingSessionLayer {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// An extension that marks the response of a handler that returned a session error, so that the
/// layer can replace the response.
#[derive(Clone)]
struct Failure(Arc<SessionError>);

/// Responds with a line of text and the [status of the error](SessionError::status_code). Inside a
/// [`SessionLayer`] with [`on_error`](SessionLayer::on_error), `on_error` creates the response
/// instead.
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        tracing::warn!(reason = %self, "a handler failed on its session");
        let mut response = default_response(&self);
        response.extensions_mut().insert(Failure(Arc::new(self)));
        response
    }
}

/// Responds with a line of text and the [status of the error](CacheError::status_code).
impl IntoResponse for CacheError {
    fn into_response(self) -> Response {
        tracing::warn!(reason = %self, "a handler failed on its cache");
        respond(self.answer())
    }
}

fn default_response(error: &SessionError) -> Response {
    respond(error.answer())
}

fn respond((status, text): (u16, &'static str)) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, text).into_response()
}
