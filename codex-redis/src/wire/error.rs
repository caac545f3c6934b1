//! What the server and the connection say, as errors of the contract.
//!
//! No text of theirs is handed on: an unknown command is echoed with key and value, and a reply that cannot be read with its bytes.

use std::io;

use codex_traits::{Error, ErrorKind};
use redis::ServerError;

/// The server's answer to a command that it did not carry out.
///
/// `alone` is whether the command was the only one of its request; of several, others may have been carried out.
pub(crate) fn refused(operation: &'static str, error: &ServerError, alone: bool) -> Error {
    let details = error.details().unwrap_or_default();
    // `kind`, message, and whether the same call can succeed later. Each of these is decided by the server before it runs the
    // command.
    let (kind, message, later) = match error.code() {
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
        "MOVED" | "ASK" | "CROSSSLOT" => (
            ErrorKind::Server,
            "the server is a node of a cluster that does not serve this key; a redis-cluster:// URL would follow",
            false,
        ),
        _ if details.contains("invalid expire time") => return Error::expiry_too_long(operation),
        _ if details.contains("value is not an integer") => return Error::not_an_integer(),
        _ if details.contains("would overflow") => return Error::integer_overflow(),
        code => return unknown(operation, code),
    };
    let error = Error::new(kind, operation, message);
    let error = if alone { error.not_executed() } else { error };
    if later { error.retryable() } else { error }
}

/// An answer of which it is not known whether it came before the command had an effect.
fn unknown(operation: &'static str, code: &str) -> Error {
    // A code is a word in capitals; anything else might be a part of what was sent.
    let is_code = !code.is_empty() && code.len() <= 16 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = if is_code { code } else { "no code" };
    Error::new(
        ErrorKind::Server,
        operation,
        format!("the server answered with an error ({code})"),
    )
}

/// A reply that this command does not have.
pub(crate) fn unexpected(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Server,
        operation,
        "the server's answer has another form than the command's",
    )
}

/// The connection broke with the request under way. `sent`: it may have arrived.
pub(crate) fn broken(operation: &'static str, sent: bool, source: Option<io::ErrorKind>) -> Error {
    let failed = if sent {
        Error::new(
            ErrorKind::Connection,
            operation,
            "the connection broke before the answer",
        )
    } else {
        Error::new(
            ErrorKind::Connection,
            operation,
            "the connection broke before the request was sent",
        )
        .not_executed()
        .retryable()
    };
    match source {
        Some(kind) => failed.with_source(io::Error::from(kind)),
        None => failed,
    }
}
