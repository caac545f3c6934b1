//! Deadlines in eight bytes.

use std::time::Duration;

/// The moment at which an entry expires, on its store's clock.
///
/// Stored as nanoseconds if they fit in 63 bits (292 years), and otherwise as whole milliseconds
/// with the highest bit set. The numbers are ordered as the moments are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

const IN_MILLIS: u64 = 1 << 63;

impl Deadline {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// Returns the moment `span` after `now`. Beyond 292 years, it is rounded up to the
    /// millisecond, but never to [`NEVER`](Self::NEVER).
    pub(crate) fn after(now: Duration, span: Duration) -> Self {
        let end = now.saturating_add(span).as_nanos();
        match u64::try_from(end) {
            Ok(nanos) if nanos < IN_MILLIS => Self(nanos),
            _ => {
                let millis = u64::try_from(end.div_ceil(1_000_000)).unwrap_or(u64::MAX);
                Self(millis.min(IN_MILLIS - 2) | IN_MILLIS)
            }
        }
    }

    /// Returns the moment `millis` milliseconds after `now` nanoseconds.
    #[inline]
    pub(crate) fn after_nanos(now: u64, millis: u64) -> Self {
        let end = millis.checked_mul(1_000_000).and_then(|span| now.checked_add(span));
        match end {
            Some(nanos) if nanos < IN_MILLIS => Self(nanos),
            _ => Self::after(Duration::from_nanos(now), Duration::from_millis(millis)),
        }
    }

    /// Returns the deadline counted from the clock's origin, or `None` for never.
    pub(crate) fn since_origin(self) -> Option<Duration> {
        if self == Self::NEVER {
            None
        } else if self.0 < IN_MILLIS {
            Some(Duration::from_nanos(self.0))
        } else {
            Some(Duration::from_millis(self.0 & !IN_MILLIS))
        }
    }

    /// Returns the remaining time at `now`, or `None` if the deadline has passed or is
    /// [`NEVER`](Self::NEVER).
    pub(crate) fn left(self, now: Duration) -> Option<Duration> {
        let left = self.since_origin()?.checked_sub(now)?;
        Some(left).filter(|left| !left.is_zero())
    }

    /// Returns the remaining time at `now` nanoseconds, like [`left`](Self::left).
    #[inline]
    pub(crate) fn left_nanos(self, now: u64) -> Option<Duration> {
        if self.0 >= IN_MILLIS {
            return self.left(Duration::from_nanos(now));
        }
        let left = self.0.checked_sub(now).filter(|left| *left > 0)?;
        Some(Duration::from_nanos(left))
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    pub(crate) fn is_past(self, now: Duration) -> bool {
        self.since_origin().is_some_and(|end| end <= now)
    }

    /// Returns whether the deadline is more than `span` nanoseconds after `now` nanoseconds.
    #[inline]
    pub(crate) fn is_far_from(self, now: u64, span: u64) -> bool {
        self.0 > now.saturating_add(span)
    }
}

impl Default for Deadline {
    fn default() -> Self {
        Self::NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    #[test]
    fn a_deadline_is_exact_to_the_nanosecond() {
        let end = Deadline::after(Duration::from_nanos(5), Duration::from_nanos(7));
        assert!(!end.is_past(Duration::from_nanos(11)));
        assert!(end.is_past(Duration::from_nanos(12)));
    }

    #[test]
    fn a_deadline_in_a_thousand_years_is_kept_to_the_millisecond_and_rounded_up() {
        let end = Deadline::after(Duration::from_nanos(1), YEAR * 1000);
        assert!(!end.is_past(YEAR * 1000 + Duration::from_nanos(1)));
        assert!(end.is_past(YEAR * 1000 + Duration::from_millis(1)));
        assert!(end > Deadline::after(Duration::ZERO, YEAR));
    }

    #[test]
    fn no_deadline_is_lost_between_the_two_forms() {
        for more in [0, 1] {
            let span = Duration::from_nanos(IN_MILLIS - 1 + more);
            let end = Deadline::after(Duration::ZERO, span);
            assert!(!end.is_past(Duration::from_nanos(IN_MILLIS - 2)));
            assert!(end.is_past(span + Duration::from_millis(1)));
        }
    }

    #[test]
    fn integers_give_the_same_deadline() {
        for millis in [
            0,
            1,
            1500,
            9_000_000_000_000,
            10_000_000_000_000,
            u64::MAX / 2,
            u64::MAX,
        ] {
            for now in [0, 1, 999_999, 1 << 62] {
                let spans = Deadline::after(Duration::from_nanos(now), Duration::from_millis(millis));
                assert_eq!(Deadline::after_nanos(now, millis), spans);
            }
        }
    }

    #[test]
    fn the_time_left_is_exact() {
        let (now, end) = (Duration::from_nanos(5), Deadline::after_nanos(5, 1));
        assert_eq!(end.left(now), Some(Duration::from_millis(1)));
        assert_eq!(
            end.left(now + Duration::from_nanos(1)),
            Some(Duration::from_nanos(999_999))
        );
        assert_eq!(end.left(now + Duration::from_millis(1)), None);
        assert_eq!(end.left(now + Duration::from_millis(2)), None);
        assert_eq!(Deadline::NEVER.left(now), None);
    }

    #[test]
    fn integers_give_the_same_time_left() {
        let far = Deadline::after(Duration::from_nanos(7), YEAR * 1000);
        for end in [
            Deadline::after_nanos(7, 0),
            Deadline::after_nanos(7, 1),
            far,
            Deadline::NEVER,
        ] {
            for now in [0, 6, 7, 8, 1_000_006, 1_000_007, u64::MAX] {
                assert_eq!(end.left_nanos(now), end.left(Duration::from_nanos(now)));
            }
        }
    }

    #[test]
    fn a_deadline_is_far_only_if_it_is_beyond_the_span() {
        let end = Deadline::after_nanos(7, 1000);
        assert!(end.is_far_from(7, 999_999_999) && !end.is_far_from(7, 1_000_000_000));
        assert!(Deadline::after_nanos(7, 999) < end && end < Deadline::after_nanos(7, 1001));
        assert!(Deadline::NEVER.is_far_from(u64::MAX - 1, 0));
    }

    #[test]
    fn the_longest_span_of_redis_is_not_never() {
        let end = Deadline::after(YEAR, Duration::from_millis(i64::MAX.unsigned_abs()));
        assert!(!end.is_never() && end < Deadline::NEVER);
        assert!(!end.is_past(YEAR * 1_000_000));
    }
}
