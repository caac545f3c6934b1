//! The datetimes, dates, times and spans of `chrono`, in the form of Python's `isoformat()`.

use chrono::{DateTime, Datelike, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike, Utc};

use super::{CoderError, SecondsForm, TextForm, error::MOMENT_REFUSED, kind};

const DATETIME: CoderError = CoderError::new(
    "expected a datetime without an offset, such as `2026-04-17T12:30:45.678901`; the fraction is optional",
);
const AWARE: CoderError = CoderError::new(
    "expected a datetime with an offset, such as `2026-04-17T12:30:45.678901+00:00`; the fraction is optional",
);
const DATE: CoderError = CoderError::new("expected a date such as `2026-04-17`");
const TIME: CoderError =
    CoderError::new("expected a time of day without an offset, such as `12:30:45.678901`; the fraction is optional");
const OFFSET: CoderError = CoderError::new("expected a time of day with an offset, such as `12:30:45+05:30`");

impl TextForm<kind::Date> for NaiveDate {
    fn to_text(&self) -> Result<String, CoderError> {
        if !(1..=9999).contains(&self.year()) {
            return Err(MOMENT_REFUSED);
        }
        Ok(format!("{:04}-{:02}-{:02}", self.year(), self.month(), self.day()))
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let parsed = Self::parse_from_str(text, "%Y-%m-%d").ok();
        parsed.filter(|date| is_form_of(text, date)).ok_or(DATE)
    }
}

impl TextForm<kind::Time> for NaiveTime {
    fn to_text(&self) -> Result<String, CoderError> {
        // `chrono` represents a leap second as a nanosecond count of one second or more.
        if !self.nanosecond().is_multiple_of(1000) || self.nanosecond() >= 1_000_000_000 {
            return Err(MOMENT_REFUSED);
        }
        let whole = format!("{:02}:{:02}:{:02}", self.hour(), self.minute(), self.second());
        Ok(match self.nanosecond() / 1000 {
            0 => whole,
            micros => format!("{whole}.{micros:06}"),
        })
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let parsed = Self::parse_from_str(text, "%H:%M:%S%.f").ok();
        parsed.filter(|time| is_form_of(text, time)).ok_or(TIME)
    }
}

/// Returns whether `text` is exactly the form of `value`. `chrono` reads more forms (other widths,
/// other fractions, a sign), so the value is written again and compared.
fn is_form_of<K>(text: &str, value: &impl TextForm<K>) -> bool {
    value.to_text().is_ok_and(|written| written == text)
}

impl TextForm<kind::DateTime> for NaiveDateTime {
    fn to_text(&self) -> Result<String, CoderError> {
        Ok(format!("{}T{}", self.date().to_text()?, self.time().to_text()?))
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let (date, time) = text.split_once('T').ok_or(DATETIME)?;
        match (TextForm::from_text(date), TextForm::from_text(time)) {
            (Ok(date), Ok(time)) => Ok(Self::new(date, time)),
            _ => Err(DATETIME),
        }
    }
}

impl TextForm<kind::DateTime> for DateTime<FixedOffset> {
    fn to_text(&self) -> Result<String, CoderError> {
        let local = self
            .naive_utc()
            .checked_add_offset(*self.offset())
            .ok_or(MOMENT_REFUSED)?;
        Ok(local.to_text()? + &offset_text(*self.offset()))
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let (local, offset) = split_offset(text).ok_or(AWARE)?;
        let local: NaiveDateTime = TextForm::from_text(local).map_err(|_| AWARE)?;
        let utc = local.checked_sub_offset(offset).ok_or(AWARE)?;
        Ok(Self::from_naive_utc_and_offset(utc, offset))
    }
}

/// Reads the same moment from any offset, and writes it with `+00:00`.
impl TextForm<kind::DateTime> for DateTime<Utc> {
    fn to_text(&self) -> Result<String, CoderError> {
        self.fixed_offset().to_text()
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let moment: DateTime<FixedOffset> = TextForm::from_text(text)?;
        Ok(moment.to_utc())
    }
}

/// Reads the same moment in this machine's zone, and writes it with the zone's offset at that
/// moment.
impl TextForm<kind::DateTime> for DateTime<Local> {
    fn to_text(&self) -> Result<String, CoderError> {
        self.fixed_offset().to_text()
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let moment: DateTime<FixedOffset> = TextForm::from_text(text)?;
        Ok(moment.into())
    }
}

/// A time of day with its offset. `chrono` has no such type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OffsetTime {
    /// The local time of day.
    pub time: NaiveTime,
    /// The offset from UTC.
    pub offset: FixedOffset,
}

impl TextForm<kind::Time> for OffsetTime {
    fn to_text(&self) -> Result<String, CoderError> {
        Ok(self.time.to_text()? + &offset_text(self.offset))
    }

    fn from_text(text: &str) -> Result<Self, CoderError> {
        let (time, offset) = split_offset(text).ok_or(OFFSET)?;
        let time = TextForm::from_text(time).map_err(|_| OFFSET)?;
        Ok(Self { time, offset })
    }
}

/// Returns `+05:30`, or `+05:30:15` if the offset has seconds.
fn offset_text(offset: FixedOffset) -> String {
    let ahead = offset.local_minus_utc();
    let sign = if ahead < 0 { '-' } else { '+' };
    let seconds = ahead.unsigned_abs();
    let whole = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    match seconds % 60 {
        0 => whole,
        seconds => format!("{whole}:{seconds:02}"),
    }
}

/// Returns the text before the offset, and the offset.
fn split_offset(text: &str) -> Option<(&str, FixedOffset)> {
    // The time of day has no sign, and the hyphens of a date come before it.
    let (local, offset) = text.split_at(text.rfind(['+', '-'])?);
    let ahead = offset.starts_with('+');
    let mut parts = offset[1..].split(':').map(|part| part.parse::<i32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let seconds = hours
        .checked_mul(3600)?
        .checked_add(minutes.checked_mul(60)?)?
        .checked_add(seconds)?;
    let parsed = FixedOffset::east_opt(if ahead { seconds } else { seconds.checked_neg()? })?;
    (offset_text(parsed) == offset).then_some((local, parsed))
}

impl SecondsForm for TimeDelta {
    fn to_micros(&self) -> Option<i128> {
        let nanos = i128::from(self.num_seconds()) * 1_000_000_000 + i128::from(self.subsec_nanos());
        if nanos % 1000 == 0 { Some(nanos / 1000) } else { None }
    }

    fn from_micros(micros: i128) -> Option<Self> {
        let seconds = i64::try_from(micros.div_euclid(1_000_000)).ok()?;
        Self::new(seconds, u32::try_from(micros.rem_euclid(1_000_000) * 1000).ok()?)
    }
}
