//! Reasons for a failed dial, the end of a connection, and a request without an answer.

use std::{io, panic::AssertUnwindSafe};

use codex_traits::ErrorKind;
use futures_util::FutureExt as _;

use crate::{
    config::credentials::ProviderError,
    wire::{Failure, error::Source},
};

/// The text for a connection that ended while it was dialled.
pub(super) const BROKEN: &str = "the connection broke while it was dialled";

/// The reason why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed it, or the network did.
    Closed(io::ErrorKind),
    /// The server ended the TLS session for this reason, which it sends in place of its first
    /// answer.
    #[cfg(feature = "tls")]
    Tls(&'static str),
    /// The server sent bytes that are not RESP.
    Malformed,
    /// Replies would take more memory than is allowed.
    TooLarge,
    /// The server sent a reply that belongs to no request, so later replies cannot be matched to
    /// their requests either.
    Surplus,
    /// Too many deadlines passed in a row, or the oldest request was overdue for too long.
    Stalled,
    /// The connection is no longer used, or its runtime is gone.
    Stopped,
}

impl End {
    pub(super) fn of(error: &io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(refusal) = super::tls::misconfigured(error) {
            return Self::Tls(refusal);
        }
        Self::Closed(error.kind())
    }

    /// Returns the reason in a few words, for logs and metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Closed(_) | Self::Stopped => "broken",
            #[cfg(feature = "tls")]
            Self::Tls(reason) => reason,
            Self::Malformed => "not RESP",
            Self::TooLarge => "reply too large",
            Self::Surplus => "a reply to no request",
            Self::Stalled => "timeouts in a row",
        }
    }

    fn source(self) -> Option<io::ErrorKind> {
        match self {
            Self::Closed(kind) => Some(kind),
            _ => None,
        }
    }
}

/// The reason why a request has no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    /// The answer did not arrive in time.
    Late,
    /// The connection ended.
    Broken {
        /// Enough of the request was written that it may have been executed.
        is_sent: bool,
        /// A part of the reply had arrived.
        is_begun: bool,
        end: End,
    },
}

impl Lost {
    /// Returns whether a request that changes nothing may be sent again: the connection was closed
    /// before any byte of the reply arrived.
    pub(crate) fn is_closed_before_the_reply(self) -> bool {
        matches!(
            self,
            Self::Broken {
                is_begun: false,
                end: End::Closed(_),
                ..
            }
        )
    }
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        let Lost::Broken { is_sent, end, .. } = lost else {
            return Self::new(ErrorKind::Timeout, "no answer within the deadline");
        };
        let (kind, message) = match end {
            End::Malformed => (
                ErrorKind::Connection,
                "the server's answer is not valid RESP, so the connection was closed",
            ),
            End::TooLarge => (
                ErrorKind::Server,
                "the server's answers exceed max_reply_bytes, so the connection was closed",
            ),
            End::Surplus => (
                ErrorKind::Connection,
                "the server sent a reply to no request, so the connection was closed",
            ),
            End::Stalled => (
                ErrorKind::Connection,
                "the connection stalled and was closed before the answer",
            ),
            #[cfg(feature = "tls")]
            End::Tls(_) => (
                ErrorKind::Connection,
                "the server ended the TLS session before the answer",
            ),
            End::Closed(_) | End::Stopped => (ErrorKind::Connection, "the connection broke before the answer"),
        };
        if is_sent {
            Self::new(kind, message).with_source(end.source())
        } else {
            Self::new(
                ErrorKind::Connection,
                "the connection broke before the request was sent",
            )
            .not_executed()
            .retryable()
            .with_source(end.source())
        }
    }
}

/// The reason why a connection did not accept a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NotSent {
    /// The connection has ended.
    Closed,
    /// Too many requests are already unanswered. The callers of most of them have given up.
    Full,
}

/// The reason why a dial failed. Calls that waited for another call's dial get a clone.
#[derive(Debug, Clone)]
pub(crate) struct DialError {
    pub(crate) kind: ErrorKind,
    pub(crate) message: &'static str,
    source: Option<Source>,
    is_retryable: bool,
    reason: Reason,
}

/// The step of a dial that the server refused, for callers that know a better remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The login is missing or wrong.
    Login,
    /// The server does not accept RESP3.
    Resp3,
    Other,
}

impl DialError {
    /// Converts to the failure of a call, which was not sent.
    pub(crate) fn into_failure(self) -> Failure {
        // A setting that was accepted when the handle was built and is refused now has changed at
        // the server.
        let kind = if self.kind == ErrorKind::Config {
            ErrorKind::Server
        } else {
            self.kind
        };
        self.with_kind(kind)
    }

    /// Converts to the failure of the call that builds a handle.
    pub(crate) fn into_connect_failure(self) -> Failure {
        let kind = self.kind;
        self.with_kind(kind)
    }

    fn with_kind(self, kind: ErrorKind) -> Failure {
        let failure = Failure::new(kind, self.message).not_executed().caused_by(self.source);
        if self.is_retryable {
            failure.retryable()
        } else {
            failure
        }
    }

    fn new(kind: ErrorKind, message: &'static str, is_retryable: bool) -> Self {
        Self {
            kind,
            message,
            source: None,
            is_retryable,
            reason: Reason::Other,
        }
    }

    pub(crate) fn with_reason(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the error for a wrong setting, here or at the server. Dialling again does not help.
    pub(crate) fn config(message: &'static str) -> Self {
        Self::new(ErrorKind::Config, message, false)
    }

    pub(crate) fn unreachable(message: &'static str) -> Self {
        Self::new(ErrorKind::Connection, message, true)
    }

    /// Returns the error for a dial on a runtime that is shut down.
    pub(crate) fn shut_down() -> Self {
        Self::unreachable("the runtime of this call is shut down; call the backend on another runtime")
    }

    pub(crate) fn late(message: &'static str) -> Self {
        Self::new(ErrorKind::Timeout, message, true)
    }

    pub(crate) fn server(message: &'static str) -> Self {
        Self::new(ErrorKind::Server, message, true)
    }

    pub(crate) fn because(mut self, source: Option<io::ErrorKind>) -> Self {
        self.source = source.map(Source::Io);
        self
    }

    /// Returns the error for a credentials provider that failed with `error`.
    pub(super) fn of_provider(error: ProviderError) -> Self {
        let mut failed = Self::unreachable("the credentials provider failed; its error is the source of this one");
        failed.source = Some(Source::Other(error.into()));
        failed
    }

    /// Returns whether the dial used up its timeout. Dialling again immediately after that adds
    /// little load.
    pub(crate) fn is_late(&self) -> bool {
        self.kind == ErrorKind::Timeout
    }
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let message = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "the server refused the connection: nothing listens at this address; check host, port and whether it runs"
            }
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "the server could not be reached: there is no route to its host"
            }
            io::ErrorKind::PermissionDenied => {
                "the server could not be reached: the system denies it; a Unix socket needs write permission"
            }
            io::ErrorKind::NotFound => "there is no Unix socket at this path: check it, and whether the server runs",
            _ => "the server could not be reached",
        };
        Self::unreachable(message).because(Some(error.kind()))
    }
}

impl From<End> for DialError {
    fn from(end: End) -> Self {
        match end {
            #[cfg(feature = "tls")]
            End::Tls(refusal) => Self::config(refusal),
            End::Malformed => Self::unreachable("the server's answer while it was dialled is not valid RESP"),
            end => Self::unreachable(BROKEN).because(end.source()),
        }
    }
}

impl From<NotSent> for DialError {
    fn from(_: NotSent) -> Self {
        Self::unreachable(BROKEN)
    }
}

/// Returns the outcome of a dial, or an error if a function of the application panicked in it.
/// Otherwise the dial would end without an outcome, and the next call would dial at once.
pub(crate) async fn catch_panic<T>(dial: impl Future<Output = Result<T, DialError>>) -> Result<T, DialError> {
    // Nothing of a dial that panicked is used again.
    let outcome = AssertUnwindSafe(dial).catch_unwind().await;
    outcome.unwrap_or(Err(DialError::unreachable(
        "the dial panicked: look for the message of the panic, and fix the credentials provider or the address map",
    )))
}
