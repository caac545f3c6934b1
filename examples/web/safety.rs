//! Protection against what other sites' pages can make a browser do.

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use tower_http::csrf::ProtectionError;

use crate::page;

/// The answer of the `CsrfLayer`, which refuses requests that another site's page has made and that
/// could change something.
pub(crate) fn from_another_site(_: ProtectionError) -> Response {
    let text = Html(page::message("That came from another site."));
    (StatusCode::FORBIDDEN, text).into_response()
}

/// No scripts, no frames around the page (a click that its user did not mean), and nothing of it
/// kept for the next user of the machine.
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
