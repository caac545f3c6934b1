//! The cookie that holds the session key.

use std::{borrow::Cow, time::Duration};

use cookie::Cookie;
pub use cookie::SameSite;
use http::{HeaderMap, HeaderValue, header};

use crate::session::{SessionError, SessionKey};

/// How the session cookie is named and where the browser sends it. The defaults are safe, and those of Django but for `Secure`,
/// which Django leaves off.
#[derive(Debug, Clone)]
pub struct SessionCookie {
    name: Cow<'static, str>,
    path: Cow<'static, str>,
    domain: Option<Cow<'static, str>>,
    same_site: SameSite,
    transport: Transport,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    HttpsOnly,
    Any,
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self {
            name: "sessionid".into(),
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
            transport: Transport::HttpsOnly,
        }
    }
}

impl SessionCookie {
    /// `sessionid`, path `/`, no domain, `HttpOnly`, `Secure`, `SameSite=Lax`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Django's `SESSION_COOKIE_NAME`: `sessionid` unless set.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Django's `SESSION_COOKIE_PATH`: `/` unless set.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Django's `SESSION_COOKIE_DOMAIN`: none unless set, so that the cookie is for this host alone. With one it is sent to all
    /// subdomains, and whoever runs one of them can set it.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Django's `SESSION_COOKIE_SAMESITE`: `Lax` unless set.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Without `Secure`: also sent over plain HTTP, where anyone on the way can read it. For development; browsers take a `Secure` cookie of
    /// `http://localhost` too, but for Safari.
    #[must_use]
    pub fn over_plain_http(mut self) -> Self {
        self.transport = Transport::Any;
        self
    }

    /// What the request's cookie of this name holds: the last one's value where there are several, as Django takes it.
    pub(super) fn presented(&self, headers: &HeaderMap) -> Presented {
        let mut presented = Presented::Nothing;
        for header in headers.get_all(header::COOKIE) {
            // Another cookie's bytes may be no UTF-8; ours can hold none.
            let text = String::from_utf8_lossy(header.as_bytes());
            for cookie in Cookie::split_parse(text.as_ref()).flatten() {
                if cookie.name() == self.name {
                    presented = cookie.value().parse().map_or(Presented::NoKey, Presented::Key);
                }
            }
        }
        presented
    }

    /// `Set-Cookie` for this key; with no age it ends with the browser.
    pub(super) fn set(&self, key: &SessionKey, max_age: Option<Duration>) -> Result<HeaderValue, SessionError> {
        let mut cookie = self.base(key.as_str().to_owned());
        cookie.set_max_age(max_age.and_then(|age| age.try_into().ok()));
        header_value(&cookie)
    }

    /// `Set-Cookie` by which the browser forgets the key.
    pub(super) fn remove(&self) -> Result<HeaderValue, SessionError> {
        let mut cookie = self.base(String::new());
        cookie.make_removal();
        header_value(&cookie)
    }

    fn base(&self, value: String) -> Cookie<'static> {
        let cookie = Cookie::build((self.name.clone(), value))
            .path(self.path.clone())
            .http_only(true)
            .secure(self.transport == Transport::HttpsOnly)
            .same_site(self.same_site);
        match &self.domain {
            Some(domain) => cookie.domain(domain.clone()).build(),
            None => cookie.build(),
        }
    }
}

/// What a request has under the cookie's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presented {
    Nothing,
    /// Something that could not be a key.
    NoKey,
    Key(SessionKey),
}

fn header_value(cookie: &Cookie<'_>) -> Result<HeaderValue, SessionError> {
    let mut value = HeaderValue::try_from(cookie.to_string())
        .map_err(|_| SessionError::Config("the session cookie's name, path or domain cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}
