//! The error type of all formats, for the values of a cache and the payloads of sessions.

use std::{any::type_name, borrow::Cow};

use crate::session::SessionData;

/// The reason that a value or a payload could not be written or read.
///
/// The error names the Rust type and the category of the failure, and for JSON the line and column.
/// It never contains a key, a value or a part of a payload, so it can be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The format cannot represent a value exactly. Nothing was stored.
    #[error("a value of type `{type_name}` cannot be stored: {reason}")]
    Encode {
        /// The type of the value.
        type_name: &'static str,
        /// The reason, without the value.
        reason: Cow<'static, str>,
    },
    /// A stored value cannot be read as the requested type. It stays in the store.
    #[error("the stored value cannot be read as `{type_name}`: {reason}")]
    Decode {
        /// The requested type.
        type_name: &'static str,
        /// The category and the position, without the value.
        reason: Cow<'static, str>,
    },
    /// None of the codec's secrets signed the session's payload, or the payload was changed.
    #[error("the signature does not match")]
    BadSignature,
    /// The session's payload, or the JSON in it, does not have the expected form.
    #[error("unreadable: {0}")]
    Malformed(&'static str),
    /// The session's data is larger than the limit, counted as JSON text.
    #[error("the session is larger than {limit} bytes of JSON")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A value of the session does not have the requested type.
    #[error("the value cannot be read as `{expected}`")]
    WrongType {
        /// The requested type.
        expected: &'static str,
    },
    /// JSON cannot represent a value of the session.
    #[error("the value cannot be written: {0}")]
    Unwritable(&'static str),
    /// A secret is empty, so anyone could forge a signature.
    #[error("a secret key must not be empty")]
    EmptySecret,
}

impl CodecError {
    /// Returns the error for a `T` that cannot be written.
    ///
    /// Use it to implement a serializer. `reason` must not contain the value.
    pub fn encode<T: ?Sized>(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Encode {
            type_name: type_name::<T>(),
            reason: reason.into(),
        }
    }

    /// Returns the error for a stored value that cannot be read as `T`.
    ///
    /// Use it to implement a serializer. `reason` must not contain the value.
    pub fn decode<T: ?Sized>(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Decode {
            type_name: type_name::<T>(),
            reason: reason.into(),
        }
    }

    /// Returns the name of the Rust type that could not be written or read.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Encode { type_name, .. } | Self::Decode { type_name, .. } => type_name,
            Self::WrongType { expected } => expected,
            _ => type_name::<SessionData>(),
        }
    }

    /// Returns whether the error can only come from reading. [`TooLarge`](Self::TooLarge) comes
    /// from writing and from reading, and returns `false`.
    pub fn is_decode(&self) -> bool {
        matches!(
            self,
            Self::Decode { .. } | Self::BadSignature | Self::Malformed(_) | Self::WrongType { .. }
        )
    }
}
