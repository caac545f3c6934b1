//! Errors as responses.

use std::sync::Arc;

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;

use crate::session::SessionError;

/// Why a handler did not get its [`Session`](super::Session): there is no [`SessionLayer`](super::SessionLayer) around its route.
/// A response of 500.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a handler takes a session, and no SessionLayer is around its route")]
pub struct MissingSessionLayer;

impl IntoResponse for MissingSessionLayer {
    fn into_response(self) -> Response {
        tracing::error!("{self}");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// Rides on the response of a handler that failed with a session error, so that the layer can answer in its own way.
#[derive(Clone)]
pub(super) struct Failure(pub(super) Arc<SessionError>);

/// 503 for an outage, 400 for a session that was ended elsewhere, 500 for the rest. Around it, a
/// [`SessionLayer`](super::SessionLayer) with [`on_error`](super::SessionLayer::on_error) answers instead.
impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        let mut response = default_response(&self);
        response.extensions_mut().insert(Failure(Arc::new(self)));
        response
    }
}

pub(super) fn default_response(error: &SessionError) -> Response {
    match error {
        SessionError::Gone => (
            StatusCode::BAD_REQUEST,
            "The session was ended before this request was done. Log in again, perhaps.\n",
        ),
        // Nobody else's fault than that of a crowd: trying again helps.
        SessionError::Backend(_) | SessionError::Conflict => (
            StatusCode::SERVICE_UNAVAILABLE,
            "Sessions are out of service for the moment. Nothing is lost; try again shortly.\n",
        ),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong with the session.\n",
        ),
    }
    .into_response()
}
