//! Failures below the backend, and the meaning of the server's error replies.
//!
//! A [`Failure`] has no operation. The backend attaches it once. No text of the server is passed
//! on, because the server echoes an unknown command with its key and value.

use std::{borrow::Cow, error::Error as StdError, io, sync::Arc};

use codex_traits::{Error, ErrorKind};
use redis::{ServerError, Value};

/// The failure of a call, before the name of the verb is attached.
#[derive(Debug, Clone)]
pub(crate) struct Failure(Cause);

#[derive(Debug, Clone)]
enum Cause {
    Own {
        kind: ErrorKind,
        message: Cow<'static, str>,
        may_have_executed: bool,
        is_retryable: bool,
        source: Option<Source>,
        is_refusal: bool,
    },
    /// An error whose text the contract defines.
    Contract(Contract),
}

/// The cause of a failure.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The kind of a system error. Its text is left out, because it can repeat an address.
    Io(io::ErrorKind),
    /// The error of a user's function.
    Other(Arc<dyn StdError + Send + Sync>),
}

#[derive(Debug, Clone, Copy)]
enum Contract {
    TooLong,
    NotAnInteger,
    Overflow,
    UnreadableCursor,
}

impl Failure {
    /// Creates a failure of this kind. The command may have been executed unless the kind excludes
    /// it.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Cause::Own {
            kind,
            message: message.into(),
            may_have_executed: matches!(kind, ErrorKind::Connection | ErrorKind::Timeout | ErrorKind::Server),
            is_retryable: matches!(kind, ErrorKind::Connection | ErrorKind::Timeout),
            source: None,
            is_refusal: false,
        })
    }

    /// States that the command did not run.
    pub(crate) fn not_executed(mut self) -> Self {
        if let Cause::Own { may_have_executed, .. } = &mut self.0 {
            *may_have_executed = false;
        }
        self
    }

    /// States that the same call can succeed later.
    pub(crate) fn retryable(mut self) -> Self {
        if let Cause::Own { is_retryable, .. } = &mut self.0 {
            *is_retryable = true;
        }
        self
    }

    pub(crate) fn with_source(self, kind: Option<io::ErrorKind>) -> Self {
        self.caused_by(kind.map(Source::Io))
    }

    pub(crate) fn caused_by(mut self, cause: Option<Source>) -> Self {
        if let Cause::Own { source, .. } = &mut self.0 {
            *source = cause;
        }
        self
    }

    fn refusal(mut self) -> Self {
        if let Cause::Own { is_refusal, .. } = &mut self.0 {
            *is_refusal = true;
        }
        self
    }

    pub(crate) fn not_an_integer() -> Self {
        Self(Cause::Contract(Contract::NotAnInteger))
    }

    pub(crate) fn unreadable_cursor() -> Self {
        Self(Cause::Contract(Contract::UnreadableCursor))
    }

    /// Returns the failure for a reply that the command cannot have.
    pub(crate) fn unexpected() -> Self {
        Self::new(
            ErrorKind::Server,
            "the server's answer does not have the form that the command returns",
        )
    }

    /// Returns the failure for a count that the command cannot return.
    pub(crate) fn impossible_count() -> Self {
        Self::new(
            ErrorKind::Server,
            "the server's answer counts more keys than the command named",
        )
    }

    /// Returns the failure for a scan that returns to an earlier cursor.
    pub(crate) fn endless_scan() -> Self {
        Self::new(
            ErrorKind::Server,
            "the server's scan returned to an earlier cursor and would never end",
        )
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match &self.0 {
            Cause::Own { kind, .. } => *kind,
            Cause::Contract(Contract::NotAnInteger | Contract::Overflow) => ErrorKind::Data,
            Cause::Contract(Contract::TooLong | Contract::UnreadableCursor) => ErrorKind::InvalidArgument,
        }
    }

    pub(crate) fn may_have_executed(&self) -> bool {
        matches!(
            &self.0,
            Cause::Own {
                may_have_executed: true,
                ..
            }
        )
    }

    /// Returns the name of the kind for metrics, or `"refused"` for an error reply.
    pub(crate) fn outcome(&self) -> &'static str {
        match &self.0 {
            Cause::Own { is_refusal: true, .. } | Cause::Contract(Contract::NotAnInteger | Contract::Overflow) => {
                "refused"
            }
            _ => kind_name(self.kind()),
        }
    }

    /// Converts the failure to an error of this verb.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        match self.0 {
            Cause::Own {
                kind,
                message,
                may_have_executed,
                is_retryable,
                source,
                ..
            } => {
                let mut error = Error::new(kind, operation, message);
                if !may_have_executed {
                    error = error.not_executed();
                }
                if is_retryable {
                    error = error.retryable();
                }
                match source {
                    Some(Source::Io(kind)) => error.with_source(io::Error::from(kind)),
                    Some(Source::Other(source)) => error.with_source(source),
                    None => error,
                }
            }
            Cause::Contract(Contract::TooLong) => Error::expiry_too_long(operation),
            Cause::Contract(Contract::NotAnInteger) => Error::not_an_integer(),
            Cause::Contract(Contract::Overflow) => Error::integer_overflow(),
            Cause::Contract(Contract::UnreadableCursor) => Error::unreadable_cursor(),
        }
    }
}

/// Returns the error in a reply.
pub(crate) fn server_error(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

/// Returns the failure for a command that the server refused to execute.
///
/// `alone` states that no other part of the request can have been executed.
pub(crate) fn refused(error: &ServerError, alone: bool) -> Failure {
    let details = error.details().unwrap_or_default();
    let (code, details) = match error.code() {
        "EXECABORT" => cause_of_abort(details),
        code => (code, details),
    };
    // Kind, message, and whether the same call can succeed later. The server decides each of these
    // before it runs the command.
    let (kind, message, later) = match code {
        "WRONGTYPE" => (ErrorKind::Data, "the key holds another type than a plain value", false),
        "OOM" => (ErrorKind::Server, "the server is out of memory (OOM)", false),
        "NOAUTH" => (ErrorKind::Server, "the server wants a login first (NOAUTH)", false),
        "NOPERM" => (
            ErrorKind::Server,
            "the server's user has no permission for this (NOPERM)",
            false,
        ),
        "READONLY" => (ErrorKind::Server, "the server is a read-only replica (READONLY)", true),
        "LOADING" => (
            ErrorKind::Server,
            "the server is still loading its data (LOADING)",
            true,
        ),
        "BUSY" => (ErrorKind::Server, "the server is busy with a script (BUSY)", true),
        "MASTERDOWN" => (ErrorKind::Server, "the replica has lost its primary (MASTERDOWN)", true),
        "MISCONF" => (
            ErrorKind::Server,
            "the server cannot save to disk and refuses writes (MISCONF)",
            false,
        ),
        "NOREPLICAS" => (
            ErrorKind::Server,
            "the server has too few replicas to write (NOREPLICAS)",
            true,
        ),
        "CLUSTERDOWN" => (
            ErrorKind::Server,
            "the cluster does not serve this slot (CLUSTERDOWN)",
            true,
        ),
        "TRYAGAIN" => (ErrorKind::Server, "the cluster is moving this slot (TRYAGAIN)", true),
        "MOVED" | "ASK" => (
            ErrorKind::Server,
            "another node of the cluster serves this key: connect with a redis-cluster:// URL, and retry a transaction",
            false,
        ),
        "CROSSSLOT" => (
            ErrorKind::Server,
            "the keys are in different slots of the cluster (CROSSSLOT): connect with a redis-cluster:// URL, and give the keys of a transaction one hash tag",
            false,
        ),
        // Scripts do not get the code NOPERM. Earlier commands of the script may have run.
        _ if details.starts_with("The user executing the script can't")
            || details.starts_with("ACL failure in script") =>
        {
            let message = "the server's user has no permission for a command of a script (NOPERM)";
            return Failure::new(ErrorKind::Server, message).refusal();
        }
        _ if details.contains("invalid bulk length") => (
            ErrorKind::Server,
            "the request is larger than the server accepts: store less, or raise its `proto-max-bulk-len`",
            false,
        ),
        _ if details.contains("invalid expire time") => return Failure(Cause::Contract(Contract::TooLong)),
        _ if details.contains("value is not an integer") => return Failure::not_an_integer(),
        _ if details.contains("would overflow") => return Failure(Cause::Contract(Contract::Overflow)),
        code => return unknown(code).refusal(),
    };
    let failure = Failure::new(kind, message).refusal();
    let failure = if alone { failure.not_executed() } else { failure };
    if later { failure.retryable() } else { failure }
}

/// Returns the code and the text of the error for which the server refused `EXEC`, as in
/// "Transaction discarded because of: NOPERM …". There is none if an earlier reply holds the cause.
fn cause_of_abort(details: &str) -> (&str, &str) {
    let cause = details.split_once("because of: ");
    let cause = cause.map(|(_, cause)| cause.split_once(' ').unwrap_or((cause, "")));
    cause
        .filter(|(code, _)| known_code(code) != "other")
        .unwrap_or(("EXECABORT", details))
}

/// Returns the failure for an error reply to a command that may have had an effect.
fn unknown(code: &str) -> Failure {
    let code = known_code(code);
    Failure::new(ErrorKind::Server, format!("the server answered with an error ({code})"))
}

/// Returns the code if it is a known code of Redis, or else `"other"`. Any other word might be a
/// part of the request.
pub(crate) fn known_code(code: &str) -> &'static str {
    const KNOWN: [&str; 28] = [
        "ERR",
        "WRONGTYPE",
        "OOM",
        "NOAUTH",
        "NOPERM",
        "WRONGPASS",
        "READONLY",
        "LOADING",
        "BUSY",
        "BUSYKEY",
        "BUSYGROUP",
        "MASTERDOWN",
        "MISCONF",
        "NOREPLICAS",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "MOVED",
        "ASK",
        "CROSSSLOT",
        "NOSCRIPT",
        "EXECABORT",
        "UNKILLABLE",
        "NOPROTO",
        "NOGOODSLAVE",
        "NOGROUP",
        "DENIED",
        "INPROG",
        "NOQUORUM",
    ];
    KNOWN.into_iter().find(|known| *known == code).unwrap_or("other")
}

/// Returns the kind in one word.
pub(crate) fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Connection => "connection",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Server => "server",
        ErrorKind::Data => "data",
        ErrorKind::Config => "config",
        ErrorKind::InvalidArgument => "invalid_argument",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_are_shown() {
        for (line, shown) in [
            ("-UNKILLABLE x\r\n", "(UNKILLABLE)"),
            ("-HUNTER2 x\r\n", "(other)"),
            ("-hunter2\r\n", "(other)"),
            (
                "-EXECABORT Transaction discarded because of previous errors.\r\n",
                "(EXECABORT)",
            ),
            (
                "-EXECABORT Transaction discarded because of: NOPERM hunter2\r\n",
                "permission for this (NOPERM)",
            ),
            (
                "-EXECABORT Transaction discarded because of: hunter2\r\n",
                "(EXECABORT)",
            ),
            (
                "-ERR The user executing the script can't run this command or subcommand script: hunter2\r\n",
                "a command of a script (NOPERM)",
            ),
            (
                "-ERR ACL failure in script: User hunter2 has no permissions\r\n",
                "a command of a script (NOPERM)",
            ),
            ("-ERR Protocol error: invalid bulk length\r\n", "proto-max-bulk-len"),
        ] {
            let Ok(Value::ServerError(error)) = redis::parse_redis_value(line.as_bytes()) else {
                panic!("{line}")
            };
            let error = refused(&error, true).into_error("get");
            assert!(error.to_string().contains(shown), "{error}");
            assert!(!format!("{error:?}").to_lowercase().contains("hunter2"), "{error:?}");
        }
    }
}
