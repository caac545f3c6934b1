//! The one error of every backend.

use std::{borrow::Cow, error::Error as StdError, fmt};

/// The result of every backend call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store could not be reached, or the connection broke.
    Connection,
    /// No answer within the deadline.
    Timeout,
    /// The store answered that it will not or cannot: read-only, out of memory, no permission, loading.
    Server,
    /// The store holds something that the verb does not work on: another type, or text that is no integer.
    Data,
    /// A setting is wrong: a URL, a password, a limit.
    Config,
    /// The caller asked for what no store can do.
    InvalidArgument,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Server => "server",
            Self::Data => "data",
            Self::Config => "configuration",
            Self::InvalidArgument => "invalid argument",
        })
    }
}

/// Why a backend call failed.
///
/// Neither its `Display` nor its `Debug` holds a key, a value, a password or a payload: a key can be a session id and a value
/// anything, and errors are logged. A backend author owes the same for the message and for the source that is handed in.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: Cow<'static, str>,
    may_have_executed: bool,
    retryable: bool,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind` from the verb `operation`, with a message that says what was expected.
    ///
    /// What [`may_have_executed`](Self::may_have_executed) and [`is_retryable`](Self::is_retryable) answer follows from the
    /// kind, on the side of caution; [`not_executed`](Self::not_executed) and [`retryable`](Self::retryable) say otherwise.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            message: message.into(),
            may_have_executed: matches!(kind, ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Server),
            retryable: matches!(kind, ErrorKind::Connection | ErrorKind::Timeout),
            source: None,
        }))
    }

    /// With what caused it, which must not show a key, a value or a password.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// States that the request provably never ran.
    #[must_use]
    pub fn not_executed(mut self) -> Self {
        self.0.may_have_executed = false;
        self
    }

    /// States that the same call can succeed later, for a kind where that is not a matter of course.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.0.retryable = true;
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The verb that failed, `"get"` or `"connect"` for example.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Whether the store may have been changed by the failed call. `false` only where the request provably never ran, or
    /// was refused without effect.
    pub fn may_have_executed(&self) -> bool {
        self.0.may_have_executed
    }

    /// Whether the same call can succeed when it is made again. Whether making it again is safe is another question:
    /// for a verb that is not idempotent, only where [`may_have_executed`](Self::may_have_executed) is `false`.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// What caused it, where something did.
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)
    }
}

// By hand: a source's own `Debug` tends to show more than its `Display`, the arguments of a command for example.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("may_have_executed", &self.0.may_have_executed)
            .field("retryable", &self.0.retryable)
            .field("source", &self.0.source.as_ref().map(ToString::to_string))
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only its Debug is looked at")]
    struct Leaky(&'static str);

    impl fmt::Display for Leaky {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("broken pipe")
        }
    }

    impl StdError for Leaky {}

    #[test]
    fn debug_shows_a_source_by_its_display_only() {
        let error = Error::new(ErrorKind::Connection, "get", "the connection broke").with_source(Leaky("hunter2"));
        let debug = format!("{error:?}");
        assert!(debug.contains("broken pipe") && !debug.contains("hunter2"), "{debug}");
        assert_eq!(StdError::source(&error).unwrap().to_string(), "broken pipe");
    }

    #[test]
    fn caution_follows_the_kind() {
        for (kind, executed, retryable) in [
            (ErrorKind::Connection, true, true),
            (ErrorKind::Timeout, true, true),
            (ErrorKind::Server, true, false),
            (ErrorKind::Data, false, false),
            (ErrorKind::Config, false, false),
            (ErrorKind::InvalidArgument, false, false),
        ] {
            let error = Error::new(kind, "set", "x");
            assert_eq!(
                (error.may_have_executed(), error.is_retryable()),
                (executed, retryable),
                "{kind}"
            );
        }
        let error = Error::new(ErrorKind::Server, "set", "loading")
            .not_executed()
            .retryable();
        assert_eq!((error.may_have_executed(), error.is_retryable()), (false, true));
    }
}
