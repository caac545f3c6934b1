//! A span of time as seconds in a float: Python's `timedelta.total_seconds()`.

use std::time::Duration;

use super::{CoderError, error::TIMEDELTA_REFUSED};

/// Python's `timedelta.max`: less than a billion days.
const MAX_MICROS: u128 = 1_000_000_000 * 86_400 * 1_000_000 - 1;

pub(super) const EXPECTED_SECONDS: &str =
    "expected the seconds of a timedelta with whole microseconds, in this type's range";

/// A type that holds a span of time.
pub trait SecondsForm: Sized {
    /// Returns the microseconds, or `None` if they are not a whole number.
    fn to_micros(&self) -> Option<i128>;

    /// Returns the span of this many microseconds, or `None` if the type cannot hold it.
    fn from_micros(micros: i128) -> Option<Self>;
}

impl SecondsForm for Duration {
    fn to_micros(&self) -> Option<i128> {
        let nanos = self.as_nanos();
        if nanos.is_multiple_of(1000) {
            i128::try_from(nanos / 1000).ok()
        } else {
            None
        }
    }

    fn from_micros(micros: i128) -> Option<Self> {
        let micros = u128::try_from(micros).ok()?;
        let seconds = u64::try_from(micros / 1_000_000).ok()?;
        Some(Self::from_secs(seconds) + Self::from_micros(u64::try_from(micros % 1_000_000).ok()?))
    }
}

/// Returns the seconds of a timedelta.
///
/// # Errors
///
/// [`CoderError`] if the span is not a whole number of microseconds, is a billion days or longer,
/// or is so long (from about 285 years) that a float cannot distinguish its microseconds.
pub fn dump_timedelta(span: &impl SecondsForm) -> Result<f64, CoderError> {
    let exact = |micros: &i128| seconds(*micros).and_then(micros_of) == Some(*micros);
    let micros = span.to_micros().filter(exact).ok_or(TIMEDELTA_REFUSED)?;
    seconds(micros).ok_or(TIMEDELTA_REFUSED)
}

/// Reads a timedelta.
///
/// # Errors
///
/// [`CoderError`] if the seconds are not whole microseconds, or the type cannot hold them.
pub fn load_timedelta<T: SecondsForm>(seconds: f64) -> Result<T, CoderError> {
    let micros = micros_of(seconds).and_then(T::from_micros);
    micros.ok_or(CoderError::new(EXPECTED_SECONDS))
}

/// Returns the float nearest to the exact seconds. Formatting and parsing rounds once, as Python's
/// division of integers does. Converting to a float and dividing would round twice.
fn seconds(micros: i128) -> Option<f64> {
    let magnitude = micros.unsigned_abs();
    let sign = if micros < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:06}", magnitude / 1_000_000, magnitude % 1_000_000);
    if magnitude <= MAX_MICROS {
        text.parse().ok()
    } else {
        None
    }
}

/// Returns the microseconds of whole seconds.
pub(super) fn micros_of_whole(seconds: i128) -> Option<i128> {
    seconds
        .checked_mul(1_000_000)
        .filter(|micros| micros.unsigned_abs() <= MAX_MICROS)
}

/// Returns the microseconds that convert to exactly this float.
pub(super) fn micros_of(float: f64) -> Option<i128> {
    // A timedelta is less than a billion days. Larger floats would also be slow to format.
    if float.is_nan() || float.abs() > 1e14 {
        return None;
    }
    let micros = format!("{float:.6}").replace('.', "").parse().ok()?;
    (seconds(micros) == Some(float)).then_some(micros)
}

/// The form of a span of time, for `#[serde(with = "coder::timedelta")]`.
pub mod timedelta {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use super::{SecondsForm, dump_timedelta, load_timedelta};

    /// Writes the seconds.
    ///
    /// # Errors
    ///
    /// Fails if a float cannot hold them exactly.
    pub fn serialize<T: SecondsForm, S: Serializer>(span: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(dump_timedelta(span).map_err(ser::Error::custom)?)
    }

    /// Reads the seconds.
    ///
    /// # Errors
    ///
    /// Fails unless the seconds are whole microseconds that `T` can hold.
    pub fn deserialize<'de, T: SecondsForm, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        load_timedelta(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
