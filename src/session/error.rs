//! Why a session verb failed.

use super::CodecError;

/// Why a session verb failed. Holds no key, no value and no payload, so that it can be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The record was deleted elsewhere or has expired. Nothing was written: the user is to start
    /// anew.
    #[error("the session was deleted elsewhere or has expired")]
    Gone,
    /// The record was changed elsewhere since it was loaded. Nothing was written: load again, or
    /// use [`update`](super::SessionStore::update).
    #[error("the session was changed elsewhere since it was loaded")]
    Conflict,
    /// Every new key that was tried is in use, which chance does not explain.
    #[error("every new session key that was tried is taken")]
    KeyTaken,
    /// The data is more than the codec takes. Nothing was written.
    #[error("the session is larger than {limit} bytes of JSON")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A value could not be written as JSON, or read as the type asked for; or the codec is not set
    /// up to work.
    #[error(transparent)]
    Codec(CodecError),
    /// The store failed, or refused an expiry.
    /// [`may_have_executed`](codex_traits::Error::may_have_executed) says whether it may have
    /// written.
    #[error(transparent)]
    Backend(#[from] codex_traits::Error),
    /// The operating system's random generator failed. Nothing was written.
    #[error("no session key could be drawn: {0}")]
    Generator(String),
    /// A request's session was used after its response; nothing of it would be saved.
    #[error("the request is over, so that nothing of its session would be saved")]
    Finished,
    /// The caller asked for what no session can do; the message says what was expected. Nothing was
    /// changed.
    #[error("{0}")]
    InvalidArgument(&'static str),
    /// A setting of the builder is wrong.
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
