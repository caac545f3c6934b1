//! Pages for errors.

use std::convert::Infallible;

use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use codex_kv::{CacheError, ComputeError, SessionError};

use crate::page;

/// Returns the page for an error of the session, or for an error of the cache through [`Failure`].
pub(crate) fn page_of(error: &SessionError) -> Response {
    let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = match status {
        StatusCode::BAD_REQUEST => "Your session has ended. Please log in again.",
        StatusCode::SERVICE_UNAVAILABLE => {
            "The store is out of service. Your login and your cart are safe; please try again shortly."
        }
        _ => "Something went wrong.",
    };
    (status, Html(page::message(text))).into_response()
}

/// A failure of the session or the cache.
pub(crate) enum Failure {
    Session(SessionError),
    Cache,
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<&CacheError> for Failure {
    fn from(error: &CacheError) -> Self {
        match error {
            // Reported as an error of the session, so that an outage of either shows the same page.
            CacheError::Backend(error) => Self::Session(SessionError::Backend(error.clone())),
            _ => Self::Cache,
        }
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::from(&error)
    }
}

impl From<ComputeError<Infallible>> for Failure {
    fn from(error: ComputeError<Infallible>) -> Self {
        match error {
            ComputeError::Cache(error) => Self::from(&*error),
            // The computation itself cannot fail.
            _ => Self::Cache,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Cache => {
                let text = Html(page::message("Something went wrong."));
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }
}
