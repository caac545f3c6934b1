//! Why there is no connection, and why a request on one has no answer.

use std::io;

use codex_traits::{Error, ErrorKind};

/// Why there is no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// It did not come in time.
    Late,
    /// The connection ended. `sent`: so much of the request was written that it may have been carried out.
    Broken { sent: bool, source: Option<io::ErrorKind> },
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NotSent {
    /// The connection has ended.
    Closed,
    /// Too many requests wait for their replies already, most of which nobody waits for any more.
    Full,
}

/// Why there is no connection. A caller who waited for somebody else's dial gets it too, so it can be cloned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DialError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: &'static str,
    pub(super) source: Option<io::ErrorKind>,
    pub(super) retryable: bool,
}

impl DialError {
    /// For a call; it was not sent.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        // What was right at `connect` and is refused now was changed at the server.
        let kind = if self.kind == ErrorKind::Config {
            ErrorKind::Server
        } else {
            self.kind
        };
        self.with_kind(kind, operation)
    }

    /// For whoever made the settings.
    pub(crate) fn into_connect_error(self) -> Error {
        self.with_kind(self.kind, "connect")
    }

    fn with_kind(self, kind: ErrorKind, operation: &'static str) -> Error {
        let mut error = Error::new(kind, operation, self.message).not_executed();
        if self.retryable {
            error = error.retryable();
        }
        match self.source {
            Some(source) => error.with_source(io::Error::from(source)),
            None => error,
        }
    }

    pub(crate) fn config(message: &'static str) -> Self {
        Self {
            kind: ErrorKind::Config,
            message,
            source: None,
            retryable: false,
        }
    }

    pub(crate) fn unreachable(message: &'static str) -> Self {
        Self {
            kind: ErrorKind::Connection,
            message,
            source: None,
            retryable: true,
        }
    }

    pub(crate) fn late() -> Self {
        Self {
            kind: ErrorKind::Timeout,
            message: "no connection to the server within the connect timeout",
            source: None,
            retryable: true,
        }
    }

    /// Whether the server was given all the time that it gets: a dial that is repeated at once after this is no burden.
    pub(crate) fn is_late(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }

    pub(crate) fn broken(source: Option<io::ErrorKind>) -> Self {
        Self {
            kind: ErrorKind::Connection,
            message: "the connection broke during the login",
            source,
            retryable: true,
        }
    }

    pub(crate) fn server(message: &'static str) -> Self {
        Self {
            kind: ErrorKind::Server,
            message,
            source: None,
            retryable: true,
        }
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self {
            kind: ErrorKind::Connection,
            message: "the server could not be reached",
            source: Some(error.kind()),
            retryable: true,
        }
    }
}

impl From<NotSent> for DialError {
    fn from(_: NotSent) -> Self {
        Self::broken(None)
    }
}
