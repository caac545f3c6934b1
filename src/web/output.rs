//! The results of closures on a session.

use std::time::{Duration, SystemTime};

use crate::session::{SessionError, SessionKey};

/// The result of a closure of [`Session::with`](super::Session::with): a `Result` whose error is a
/// [`SessionError`], or a plain value of a common type. Wrap any other value in `Ok`.
#[diagnostic::on_unimplemented(
    message = "a closure on a session cannot return `{Self}`",
    note = "wrap the value in `Ok`, and convert an error into a `SessionError`"
)]
pub trait SessionOutput {
    /// The value of the `Result`, or the plain value.
    type Value;

    /// Converts the output to a `Result`.
    ///
    /// # Errors
    ///
    /// The error of the `Result`.
    fn into_result(self) -> Result<Self::Value, SessionError>;
}

// Implemented for this error type only, so that `?` in a closure has an unambiguous target type.
impl<T> SessionOutput for Result<T, SessionError> {
    type Value = T;

    fn into_result(self) -> Self {
        self
    }
}

macro_rules! plain_values {
    ($(($($generic:ident)?) $type:ty),+ $(,)?) => {
        $(impl$(<$generic>)? SessionOutput for $type {
            type Value = Self;

            fn into_result(self) -> Result<Self, SessionError> {
                Ok(self)
            }
        })+
    };
}

plain_values! {
    () (), () bool, () char, () u8, () u16, () u32, () u64, () u128, () usize, () i8, () i16, () i32, () i64, () i128, () isize,
    () f32, () f64, () String, () &'static str, () Duration, () SystemTime, () SessionKey,
    (T) Option<T>, (T) Vec<T>, (T) Box<T>,
}
