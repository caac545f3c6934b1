//! Conversion of errors to responses.

use codex_traits::ErrorKind;

use crate::{CacheError, session::SessionError};

const OK_LATER: (u16, &str) = (
    503,
    "The service is unavailable at the moment. Nothing is lost; please try again shortly.\n",
);
const REFUSED: (u16, &str) = (
    500,
    "The store refuses this request. Trying again does not help; please tell the operator.\n",
);
const BROKEN: (u16, &str) = (500, "Something went wrong. Trying again does not help.\n");

/// Returns the response to a failure of the backend: 503 only if the same request can succeed
/// later.
fn of_backend(error: &codex_traits::Error) -> (u16, &'static str) {
    match error.kind() {
        ErrorKind::Connection | ErrorKind::Timeout => OK_LATER,
        // The server is loading, failing over, or moving a slot.
        ErrorKind::Server if error.is_retryable() => OK_LATER,
        // The server is out of memory, is read-only by configuration, or denies a permission: an
        // operator has to act.
        ErrorKind::Server | ErrorKind::Config => REFUSED,
        // A record of another type, or an argument that no backend accepts: a bug in the program.
        _ => BROKEN,
    }
}

impl SessionError {
    /// Returns the HTTP status of a response that fails with this error.
    ///
    /// | error | status |
    /// |---|---|
    /// | [`Gone`](Self::Gone) | 400, as in Django |
    /// | [`Conflict`](Self::Conflict) | 503: contention is transient |
    /// | [`Backend`](Self::Backend) of kind `Connection` or `Timeout`, or of kind `Server` that is [retryable](codex_traits::Error::is_retryable) | 503 |
    /// | every other error: a missing permission, a record of another type, a value that is not JSON, a wrong setting | 500 |
    pub fn status_code(&self) -> u16 {
        self.answer().0
    }

    /// Returns the status and a text for the visitor, which reveals nothing about the store.
    pub(crate) fn answer(&self) -> (u16, &'static str) {
        match self {
            Self::Gone => (400, "Your session has ended. Please log in again.\n"),
            Self::Conflict => OK_LATER,
            Self::Backend(error) => of_backend(error),
            Self::TooLarge { .. } => (500, "The session is full, so this change was not saved.\n"),
            _ => BROKEN,
        }
    }
}

impl CacheError {
    /// Returns the HTTP status of a response that fails with this error: 503 for an outage and for
    /// other errors that can succeed later, as [`SessionError::status_code`] does, 404 for
    /// [`NotFound`](Self::NotFound), and 500 for the rest.
    pub fn status_code(&self) -> u16 {
        self.answer().0
    }

    pub(crate) fn answer(&self) -> (u16, &'static str) {
        match self {
            Self::NotFound => (404, "There is nothing here.\n"),
            Self::Backend(error) => of_backend(error),
            _ => BROKEN,
        }
    }
}

#[cfg(test)]
mod tests {
    use codex_traits::Error;

    use super::*;
    use crate::session::CodecError;

    fn backend(kind: ErrorKind) -> Error {
        Error::new(kind, "get", "for a test")
    }

    #[test]
    fn sverb_12_each_kind_of_failure_has_its_own_answer() {
        for (kind, status) in [
            (ErrorKind::Connection, 503),
            (ErrorKind::Timeout, 503),
            (ErrorKind::Server, 500),
            (ErrorKind::Data, 500),
            (ErrorKind::Config, 500),
            (ErrorKind::InvalidArgument, 500),
        ] {
            assert_eq!(SessionError::Backend(backend(kind)).status_code(), status, "{kind}");
            assert_eq!(CacheError::Backend(backend(kind)).status_code(), status, "{kind}");
        }
        let loading = || backend(ErrorKind::Server).retryable();
        assert_eq!(SessionError::Backend(loading()).status_code(), 503);
        assert_eq!(CacheError::Backend(loading()).status_code(), 503);
        for (error, status) in [
            (SessionError::Gone, 400),
            (SessionError::Conflict, 503),
            (SessionError::KeyTaken, 500),
            (SessionError::TooLarge { limit: 1 }, 500),
            (SessionError::Codec(CodecError::EmptySecret), 500),
            (SessionError::Generator(String::new()), 500),
            (SessionError::Finished, 500),
            (SessionError::InvalidArgument(""), 500),
            (SessionError::Config(""), 500),
        ] {
            assert_eq!(error.status_code(), status, "{error:?}");
            assert_eq!(status == 503, error.answer() == OK_LATER, "{error:?}");
        }
        assert_eq!(CacheError::NotFound.status_code(), 404);
        assert_eq!(CacheError::InvalidArgument("".into()).status_code(), 500);
    }
}
