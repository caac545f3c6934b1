//! Django's signed sessions:
//! `signing.dumps(data, salt="django.contrib.sessions.SessionStore", compress=True)`.
//!
//! The format is that of `django/core/signing.py` (`TimestampSigner.sign_object`), Django 4.1 to
//! 6.1:
//!
//! ```text
//! payload   = body ":" timestamp ":" signature
//! body      = base64url(json) | "." base64url(zlib(json))
//!             (zlib where it is shorter by more than one byte)
//! timestamp = base 62 of the seconds since 1970, digits 0-9 A-Z a-z
//! signature = base64url(HMAC-SHA256(SHA-256(salt "signer" secret), body ":" timestamp))
//! ```

use std::{borrow::Cow, fmt, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{CodecError, SecretKey, SessionCodec, zlib};
use crate::session::SessionData;

/// `SessionBase.key_salt` of a class named `SessionStore`.
const SALT: &str = "django.contrib.sessions.SessionStore";

/// The codec of Django's own sessions. Django and Rust can read each other's sessions.
///
/// Payloads are signed, not encrypted: anyone who can read the store can read the sessions. The
/// signature is verified before anything else in a payload is read. As in Django's sessions, the
/// time in a payload is not checked; a session ends with the record's time to live.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use codex_kv::session::{DjangoSigned, SessionCodec, SessionData};
///
/// let codec = DjangoSigned::new("the SECRET_KEY of Django's settings");
/// let data = SessionData::from_json(r#"{"uid":42}"#)?;
/// let payload = codec.encode(&data, SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))?;
/// assert!(payload.starts_with(b"eyJ1aWQiOjQyfQ:1r31eq:"));
/// assert_eq!(codec.decode(&payload)?, data);
/// # Ok::<(), codex_kv::session::CodecError>(())
/// ```
#[derive(Clone)]
pub struct DjangoSigned {
    /// The current secret first. Kept so that `with_salt` can derive the signers again.
    secrets: Vec<SecretKey>,
    /// The signers of the secrets, in the same order.
    signers: Vec<Signer>,
    salt: String,
    max_size: usize,
}

impl DjangoSigned {
    /// The default of [`with_max_size`](Self::with_max_size): 1 MiB of JSON text.
    pub const DEFAULT_MAX_SIZE: usize = 1 << 20;

    /// Creates a codec that signs and verifies with this secret, Django's `SECRET_KEY`.
    ///
    /// An empty secret is an error when the store is built and in every `encode` and `decode`.
    pub fn new(secret: impl Into<SecretKey>) -> Self {
        Self {
            secrets: Vec::new(),
            signers: Vec::new(),
            salt: SALT.to_owned(),
            max_size: Self::DEFAULT_MAX_SIZE,
        }
        .with_fallbacks([secret])
    }

    /// Adds secrets that verify but do not sign: Django's `SECRET_KEY_FALLBACKS`. New payloads are
    /// signed with the current secret.
    ///
    /// # Rotation
    ///
    /// To replace the secret while processes with the old and the new secret run at the same time,
    /// deploy three times. Complete each deployment on every process before the next step:
    ///
    /// 1. the old secret, with the new secret among the fallbacks: every process can verify the new
    ///    secret's signatures;
    /// 2. the new secret, with the old secret among the fallbacks;
    /// 3. the new secret alone, after the longest session that was signed with the old secret has
    ///    ended.
    ///
    /// A process that skips the first step treats sessions that other processes signed as missing,
    /// which logs their users out.
    #[must_use]
    pub fn with_fallbacks<S: Into<SecretKey>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        for secret in secrets {
            let secret = secret.into();
            self.signers.push(Signer::new(&self.salt, &secret));
            self.secrets.push(secret);
        }
        self
    }

    /// Signs and verifies with a salt other than `django.contrib.sessions.SessionStore`. Django's
    /// salt is `django.contrib.sessions.` plus the qualified name of the engine's class, so the
    /// default fits every session engine whose class is called `SessionStore`.
    ///
    /// ```
    /// use codex_kv::DjangoSigned;
    ///
    /// // Of `class TenantSession(SessionBase)`.
    /// let codec = DjangoSigned::new("the SECRET_KEY of Django's settings")
    ///     .with_salt("django.contrib.sessions.TenantSession");
    /// ```
    #[must_use]
    pub fn with_salt(mut self, salt: impl Into<String>) -> Self {
        self.salt = salt.into();
        self.signers = self
            .secrets
            .iter()
            .map(|secret| Signer::new(&self.salt, secret))
            .collect();
        self
    }

    /// Refuses to read or write a session whose JSON text is longer than this many bytes.
    /// Compressed payloads are not inflated beyond the limit.
    #[must_use]
    pub fn with_max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    fn too_large(&self) -> CodecError {
        CodecError::TooLarge { limit: self.max_size }
    }

    /// Returns the JSON text of `body`. Never inflates more than the limit.
    fn json_of(&self, body: &[u8]) -> Result<Vec<u8>, CodecError> {
        let (compressed, base64) = match body {
            [b'.', rest @ ..] => (true, rest),
            _ => (false, body),
        };
        if !compressed && base64.len() / 4 * 3 > self.max_size {
            return Err(self.too_large());
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(base64)
            .map_err(|_| CodecError::Malformed("the body is not URL-safe base64"))?;
        let json = if compressed {
            zlib::inflated(&bytes, self.max_size).ok_or(CodecError::Malformed("the body is not a zlib stream"))?
        } else {
            bytes
        };
        if json.len() > self.max_size {
            return Err(self.too_large());
        }
        Ok(json)
    }
}

impl SessionCodec for DjangoSigned {
    fn encode(&self, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        self.validate()?;
        let json = data.to_json();
        if json.len() > self.max_size {
            return Err(self.too_large());
        }
        let mut payload = String::with_capacity(json.len().div_ceil(3) * 4 + 64);
        // Like Django, store the compressed form if it is shorter by more than one byte.
        if let Some(deflated) = zlib::deflated(json.as_bytes(), json.len().saturating_sub(2)) {
            payload.push('.');
            URL_SAFE_NO_PAD.encode_string(deflated, &mut payload);
        } else {
            URL_SAFE_NO_PAD.encode_string(&json, &mut payload);
        }
        payload.push(':');
        push_base62(&mut payload, unix_seconds(now));
        let signer = self.signers.first().ok_or(CodecError::EmptySecret)?;
        let signature = signer.sign(payload.as_bytes());
        payload.push(':');
        URL_SAFE_NO_PAD.encode_string(signature, &mut payload);
        Ok(payload.into())
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        self.validate()?;
        let (signed, signature) = split_last_colon(payload).ok_or(CodecError::BadSignature)?;
        let mut tag = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(signature, &mut tag) {
            Ok(32) => {}
            _ => return Err(CodecError::BadSignature),
        }
        if !self.signers.iter().any(|signer| signer.verify(signed, &tag)) {
            return Err(CodecError::BadSignature);
        }
        let (body, timestamp) = split_last_colon(signed).ok_or(CodecError::Malformed("there is no timestamp"))?;
        if !is_base62(timestamp) {
            return Err(CodecError::Malformed("the timestamp is not base 62"));
        }
        let json = self.json_of(body)?;
        SessionData::from_json(&latin1(&json))
    }

    fn validate(&self) -> Result<(), CodecError> {
        if self.secrets.iter().any(|secret| secret.as_bytes().is_empty()) {
            return Err(CodecError::EmptySecret);
        }
        Ok(())
    }
}

impl fmt::Debug for DjangoSigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DjangoSigned")
            .field("fallbacks", &self.secrets.len().saturating_sub(1))
            .field("max_size", &self.max_size)
            .finish_non_exhaustive()
    }
}

/// HMAC-SHA256 with a processed key, because processing the key is most of the cost of a short
/// message. Wiped when dropped.
#[derive(Clone)]
struct Signer(Hmac<Sha256>);

impl Signer {
    fn new(salt: &str, secret: &SecretKey) -> Self {
        // Django's `Signer.signature` appends this word to the salt.
        let derived = Sha256::new().chain_update(salt).chain_update("signer");
        let derived = derived.chain_update(secret.as_bytes());
        let mut key = Zeroizing::new([0; 64]);
        // RFC 2104 pads a key shorter than a block with zeros, so this block is equivalent to the
        // key.
        key[..32].copy_from_slice(&derived.finalize());
        Self(Hmac::new((&*key).into()))
    }

    fn sign(&self, message: &[u8]) -> [u8; 32] {
        self.0.clone().chain_update(message).finalize().into_bytes().into()
    }

    /// Verifies in constant time.
    fn verify(&self, message: &[u8], tag: &[u8]) -> bool {
        self.0.clone().chain_update(message).verify_slice(tag).is_ok()
    }
}

/// Decodes the bytes as Latin-1, as Django does. Django writes only ASCII, which needs no copy.
fn latin1(json: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(json) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => json.iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn split_last_colon(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().rposition(|&byte| byte == b':')?;
    Some((&bytes[..colon], &bytes[colon + 1..]))
}

/// Returns the whole seconds since 1970, rounded towards zero like Python's `int(time.time())`.
/// Earlier times are negative.
fn unix_seconds(now: SystemTime) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => seconds(after),
        Err(before) => -seconds(before.duration()),
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn push_base62(out: &mut String, number: i64) {
    if number < 0 {
        out.push('-');
    }
    let mut rest = number.unsigned_abs();
    let mut digits = Vec::with_capacity(11);
    loop {
        digits.push(char::from(BASE62[(rest % 62) as usize]));
        rest /= 62;
        if rest == 0 {
            break;
        }
    }
    out.extend(digits.iter().rev());
}

fn is_base62(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_as_django_writes_it() {
        for (number, text) in [
            (0, "0"),
            (61, "z"),
            (62, "10"),
            (-1, "-1"),
            (1_700_000_000, "1r31eq"),
            (i64::MIN, "-AzL8n0Y58m8"),
        ] {
            let mut out = String::new();
            push_base62(&mut out, number);
            assert_eq!(out, text);
            assert!(is_base62(out.as_bytes()));
        }
        for text in ["", "-", "1_", "--1", " 1"] {
            assert!(!is_base62(text.as_bytes()), "{text:?}");
        }
    }

    // A payload that is certainly too long is refused without decoding.
    #[test]
    fn a_body_that_is_too_long_is_not_decoded() {
        let codec = DjangoSigned::new("secret").with_max_size(12);
        let refused = |body: &str| codec.json_of(body.as_bytes()).unwrap_err();
        assert!(matches!(refused(&"!".repeat(20)), CodecError::TooLarge { limit: 12 }));
        assert!(matches!(refused(&"!".repeat(16)), CodecError::Malformed(_)));
        // The length of a compressed payload does not limit the length of its content.
        assert!(matches!(
            refused(&format!(".{}", "!".repeat(20))),
            CodecError::Malformed(_)
        ));
        assert_eq!(codec.json_of("QUFB".repeat(4).as_bytes()).unwrap(), b"AAAAAAAAAAAA");
    }

    #[test]
    fn time_is_whole_seconds_on_either_side_of_1970() {
        let nearly_two = std::time::Duration::from_millis(1_999);
        assert_eq!(unix_seconds(SystemTime::UNIX_EPOCH + nearly_two), 1);
        assert_eq!(unix_seconds(SystemTime::UNIX_EPOCH), 0);
        assert_eq!(unix_seconds(SystemTime::UNIX_EPOCH - nearly_two), -1);
    }

    #[test]
    fn debug_shows_no_secret() {
        let debug = format!("{:?}", DjangoSigned::new("hunter2").with_fallbacks(["hunter1"]));
        assert_eq!(debug, "DjangoSigned { fallbacks: 1, max_size: 1048576, .. }");
    }

    // Django writes ASCII, but reads Latin-1.
    #[test]
    fn bytes_past_ascii_are_latin_1() {
        assert_eq!(latin1(b"na\xefve"), "na\u{ef}ve");
        assert_eq!(latin1("\u{ef}".as_bytes()), "\u{c3}\u{af}");
    }
}
