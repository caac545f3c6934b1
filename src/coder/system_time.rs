//! A [`SystemTime`] as a datetime in UTC.

use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, civil::DateTime, fmt::temporal::Pieces, tz::Offset};

use super::{CoderError, TextForm, error::MOMENT_REFUSED, kind};

const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const EXPECTED: CoderError = CoderError::new(
    "expected a datetime with an offset, such as `2026-04-17T12:30:45.678901+00:00`; the fraction is optional",
);

/// Reads the same moment from any offset, and writes it with `+00:00`.
impl TextForm<kind::DateTime> for SystemTime {
    fn to_text(&self) -> Result<String, CoderError> {
        let signed = |duration: Duration| SignedDuration::try_from(duration).map_err(|_| MOMENT_REFUSED);
        let since = match self.duration_since(Self::UNIX_EPOCH) {
            Ok(after) => signed(after)?,
            Err(before) => -signed(before.duration())?,
        };
        let utc = UNIX_EPOCH.checked_add(since).map_err(|_| MOMENT_REFUSED)?;
        isoformat(utc, Offset::UTC).ok_or(MOMENT_REFUSED)
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let pieces = Pieces::parse(text).map_err(|_| EXPECTED)?;
        let (time, offset) = pieces.time().zip(pieces.to_numeric_offset()).ok_or(EXPECTED)?;
        let local = pieces.date().to_datetime(time);
        // jiff accepts more forms than this one: other widths, other fractions, a zone after the
        // offset.
        if isoformat(local, offset).is_none_or(|written| written != text) {
            return Err(EXPECTED);
        }
        let since = local.duration_since(UNIX_EPOCH) - SignedDuration::from_secs(offset.seconds().into());
        let moment = if since.is_negative() {
            Self::UNIX_EPOCH.checked_sub(since.unsigned_abs())
        } else {
            Self::UNIX_EPOCH.checked_add(since.unsigned_abs())
        };
        moment.ok_or(EXPECTED)
    }
}

/// Returns the text of Python's `datetime.isoformat`, or `None` if Python cannot represent the
/// datetime.
fn isoformat(local: DateTime, offset: Offset) -> Option<String> {
    let nanos = local.subsec_nanosecond();
    if !(1..=9999).contains(&local.year()) || nanos % 1_000 != 0 {
        return None;
    }
    let fraction = match nanos / 1_000 {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    let (date, time) = (local.date(), local.time());
    let (year, month, day) = (date.year(), date.month(), date.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let ahead = offset.seconds();
    let sign = if ahead < 0 { '-' } else { '+' };
    let ahead = ahead.unsigned_abs();
    let seconds = match ahead % 60 {
        0 => String::new(),
        seconds => format!(":{seconds:02}"),
    };
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{sign}{:02}:{:02}{seconds}",
        ahead / 3600,
        ahead / 60 % 60
    ))
}
