//! The expiry of a session, in the form that Django stores under `_session_expiry`.

use std::time::{Duration, SystemTime};

use jiff::{
    SignedDuration, Timestamp,
    civil::{DateTime, Time},
    fmt::temporal::Pieces,
    tz::{Offset, TimeZone},
};

/// The name under which Django stores a session's own expiry.
pub(super) const EXPIRY_NAME: &str = "_session_expiry";

/// 1970-01-01T00:00:00 in UTC.
const UNIX_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
/// The first and the last time that Python can read.
const FIRST: DateTime = DateTime::constant(1, 1, 1, 0, 0, 0, 0);
const LAST: DateTime = DateTime::constant(9999, 12, 31, 23, 59, 59, 999_999_000);

/// The expiry of a session; the argument of [`Session::set_expiry`](super::Session::set_expiry). A
/// [`Duration`] converts to [`After`](Self::After), a [`SystemTime`] to [`At`](Self::At).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionExpiry {
    /// The store's cookie age, counted from each save.
    #[default]
    Default,
    /// The session ends when the browser closes. The record is kept for the store's cookie age.
    BrowserClose,
    /// This duration after each save, rounded up to whole seconds. Zero means
    /// [`BrowserClose`](Self::BrowserClose), as in Django.
    After(Duration),
    /// This time, with a resolution of a microsecond. If it has passed, a save removes the record.
    /// Times before the year 1 or after the year 9999 are clamped to that range.
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

/// The value of a session under [`EXPIRY_NAME`]: an integer of seconds, an ISO 8601 text, or no
/// usable value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Unset,
    /// A duration after each save, rounded down. It has expired if it is not positive.
    Seconds(i64),
    BrowserClose,
    At(SystemTime),
    /// A date without an offset, in the store's time zone.
    Local(DateTime),
}

impl Kept {
    /// Returns the expiry of JSON text. A value on which Django would fail (a list, text that is
    /// not a date) counts as unset, so that the session remains usable. A date without an offset is
    /// in `zone`, or in UTC if there is no zone.
    pub(super) fn read(json: Option<&str>, zone: Option<&TimeZone>) -> Self {
        let Some(json) = json else {
            return Self::Unset;
        };
        if json.starts_with('"') {
            let text = serde_json::from_str::<String>(json).ok();
            return text.and_then(|text| parse_date(&text, zone)).unwrap_or(Self::Unset);
        }
        match json.parse::<f64>() {
            Ok(seconds) if seconds.is_nan() => Self::Unset,
            Ok(0.0) => Self::BrowserClose,
            // Fractions of a second are rounded down, and the cast saturates at the bounds of the
            // integer.
            #[expect(clippy::cast_possible_truncation, reason = "integers of i64 are read exactly before")]
            Ok(seconds) => Self::Seconds(json.parse().unwrap_or(seconds.floor() as i64)),
            Err(_) => Self::Unset,
        }
    }

    /// Returns how long the session lives from `now`, or zero if it has expired.
    ///
    /// A date without an offset is compared with the local time of the zone, because Python
    /// subtracts such dates that way. A daylight saving change in between therefore affects the
    /// result.
    pub(super) fn age(self, now: SystemTime, cookie_age: Duration, zone: Option<&TimeZone>) -> Duration {
        // Django computes `delta.days * 86400 + delta.seconds`, which rounds down.
        let seconds = match self {
            Self::Unset | Self::BrowserClose => return cookie_age,
            Self::Seconds(seconds) => seconds,
            Self::At(date) => return Duration::from_secs(date.duration_since(now).map_or(0, |left| left.as_secs())),
            Self::Local(date) => date.duration_since(to_local(now, zone)).as_secs(),
        };
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Returns when the session ends if it is saved `now`, at most the end of the year 9999.
    pub(super) fn date(self, now: SystemTime, cookie_age: Duration, zone: Option<&TimeZone>) -> SystemTime {
        let date = match self {
            Self::At(date) => Some(date),
            Self::Local(date) => from_local(date, zone),
            Self::Seconds(seconds) if seconds < 0 => now.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
            kept => now.checked_add(kept.age(now, cookie_age, zone)),
        };
        date.unwrap_or_else(|| from_utc(LAST, SignedDuration::ZERO).unwrap_or(now))
    }
}

/// Returns whether the session ends before the year 10000 if it is saved `now`.
pub(super) fn ends_in_range(now: SystemTime, after: Duration) -> bool {
    let last = from_utc(LAST, SignedDuration::ZERO);
    now.checked_add(after).zip(last).is_some_and(|(end, last)| end <= last)
}

/// Returns the whole seconds of `after`, rounded up, because zero has another meaning.
pub(super) fn seconds_of(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0))
}

/// Formats a time as Python's `datetime.isoformat` does: `2030-01-02T03:04:05.678901+00:00` in UTC,
/// or the same without the offset in `zone`. A fraction of zero is omitted.
pub(super) fn format_date(date: SystemTime, zone: Option<&TimeZone>) -> String {
    let local = to_local(date, zone);
    let fraction = match local.subsec_nanosecond() / 1_000 {
        0 => String::new(),
        microseconds => format!(".{microseconds:06}"),
    };
    let offset = if zone.is_none() { "+00:00" } else { "" };
    let (year, month, day) = (local.year(), local.month(), local.day());
    let (hour, minute, second) = (local.hour(), local.minute(), local.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}")
}

/// Parses ISO 8601 as Python's `datetime.isoformat` writes it.
fn parse_date(text: &str, zone: Option<&TimeZone>) -> Option<Kept> {
    let pieces = Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let offset = match (pieces.to_numeric_offset(), zone) {
        (None, Some(_)) => return Some(Kept::Local(local)),
        (offset, _) => offset.map_or(0, Offset::seconds),
    };
    from_utc(local, SignedDuration::from_secs(offset.into())).map(Kept::At)
}

/// Returns the local date and time in `zone`, or in UTC if there is no zone, clamped to the years
/// that Python can read.
fn to_local(date: SystemTime, zone: Option<&TimeZone>) -> DateTime {
    let local = zone.and_then(|zone| Some(zone.to_datetime(Timestamp::try_from(date).ok()?)));
    local.unwrap_or_else(|| to_utc(date)).clamp(FIRST, LAST)
}

/// Returns the moment at which the local time of `zone` is `local`. An ambiguous time is the first
/// of the two moments. A time that a daylight saving change skips is moved later by the length of
/// the gap. Both follow Python's `fold=0`.
fn from_local(local: DateTime, zone: Option<&TimeZone>) -> Option<SystemTime> {
    match zone {
        Some(zone) => zone
            .to_ambiguous_timestamp(local)
            .compatible()
            .ok()
            .and_then(|moment| moment.try_into().ok()),
        None => from_utc(local, SignedDuration::ZERO),
    }
}

// Uses the civil calendar, because the range of `jiff::Timestamp` ends 26 hours before the year
// 9999 does.
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
            assert_eq!(format_date(date, None), text);
            let Some(Kept::At(read)) = parse_date(text, None) else {
                panic!("{text} has an offset")
            };
            assert_eq!(format_date(read, None), text);
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
            assert_eq!(parse_date(text, None), Some(Kept::At(date)), "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "2030-13-01T00:00:00",
            "2030-01-02T25:00:00+00:00",
            "300",
        ] {
            assert_eq!(parse_date(text, None), None, "{text}");
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
            assert_eq!(Kept::read(Some(json), None), kept, "{json}");
        }
        assert_eq!(Kept::read(None, None), Kept::Unset);
    }

    #[test]
    fn sexp_02_a_relative_expiry_rounds_up_so_that_it_is_not_the_browsers() {
        assert_eq!(seconds_of(Duration::from_millis(1)), 1);
        assert_eq!(seconds_of(Duration::from_millis(1_500)), 2);
        assert_eq!(seconds_of(Duration::from_secs(300)), 300);
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    /// Reads an expiry in this zone and returns the seconds that are left at `now`.
    fn left(text: &str, now: &str, name: &str) -> u64 {
        let zone = zone(name);
        let now = now.parse::<Timestamp>().unwrap().try_into().unwrap();
        let kept = Kept::read(Some(&format!("{text:?}")), Some(&zone));
        kept.age(now, Duration::from_secs(1_209_600), Some(&zone)).as_secs()
    }

    #[test]
    fn sexp_07_a_date_without_an_offset_is_of_the_zone() {
        for (name, text) in [
            ("America/Los_Angeles", "2030-01-01T19:04:05.678901"),
            ("Asia/Kolkata", "2030-01-02T08:34:05.678901"),
            ("Pacific/Kiritimati", "2030-01-02T17:04:05.678901"),
            ("UTC", "2030-01-02T03:04:05.678901"),
        ] {
            let zone = zone(name);
            let date = at(1_893_553_445, 678_901_000);
            assert_eq!(format_date(date, Some(&zone)), text, "{name}");
            let kept = Kept::read(Some(&format!("{text:?}")), Some(&zone));
            assert_eq!(kept.date(date, Duration::from_secs(60), Some(&zone)), date, "{name}");
            assert_eq!(left(text, "2030-01-02T03:03:35.678901Z", name), 30, "{name}");
            assert_eq!(left(text, "2030-01-02T03:03:35.678902Z", name), 29, "{name}");
            assert_eq!(left(text, "2030-01-02T03:04:06Z", name), 0, "{name}");
            // A date with an offset means the same time in every zone.
            assert_eq!(left("2030-01-02T03:04:05+00:00", "2030-01-02T03:04:00Z", name), 5);
        }
    }

    // `datetime.fromisoformat(text) - datetime.now()` and `.timestamp()` of CPython 3.11.7 under
    // that TZ.
    #[test]
    fn sexp_07_clocks_that_are_changed_count_as_python_counts_them() {
        let los_angeles = "America/Los_Angeles";
        // 2030-11-03 02:00 PDT is 01:00 PST. The local day has 25 hours, and 24 of them are
        // counted.
        assert_eq!(left("2030-11-03T12:00:00", "2030-11-02T19:00:00Z", los_angeles), 86_400);
        // The second 01:30, which Python's clock without a fold cannot tell from the first.
        assert_eq!(left("2030-11-03T01:45:00", "2030-11-03T08:30:00Z", los_angeles), 900);
        assert_eq!(left("2030-11-03T01:45:00", "2030-11-03T09:30:00Z", los_angeles), 900);
        // 2030-03-10 02:00 PST is 03:00 PDT.
        assert_eq!(left("2030-03-10T03:00:10", "2030-03-10T09:59:50Z", los_angeles), 3_620);
        assert_eq!(left("2030-03-10T02:30:00", "2030-03-10T10:00:00Z", los_angeles), 0);

        let zone = zone(los_angeles);
        for (text, moment) in [
            ("2030-11-03T01:30:00", "2030-11-03T08:30:00Z"),
            ("2030-03-10T02:30:00", "2030-03-10T10:30:00Z"),
        ] {
            let kept = Kept::read(Some(&format!("{text:?}")), Some(&zone));
            let date = kept.date(at(0, 0), Duration::ZERO, Some(&zone));
            assert_eq!(Timestamp::try_from(date).unwrap(), moment.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn sexp_07_the_ends_of_the_calendar_are_ends_in_any_zone() {
        for name in ["America/Los_Angeles", "Pacific/Kiritimati"] {
            let zone = zone(name);
            let last = format_date(at(i64::MAX as u64, 0), Some(&zone));
            assert_eq!(last, "9999-12-31T23:59:59.999999", "{name}");
            let first = SystemTime::UNIX_EPOCH - Duration::from_secs(62_135_596_800);
            assert!(format_date(first, Some(&zone)).starts_with("0001-01-01T"), "{name}");
            for text in ["9999-12-31T23:59:59.999999", "0001-01-01T00:00:00"] {
                let kept = Kept::read(Some(&format!("{text:?}")), Some(&zone));
                let now = at(1_893_553_445, 0);
                let age = kept.age(now, Duration::ZERO, Some(&zone));
                assert_eq!(age.is_zero(), text.starts_with('0'));
                let _ = kept.date(now, Duration::ZERO, Some(&zone));
            }
        }
    }
}
