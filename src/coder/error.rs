//! The errors of the coder.

use std::fmt;

/// The reason that the coder cannot represent a value or read a text. It never contains the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoderError(&'static str);

impl CoderError {
    /// Returns an error for a custom [`TextForm`](super::TextForm). `expected` describes the
    /// expected text or value.
    pub const fn new(expected: &'static str) -> Self {
        Self(expected)
    }
}

impl fmt::Display for CoderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for CoderError {}

const MOMENT: &str =
    "a datetime, date or time of the coder has a year from 1 to 9999, whole microseconds and no leap second";
const TIMEDELTA: &str = "a timedelta of the coder has whole microseconds that its seconds as a float hold exactly, and less than a billion days";

/// The message for a type whose `Serialize` implementation writes an unexpected form, which can be
/// caused by other features of the type's crate.
pub(super) const HIDDEN: &str =
    "the coder does not recognise what serde writes for this type; use one of the coder's newtypes or modules";

pub(super) const MOMENT_REFUSED: CoderError = CoderError(MOMENT);
pub(super) const TIMEDELTA_REFUSED: CoderError = CoderError(TIMEDELTA);

/// The messages of failed dumps. They contain no value, so other serializers may pass them on.
pub(crate) const REFUSALS: [&str; 3] = [MOMENT, TIMEDELTA, HIDDEN];
