//! Failures of clauses.

use std::fmt;

use bytes::Bytes;
use codex_traits::{Error, ErrorKind};

/// The reason why a clause did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The backend breaks the clause. The text says what was expected and what happened.
    Broken(String),
    /// The clause does not apply to this backend, or the harness cannot test it.
    NotApplicable(&'static str),
    /// The clause would harm the store under test. Another store of the same backend might pass it.
    Avoided(&'static str),
}

/// The outcome of a clause, or of a step of a clause.
pub type Checked<T = ()> = Result<T, Failure>;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(format!("expected no error, got one of kind {}: {error}", error.kind()))
    }
}

/// Ends the clause with a message if `condition` does not hold.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::failure::Failure::Broken(format!($($message)+)));
        }
    };
}

/// Ends the clause with a message that shows both values if `got` is not `expected`.
macro_rules! ensure_eq {
    ($got:expr, $expected:expr, $($message:tt)+) => {
        match (&$got, &$expected) {
            (got, expected) => {
                if got != expected {
                    return Err($crate::failure::mismatch(&format!($($message)+), expected, got));
                }
            }
        }
    };
}

pub(crate) use {ensure, ensure_eq};

pub(crate) fn mismatch(what: &str, expected: &dyn fmt::Debug, got: &dyn fmt::Debug) -> Failure {
    Failure::Broken(format!("{what}: expected {}, got {}", show(expected), show(got)))
}

/// Fails unless `got` equals `expected`. For long values, the message says where they differ.
pub(crate) fn ensure_same(got: Option<&Bytes>, expected: Option<&Bytes>, what: &str) -> Checked {
    const SHORT: usize = 100;
    match (got, expected) {
        (got, expected) if got == expected => Ok(()),
        (Some(got), Some(expected)) if got.len().max(expected.len()) > SHORT => {
            let same = got.iter().zip(expected).take_while(|(got, expected)| got == expected);
            Err(Failure::Broken(format!(
                "{what}: expected a value of {} bytes, got one of {} bytes; they differ from byte {} on",
                expected.len(),
                got.len(),
                same.count()
            )))
        }
        (got, expected) => Err(mismatch(what, &expected, &got)),
    }
}

/// Fails unless `result` is an error of `kind`.
pub(crate) fn ensure_kind<T: fmt::Debug>(result: Result<T, Error>, kind: ErrorKind, what: &str) -> Checked {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::Broken(format!(
            "{what}: expected an error of kind {kind}, got one of kind {}: {error}",
            error.kind()
        ))),
        Ok(value) => Err(Failure::Broken(format!(
            "{what}: expected an error of kind {kind}, got Ok({})",
            show(&value)
        ))),
    }
}

/// Returns the `Debug` output, truncated if it is too long to read.
pub(crate) fn show(value: &dyn fmt::Debug) -> String {
    const LONGEST: usize = 300;
    let text = format!("{value:?}");
    match text.char_indices().nth(LONGEST) {
        None => text,
        Some((end, _)) => format!("{}… ({} bytes of text)", &text[..end], text.len()),
    }
}
