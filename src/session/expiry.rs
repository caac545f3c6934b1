//! When a session ends, in the form that Django keeps under `_session_expiry`.

use std::time::{Duration, SystemTime};

use jiff::{
    SignedDuration,
    civil::{DateTime, Time},
    fmt::temporal::Pieces,
    tz::Offset,
};

/// The name under which Django keeps a session's own expiry.
pub(super) const EXPIRY_NAME: &str = "_session_expiry";

/// 1970-01-01T00:00:00 in UTC.
const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// The first and the last time that Python can read.
const FIRST: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);
const LAST: DateTime = DateTime::constant(9999, 12, 31, 23, 59, 59, 999_999_000);

/// When a session ends; what [`Session::set_expiry`](super::Session::set_expiry) takes. A [`Duration`] is
/// [`After`](Self::After), a [`SystemTime`] is [`At`](Self::At).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionExpiry {
    /// As the store has it: its cookie age, from each save on.
    #[default]
    Default,
    /// When the browser closes. The record is kept for the store's cookie age.
    BrowserClose,
    /// This long after each save, in whole seconds, rounded up. Zero is [`BrowserClose`](Self::BrowserClose), as in Django.
    After(Duration),
    /// At this time, kept to the microsecond. One that has passed removes the record when the session is saved. Before the year
    /// 1 and after the year 9999 it is the beginning or the end of those.
    At(SystemTime),
}

impl From<Duration> for SessionExpiry {
    fn from(after: Duration) -> Self {
        Self::After(after)
    }
}

impl From<SystemTime> for SessionExpiry {
    fn from(at: SystemTime) -> Self {
        Self::At(at)
    }
}

/// What a session holds under [`EXPIRY_NAME`]: an integer of seconds or ISO 8601 text, or nothing that says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Unset,
    /// Not zero; negative has passed.
    Seconds(i64),
    BrowserClose,
    At(SystemTime),
}

impl Kept {
    /// Reads JSON text. What Django would fail on (a list, text that is no date) counts as unset, so that the session can still
    /// be used.
    pub(super) fn read(json: Option<&str>) -> Self {
        let Some(json) = json else {
            return Self::Unset;
        };
        if json.starts_with('"') {
            let text = serde_json::from_str::<String>(json).ok();
            return text.and_then(|text| parse_date(&text)).map_or(Self::Unset, Self::At);
        }
        match json.parse::<f64>() {
            Ok(seconds) if seconds.is_nan() => Self::Unset,
            Ok(0.0) => Self::BrowserClose,
            // A cast of a float ends at the bounds of the integer, and cuts off what is less than a second.
            #[expect(clippy::cast_possible_truncation, reason = "integers of i64 are read exactly before")]
            Ok(seconds) => Self::Seconds(json.parse().unwrap_or(seconds.floor() as i64)),
            Err(_) => Self::Unset,
        }
    }

    /// How long the session has from `now`, zero where its time has passed.
    pub(super) fn age(self, now: SystemTime, cookie_age: Duration) -> Duration {
        match self {
            Self::Unset | Self::BrowserClose => cookie_age,
            Self::Seconds(seconds) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
            // Django takes `delta.days * 86400 + delta.seconds`, which is the floor.
            Self::At(date) => Duration::from_secs(date.duration_since(now).map_or(0, |left| left.as_secs())),
        }
    }

    /// When the session ends if it is saved `now`; no later than the year 9999.
    pub(super) fn date(self, now: SystemTime, cookie_age: Duration) -> SystemTime {
        let date = match self {
            Self::At(date) => Some(date),
            Self::Seconds(seconds) if seconds < 0 => now.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
            kept => now.checked_add(kept.age(now, cookie_age)),
        };
        date.unwrap_or_else(|| from_utc(LAST, SignedDuration::ZERO).unwrap_or(now))
    }
}

/// Whether the session ends before the year 10000 if it is saved `now`.
pub(super) fn ends_in_range(now: SystemTime, after: Duration) -> bool {
    let last = from_utc(LAST, SignedDuration::ZERO);
    now.checked_add(after).zip(last).is_some_and(|(end, last)| end <= last)
}

/// The whole seconds of `after`, rounded up, so that half a second is not zero, which means something else.
pub(super) fn seconds_of(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0))
}

/// As Python's `datetime.isoformat` of a time in UTC: `2030-01-02T03:04:05.678901+00:00`, without a fraction where it is zero.
pub(super) fn format_date(date: SystemTime) -> String {
    let utc = to_utc(date);
    let fraction = match utc.subsec_nanosecond() / 1_000 {
        0 => String::new(),
        microseconds => format!(".{microseconds:06}"),
    };
    let (year, month, day) = (utc.year(), utc.month(), utc.day());
    let (hour, minute, second) = (utc.hour(), utc.minute(), utc.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00")
}

/// ISO 8601 as Python's `datetime.isoformat` writes it. Without an offset (Django without `USE_TZ`) it is taken as UTC, because the
/// writer's zone is not in it.
fn parse_date(text: &str) -> Option<SystemTime> {
    let pieces = Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let offset = pieces.to_numeric_offset().map_or(0, Offset::seconds);
    from_utc(local, SignedDuration::from_secs(offset.into()))
}

// By the civil calendar rather than `jiff::Timestamp`, which ends 26 hours before the year 9999 does.
fn to_utc(date: SystemTime) -> DateTime {
    match date.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => SignedDuration::try_from(after)
            .ok()
            .and_then(|after| UNIX_EPOCH.checked_add(after).ok())
            .unwrap_or(LAST),
        Err(before) => {
            let before = SignedDuration::try_from(before.duration()).ok();
            before
                .and_then(|before| UNIX_EPOCH.checked_sub(before).ok())
                .unwrap_or(FIRST)
        }
    }
    .clamp(FIRST, LAST)
}

fn from_utc(local: DateTime, offset: SignedDuration) -> Option<SystemTime> {
    let since = local.duration_since(UNIX_EPOCH) - offset;
    if since.is_negative() {
        SystemTime::UNIX_EPOCH.checked_sub(since.unsigned_abs())
    } else {
        SystemTime::UNIX_EPOCH.checked_add(since.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
    }

    // Each text is `datetime.fromtimestamp(…, UTC).isoformat()` of CPython 3.11.7.
    #[test]
    fn sexp_02_a_date_is_written_as_python_writes_it_and_read_back() {
        for (date, text) in [
            (at(1_893_553_445, 678_901_000), "2030-01-02T03:04:05.678901+00:00"),
            (at(1_893_553_445, 678_901_999), "2030-01-02T03:04:05.678901+00:00"),
            (at(1_893_553_445, 0), "2030-01-02T03:04:05+00:00"),
            (at(951_782_400, 0), "2000-02-29T00:00:00+00:00"),
            (at(0, 1_000), "1970-01-01T00:00:00.000001+00:00"),
            (at(253_402_300_799, 0), "9999-12-31T23:59:59+00:00"),
            (at(253_402_300_800, 0), "9999-12-31T23:59:59.999999+00:00"),
            (at(i64::MAX as u64, 0), "9999-12-31T23:59:59.999999+00:00"),
            (
                SystemTime::UNIX_EPOCH - Duration::from_micros(1),
                "1969-12-31T23:59:59.999999+00:00",
            ),
            (
                SystemTime::UNIX_EPOCH - Duration::from_secs(62_135_596_800),
                "0001-01-01T00:00:00+00:00",
            ),
            (
                SystemTime::UNIX_EPOCH - Duration::from_secs(62_135_596_801),
                "0001-01-01T00:00:00+00:00",
            ),
        ] {
            assert_eq!(format_date(date), text);
            assert_eq!(parse_date(text).map(format_date).as_deref(), Some(text));
        }
    }

    #[test]
    fn sexp_02_other_offsets_and_none_are_read() {
        let date = at(1_893_553_445, 0);
        for text in [
            "2030-01-02T08:34:05+05:30",
            "2030-01-02T03:04:05Z",
            "2030-01-02T03:04:05",
            "2030-01-02 03:04:05",
            "2030-01-01T19:04:05.000000-08:00",
        ] {
            assert_eq!(parse_date(text), Some(date), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2030-13-01T00:00:00",
            "2030-01-02T25:00:00+00:00",
            "300",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn sexp_02_what_others_may_have_kept_is_read_as_django_reads_it() {
        for (json, kept) in [
            ("300", Kept::Seconds(300)),
            ("-5", Kept::Seconds(-5)),
            ("90.7", Kept::Seconds(90)),
            ("9223372036854775807", Kept::Seconds(i64::MAX)),
            ("1180591620717411303424", Kept::Seconds(i64::MAX)),
            ("0", Kept::BrowserClose),
            ("-0.0", Kept::BrowserClose),
            ("null", Kept::Unset),
            ("[300]", Kept::Unset),
            ("true", Kept::Unset),
            ("NaN", Kept::Unset),
            (r#""soon""#, Kept::Unset),
            (r#""\ud800""#, Kept::Unset),
        ] {
            assert_eq!(Kept::read(Some(json)), kept, "{json}");
        }
        assert_eq!(Kept::read(None), Kept::Unset);
    }

    #[test]
    fn sexp_02_a_relative_expiry_rounds_up_so_that_it_is_not_the_browsers() {
        assert_eq!(seconds_of(Duration::from_millis(1)), 1);
        assert_eq!(seconds_of(Duration::from_millis(1_500)), 2);
        assert_eq!(seconds_of(Duration::from_secs(300)), 300);
    }
}
