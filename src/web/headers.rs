//! Request and response headers in the types of different frameworks.

use std::{iter, slice};

/// The `Cookie` header of a request in a framework's type: text, bytes, a list of headers, or
/// nothing.
///
/// Prefer bytes: if another application's cookie in the header is not UTF-8, a framework's
/// conversion to text loses the session's cookie too. HTTP/2 allows several `Cookie` headers in a
/// request: pass all of them.
pub trait CookieHeader {
    /// Returns the header values, in order.
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]>;
}

impl CookieHeader for &str {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(self.as_bytes())
    }
}

impl CookieHeader for &String {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(self.as_bytes())
    }
}

impl CookieHeader for &[u8] {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        iter::once(*self)
    }
}

// The only impl for an `Option`, so that a bare `None` has a type.
impl CookieHeader for Option<&str> {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|header| header.as_bytes())
    }
}

impl CookieHeader for Vec<&[u8]> {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        slice::Iter::copied(self.iter())
    }
}

#[cfg(feature = "http")]
impl CookieHeader for &http::HeaderMap {
    fn cookie_headers(&self) -> impl Iterator<Item = &[u8]> {
        self.get_all(http::header::COOKIE)
            .iter()
            .map(http::HeaderValue::as_bytes)
    }
}

#[cfg(feature = "http")]
impl super::Outcome {
    /// Adds `Set-Cookie` and `Vary: Cookie` to a response if it needs them. The cookie is marked as
    /// sensitive, so that layers that log headers omit it.
    pub fn apply(&self, headers: &mut http::HeaderMap) {
        use http::{HeaderValue, header};
        // The cookie's settings were checked and a key is ASCII, so the conversion cannot fail.
        if let Some(mut cookie) = self
            .set_cookie
            .as_deref()
            .and_then(|cookie| HeaderValue::try_from(cookie).ok())
        {
            cookie.set_sensitive(true);
            headers.append(header::SET_COOKIE, cookie);
        }
        if self.vary
            && !headers
                .get_all(header::VARY)
                .iter()
                .any(|value| names_cookie(value.as_bytes()))
        {
            headers.append(header::VARY, HeaderValue::from_static("Cookie"));
        }
    }
}

/// Returns whether a `Vary` header names `Cookie`, or is `*`.
#[cfg(any(feature = "http", feature = "actix"))]
pub(super) fn names_cookie(vary: &[u8]) -> bool {
    vary.split(|byte| *byte == b',').any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"cookie")
    })
}
