//! Protection against cross-site requests and framing.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use tower_http::csrf::ProtectionError;

use crate::page;

/// Returns the page for a request that the `CsrfLayer` refused because another site sent it.
pub(crate) fn from_another_site(_: ProtectionError) -> Response {
    let text = Html(page::message("This request came from another site."));
    (StatusCode::FORBIDDEN, text).into_response()
}

/// Sets headers that forbid scripts, framing (clickjacking) and caching of pages.
pub(crate) async fn headers<B>(mut response: Response<B>) -> Response<B> {
    const HEADERS: [(HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
