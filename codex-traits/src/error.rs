//! The error type of every backend.

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

/// The result of a backend call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The category of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store could not be reached, or the connection broke.
    Connection,
    /// No answer arrived within the deadline.
    Timeout,
    /// The store refused the request: it is read-only, out of memory or loading, or the user lacks
    /// a permission.
    Server,
    /// The key holds data that the verb does not work on: another type, or text that is not an
    /// integer.
    Data,
    /// A setting is wrong: a URL, a password, a limit.
    Config,
    /// The caller passed an argument that no store accepts.
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

/// The reason that a backend call failed.
///
/// An error is cheap to clone: clones share the message and the source.
///
/// Neither `Display` nor `Debug` contains a key, a value, a password or a payload, because errors
/// are logged: a key can be a session id, and a value can be anything. The author of a backend must
/// keep them out of the message and the source.
///
/// ```
/// use codex_traits::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Timeout, "get", "no answer within 500 ms");
/// assert_eq!(error.to_string(), "get: no answer within 500 ms");
/// assert!(error.is_retryable());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: Cow<'static, str>,
    may_have_executed: bool,
    retryable: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind` for the verb `operation`, with a message that says what was
    /// expected.
    ///
    /// [`may_have_executed`](Self::may_have_executed) and [`is_retryable`](Self::is_retryable)
    /// start with cautious values that follow from the kind. [`not_executed`](Self::not_executed)
    /// and [`retryable`](Self::retryable) change them.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation,
            message: message.into(),
            may_have_executed: matches!(kind, ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Server),
            retryable: matches!(kind, ErrorKind::Connection | ErrorKind::Timeout),
            source: None,
        }))
    }

    /// Returns the error of [`incr`](crate::KvBackend::incr) on a value that is not an integer.
    pub fn not_an_integer() -> Self {
        Self::new(
            ErrorKind::Data,
            "incr",
            "the stored value is not a decimal 64-bit integer",
        )
    }

    /// Returns the error of [`incr`](crate::KvBackend::incr) for a sum that does not fit.
    pub fn integer_overflow() -> Self {
        Self::new(ErrorKind::Data, "incr", "the sum does not fit a signed 64-bit integer")
    }

    /// Returns the error for an expiry of zero.
    pub fn expiry_is_zero(operation: &'static str) -> Self {
        Self::new(
            ErrorKind::InvalidArgument,
            operation,
            "the expiry must be longer than zero",
        )
    }

    /// Returns the error for an expiry that the store cannot hold.
    pub fn expiry_too_long(operation: &'static str) -> Self {
        Self::new(
            ErrorKind::InvalidArgument,
            operation,
            "the expiry is too long: its end in milliseconds since 1970 must fit a signed 64-bit integer",
        )
    }

    /// Returns the error of [`scan`](crate::KvBackend::scan) for a cursor that the store cannot
    /// read.
    pub fn unreadable_cursor() -> Self {
        Self::new(
            ErrorKind::InvalidArgument,
            "scan",
            "the cursor is not one that this store returned; start again with `Cursor::start()`",
        )
    }

    /// Adds the cause, which must not show a key, a value or a password.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.edit().source = Some(Arc::from(source.into()));
        self
    }

    /// Names the verb that failed.
    ///
    /// The lower layers of a backend need not know which verb they serve. The outermost layer
    /// attaches the name.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.edit().operation = operation;
        self
    }

    /// Marks the error of a request that provably never ran.
    #[must_use]
    pub fn not_executed(mut self) -> Self {
        self.edit().may_have_executed = false;
        self
    }

    /// Marks an error after which the same call can succeed later, if its kind does not imply this.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.edit().retryable = true;
        self
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// Returns the category of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the verb that failed, for example `"get"` or `"connect"`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Returns whether the failed call may have changed the store. `false` means that the request
    /// provably never ran or was refused without effect.
    pub fn may_have_executed(&self) -> bool {
        self.0.may_have_executed
    }

    /// Returns whether the same call can succeed if it is repeated.
    ///
    /// Whether a repetition is safe is a separate question. Repeating a call that is not idempotent
    /// is safe only if [`may_have_executed`](Self::may_have_executed) is `false`.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)
    }
}

// A source's own `Debug` can show more than its `Display`, such as the arguments of a command.
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
        assert_eq!(error.source().unwrap().to_string(), "broken pipe");
    }

    #[test]
    fn the_kind_sets_cautious_defaults() {
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

    #[test]
    fn a_change_to_a_clone_leaves_the_original_alone() {
        let original = Error::new(ErrorKind::Timeout, "dial", "no answer").with_source(Leaky("hunter2"));
        let clone = original.clone().with_operation("get").not_executed();
        assert_eq!((original.operation(), original.may_have_executed()), ("dial", true));
        assert_eq!((clone.operation(), clone.may_have_executed()), ("get", false));
        assert_eq!(clone.source().unwrap().to_string(), "broken pipe");
    }
}
