//! The cookie for the session key.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use super::headers::CookieHeader;
use crate::session::{SessionError, SessionKey};

/// The longest cookie that browsers accept: the combined length of name and value, in bytes.
const MAX_NAME_AND_VALUE: usize = 4096;
/// The longest session key that is accepted from a cookie, in bytes.
const MAX_KEY: usize = 128;
/// The longest attribute that browsers respect, in bytes.
const MAX_ATTRIBUTE: usize = 1024;

/// The name and attributes of the session cookie. The defaults are safe. They equal Django's,
/// except that Django does not set `Secure`.
///
/// A layer checks the settings when the cookie is set, and returns an error if a browser would drop
/// the cookie.
#[derive(Debug, Clone)]
pub struct SessionCookie {
    name: Cow<'static, str>,
    path: Cow<'static, str>,
    domain: Option<Cow<'static, str>>,
    same_site: SameSite,
    transport: Transport,
    partitioned: bool,
}

/// The cross-site requests that carry the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SameSite {
    /// No cross-site requests, not even links that the user follows.
    Strict,
    /// Only links that the user follows.
    #[default]
    Lax,
    /// All requests. Requires `Secure`, and leaves protection against CSRF to the application.
    None,
}

impl SameSite {
    fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
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
            partitioned: false,
        }
    }
}

impl SessionCookie {
    /// Returns the default cookie: `sessionid`, path `/`, no domain, `HttpOnly`, `Secure`,
    /// `SameSite=Lax`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name, Django's `SESSION_COOKIE_NAME`. The default is `sessionid`.
    ///
    /// For a name that begins with `__Host-`, browsers require `Secure`, path `/` and no domain, so
    /// that no other host can set the cookie.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the path, Django's `SESSION_COOKIE_PATH`. The default is `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the domain, Django's `SESSION_COOKIE_DOMAIN`. By default there is no domain, and only
    /// this host gets the cookie. With a domain, the cookie is sent to all subdomains, and each of
    /// them can set it.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets `SameSite`, Django's `SESSION_COOKIE_SAMESITE`. The default is `Lax`.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Keeps a separate cookie per top-level site when the page is embedded in other sites
    /// (`Partitioned`). Use it with [`SameSite::None`], because browsers send no other cookie to an
    /// embedded page.
    #[must_use]
    pub fn partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Omits `Secure`: the cookie is also sent over plain HTTP, where anyone on the network path
    /// can read it. Use this for development only. Browsers other than Safari accept a `Secure`
    /// cookie from `http://localhost` too.
    #[must_use]
    pub fn over_plain_http(mut self) -> Self {
        self.transport = Transport::Any;
        self
    }

    /// Returns an error if a browser would drop the cookie or confuse it with another cookie.
    pub(super) fn check(&self) -> Result<(), SessionError> {
        let error = |message| Err(SessionError::Config(message));
        if self.name.is_empty() || !self.name.bytes().all(is_token) {
            return error("a cookie's name must be ASCII letters, digits and any of !#$%&'*+-.^_`|~");
        }
        if self.name.len() + MAX_KEY > MAX_NAME_AND_VALUE {
            return error("a session cookie's name must be at most 3,968 bytes, because browsers drop longer cookies");
        }
        if !self.path.starts_with('/') || !is_attribute(&self.path) {
            return error(
                "a cookie's path must begin with `/` and be at most 1,024 bytes of printable ASCII without `;`",
            );
        }
        if let Some(domain) = &self.domain
            && !is_domain(domain)
        {
            return error(
                "a cookie's domain must be a host name in ASCII, for example `example.org`, without scheme and port",
            );
        }
        let secure = self.transport == Transport::HttpsOnly;
        if !secure && self.same_site == SameSite::None {
            return error("`SameSite=None` needs `Secure`: leave out `over_plain_http`");
        }
        if !secure && self.partitioned {
            return error("`Partitioned` needs `Secure`: leave out `over_plain_http`");
        }
        // Browsers compare the prefixes case-insensitively.
        let has_prefix = |prefix: &str| {
            let start = self.name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let for_host = has_prefix("__Host-");
        if !secure && (for_host || has_prefix("__Secure-") || has_prefix("__Http-")) {
            return error(
                "a cookie named `__Host-…`, `__Secure-…` or `__Http-…` needs `Secure`: leave out `over_plain_http`",
            );
        }
        if for_host && (self.domain.is_some() || self.path != "/") {
            return error("a cookie named `__Host-…` must have the path `/` and no domain");
        }
        Ok(())
    }

    /// Returns the first cookie of this name whose value can be a session key.
    pub(super) fn key_in(&self, headers: &impl CookieHeader) -> Option<SessionKey> {
        let mut values = headers
            .cookie_headers()
            .flat_map(|header| header.split(|byte| *byte == b';'));
        values.find_map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            if name != self.name.as_bytes() {
                return None;
            }
            let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            std::str::from_utf8(quoted.unwrap_or(value)).ok()?.parse().ok()
        })
    }

    /// Returns the `Set-Cookie` value for this key. Without a `max_age` the cookie ends with the
    /// browser.
    pub(super) fn set(&self, key: &SessionKey, max_age: Option<Duration>) -> String {
        let mut cookie = self.with_value(key.as_str());
        if let Some(max_age) = max_age {
            // Rounded up: `Max-Age=0` would remove the cookie of a session that is still live.
            let seconds = max_age.as_secs().saturating_add(u64::from(max_age.subsec_nanos() > 0));
            // Writing to a `String` cannot fail, here and below.
            let _ = write!(cookie, "; Max-Age={seconds}");
        }
        cookie
    }

    /// Returns the `Set-Cookie` value that removes the cookie.
    pub(super) fn remove(&self) -> String {
        let mut cookie = self.with_value("");
        cookie.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
        cookie
    }

    fn with_value(&self, value: &str) -> String {
        let mut cookie = format!("{}={value}; HttpOnly; SameSite={}", self.name, self.same_site.as_str());
        if self.partitioned {
            cookie.push_str("; Partitioned");
        }
        if self.transport == Transport::HttpsOnly {
            cookie.push_str("; Secure");
        }
        let _ = write!(cookie, "; Path={}", self.path);
        if let Some(domain) = &self.domain {
            // Browsers ignore the leading dot that Django's settings often have.
            let _ = write!(cookie, "; Domain={}", domain.strip_prefix('.').unwrap_or(domain));
        }
        cookie
    }
}

/// Returns whether the byte is allowed in RFC 9110's `token`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_attribute(text: &str) -> bool {
    text.len() <= MAX_ATTRIBUTE && text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
}

fn is_domain(domain: &str) -> bool {
    let name = domain.strip_prefix('.').unwrap_or(domain);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdefghijklmnopqrstuv";

    fn key_in(header: &str) -> Option<String> {
        let key = SessionCookie::new().key_in(&header);
        key.map(|key| key.as_str().to_owned())
    }

    #[test]
    fn skey_04_a_quoted_value_is_read_without_the_quotes() {
        for header in [
            format!("sessionid=\"{KEY}\""),
            format!("a=b; sessionid = \"{KEY}\" ; c=\"d\""),
            format!("sessionid={KEY}"),
        ] {
            assert_eq!(key_in(&header).as_deref(), Some(KEY), "{header}");
        }
        for header in [
            format!("sessionid=\"{KEY}"),
            format!("sessionid={KEY}\""),
            format!("sessionid=\"\"{KEY}\"\""),
            format!("sessionid='{KEY}'"),
            "sessionid=\"".to_owned(),
            "sessionid=\"\"".to_owned(),
            format!("SessionId={KEY}"),
            format!("\"sessionid\"={KEY}"),
        ] {
            assert_eq!(key_in(&header), None, "{header}");
        }
    }

    #[test]
    fn skey_04_the_first_value_that_can_be_a_key_counts() {
        for (header, key) in [
            (format!("sessionid=x; sessionid={KEY}"), KEY),
            (format!("sessionid={KEY}; sessionid=x"), KEY),
            (format!("sessionid={KEY}; sessionid=zzzzzzzz"), KEY),
            (format!("sessionid=zzzzzzzz; sessionid={KEY}"), "zzzzzzzz"),
            (
                format!("sessionid; sessionid=; sessionid=\"{KEY}\"; sessionid=yyyyyyyy"),
                KEY,
            ),
            (format!("other=zzzzzzzz; sessionid={KEY}"), KEY),
        ] {
            assert_eq!(key_in(&header).as_deref(), Some(key), "{header}");
        }
        // HTTP/2 may split the header.
        let split: Vec<&[u8]> = vec![b"sessionid=x; a=\xff", b"sessionid=0123456789abcdefghijklmnopqrstuv"];
        assert!(SessionCookie::new().key_in(&split).is_some());
    }

    #[test]
    fn scook_03_what_a_browser_would_drop_is_an_error() {
        let new = SessionCookie::new;
        let long = "a".repeat(5_000);
        for cookie in [
            new().name(""),
            new().name("a=b"),
            new().name("a b"),
            new().name("a;b"),
            new().name("a\r\nb"),
            new().name("sítio"),
            new().name("(a)"),
            new().name(long.clone()),
            new().name("a".repeat(3_969)),
            new().path(""),
            new().path("shop"),
            new().path("/;a"),
            new().path("/\r\nSet-Cookie: a=b"),
            new().path("/ü"),
            new().path(format!("/{long}")),
            new().domain(""),
            new().domain("."),
            new().domain("https://example.org"),
            new().domain("example.org:443"),
            new().domain("example.org/"),
            new().domain("exa mple.org"),
            new().domain("example..org"),
            new().domain("-a.example.org"),
            new().domain("*.example.org"),
            new().domain("müller.de"),
            new().domain("example.org; Secure"),
            new().domain(long),
            new().same_site(SameSite::None).over_plain_http(),
            new().partitioned().over_plain_http(),
            new().name("__Host-a").domain("example.org"),
            new().name("__Host-a").path("/shop"),
            new().name("__Host-a").over_plain_http(),
            new().name("__HOST-a").over_plain_http(),
            new().name("__Secure-a").over_plain_http(),
            new().name("__secure-a").over_plain_http(),
            new().name("__Http-a").over_plain_http(),
            new().name("__Host-Http-a").domain("example.org"),
        ] {
            let checked = cookie.check();
            assert!(matches!(checked, Err(SessionError::Config(_))), "{cookie:?}");
        }
        for cookie in [
            new(),
            new().over_plain_http(),
            new().name("__Host-session"),
            new().name("__Host-session").same_site(SameSite::None).partitioned(),
            new().name("__Secure-session").domain(".example.org").path("/shop"),
            new().name("__Hostess").over_plain_http(),
            new().name("a".repeat(3_968)),
            new().domain("localhost"),
            new().domain("xn--mller-kva.de"),
            new().same_site(SameSite::Strict).over_plain_http(),
        ] {
            assert!(cookie.check().is_ok(), "{cookie:?}");
        }
    }

    #[test]
    fn the_age_is_rounded_up_to_whole_seconds() {
        let key = KEY.parse().unwrap();
        for (age, seconds) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (0, 0)] {
            let cookie = SessionCookie::new().set(&key, Some(Duration::from_millis(age)));
            assert!(cookie.ends_with(&format!("; Max-Age={seconds}")), "{age} ms: {cookie}");
        }
    }

    #[test]
    fn scook_03_partitioned_and_domain_stand_in_the_header() {
        let cookie = SessionCookie::new().same_site(SameSite::None).partitioned();
        assert_eq!(
            cookie.domain(".example.org").remove(),
            "sessionid=; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Domain=example.org; Max-Age=0; \
             Expires=Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }
}
