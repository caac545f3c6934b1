//! The error of session calls.

use super::CodecError;

/// The error of a session call. It contains no key, value or payload, so it can be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The record was deleted elsewhere or has expired. Nothing was written. The user needs a new
    /// session.
    #[error("the session was deleted elsewhere or has expired")]
    Gone,
    /// The record was changed elsewhere since it was loaded. Nothing was written: load again, or
    /// use [`update`](super::SessionStore::update).
    #[error("the session was changed elsewhere since it was loaded")]
    Conflict,
    /// Every generated key is already in use, which cannot happen by chance.
    #[error("every new session key that was tried is taken")]
    KeyTaken,
    /// The data to write, or the record that was read, exceeds the codec's limit. Nothing was
    /// written.
    #[error("the session is larger than {limit} bytes of JSON")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A value could not be written as JSON or read as the requested type, or the codec's settings
    /// are invalid.
    #[error(transparent)]
    Codec(CodecError),
    /// The backend failed, or refused an expiry.
    /// [`may_have_executed`](codex_traits::Error::may_have_executed) returns whether it may have
    /// written.
    #[error(transparent)]
    Backend(#[from] codex_traits::Error),
    /// The operating system's random generator failed. Nothing was written.
    #[error("no session key could be generated: {0}")]
    Generator(String),
    /// The session of a request was used after the response, when changes are no longer saved.
    #[error("the request has finished, so changes to its session are no longer saved")]
    Finished,
    /// The arguments are invalid. The message says what was expected. Nothing was changed.
    #[error("{0}")]
    InvalidArgument(&'static str),
    /// A setting of the builder is invalid.
    #[error("{0}")]
    Config(&'static str),
}

impl From<CodecError> for SessionError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::TooLarge { limit } => Self::TooLarge { limit },
            error => Self::Codec(error),
        }
    }
}
