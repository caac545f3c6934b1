//! The end of an entry, in eight bytes.

use std::time::Duration;

/// When an entry ends, on its store's clock.
///
/// Nanoseconds while they fit 62 bits (146 years), and in the lowest bit whether they were counted
/// from a rough reading of the clock; beyond that whole milliseconds, with the highest bit set. The
/// order of the numbers is the order of the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

const IN_MILLIS: u64 = 1 << 63;

/// One more than the most nanoseconds that are kept as such.
const MOST_NANOS: u64 = 1 << 62;

const ROUGH: u64 = 1;

/// What a rough reading may be behind. Kernels tick every 1 to 10 ms; a virtual machine that is
/// held up ticks late.
const BEHIND: u64 = 100_000_000;

impl Deadline {
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The moment `span` after `now`. Beyond the 146 years it is rounded up, and never to
    /// [`NEVER`](Self::NEVER).
    pub(crate) fn after(now: Duration, span: Duration) -> Self {
        let end = now.saturating_add(span).as_nanos();
        match u64::try_from(end) {
            Ok(nanos) if nanos < MOST_NANOS => Self(nanos << 1),
            _ => {
                let millis = u64::try_from(end.div_ceil(1_000_000)).unwrap_or(u64::MAX);
                Self(millis.min(IN_MILLIS - 2) | IN_MILLIS)
            }
        }
    }

    /// The same in whole numbers: `millis` after `now` nanoseconds.
    #[inline]
    pub(crate) fn after_nanos(now: u64, millis: u64) -> Self {
        let end = millis.checked_mul(1_000_000).and_then(|span| now.checked_add(span));
        match end {
            Some(nanos) if nanos < MOST_NANOS => Self(nanos << 1),
            _ => Self::after(Duration::from_nanos(now), Duration::from_millis(millis)),
        }
    }

    /// The same where `now` may be up to a tenth of a second behind: what has this end is over that
    /// much later, so that it is never over early.
    #[inline]
    pub(crate) fn after_about(now: u64, millis: u64) -> Self {
        let Self(end) = Self::after_nanos(now, millis);
        Self(if end < IN_MILLIS { end | ROUGH } else { end })
    }

    /// When it is over, counted from the clock's beginning; `None` for never.
    pub(crate) fn since_origin(self) -> Option<Duration> {
        if self == Self::NEVER {
            None
        } else if self.0 < IN_MILLIS {
            Some(Duration::from_nanos((self.0 >> 1) + (self.0 & ROUGH) * BEHIND))
        } else {
            Some(Duration::from_millis(self.0 & !IN_MILLIS))
        }
    }

    /// How long it lives on from `now`, where it is not over: no longer than it was to live, and
    /// more than nothing.
    pub(crate) fn left(self, now: Duration) -> Option<Duration> {
        const LEAST: Duration = Duration::from_millis(1);
        let end = self.since_origin()?;
        let rough = self.0 < IN_MILLIS && self.0 & ROUGH != 0;
        let left = end.saturating_sub(now);
        Some(if rough {
            left.saturating_sub(Duration::from_nanos(BEHIND)).max(LEAST)
        } else {
            left
        })
    }

    pub(crate) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    pub(crate) fn is_past(self, now: Duration) -> bool {
        self.since_origin().is_some_and(|end| end <= now)
    }

    /// Whether the end comes more than `span` nanoseconds after `now` nanoseconds.
    #[inline]
    pub(crate) fn is_far_from(self, now: u64, span: u64) -> bool {
        self.0 >> 1 > now.saturating_add(span)
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
    fn an_end_is_exact_to_the_nanosecond() {
        let end = Deadline::after(Duration::from_nanos(5), Duration::from_nanos(7));
        assert!(!end.is_past(Duration::from_nanos(11)));
        assert!(end.is_past(Duration::from_nanos(12)));
    }

    #[test]
    fn an_end_in_a_thousand_years_is_kept_to_the_millisecond_and_rounded_up() {
        let end = Deadline::after(Duration::from_nanos(1), YEAR * 1000);
        assert!(!end.is_past(YEAR * 1000 + Duration::from_nanos(1)));
        assert!(end.is_past(YEAR * 1000 + Duration::from_millis(1)));
        assert!(end > Deadline::after(Duration::ZERO, YEAR));
    }

    #[test]
    fn where_the_two_forms_meet_no_end_is_lost() {
        for more in [0, 1] {
            let span = Duration::from_nanos(MOST_NANOS - 1 + more);
            let end = Deadline::after(Duration::ZERO, span);
            assert!(!end.is_past(Duration::from_nanos(MOST_NANOS - 2)));
            assert!(end.is_past(span + Duration::from_millis(1)));
        }
    }

    #[test]
    fn whole_numbers_give_the_same_end() {
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
    fn a_rough_end_is_never_early_and_says_no_more_than_was_set() {
        let (span, behind) = (Duration::from_secs(1), Duration::from_nanos(BEHIND));
        let now = Duration::from_nanos(7);
        let end = Deadline::after_about(7, 1000);
        assert!(!end.is_past(span + behind));
        assert!(end.is_past(now + span + behind));
        assert_eq!(end.left(now), Some(span));
        assert_eq!(end.left(now + span / 2), Some(span / 2));
        assert_eq!(end.left(now + span), Some(Duration::from_millis(1)));
        assert!(Deadline::after_nanos(7, 999) < end && end < Deadline::after_nanos(7, 1001));
        assert!(end.is_far_from(7, 999_999_999) && !end.is_far_from(7, 1_000_000_000));
        let far = 1000 * 365 * 86_400_000;
        assert_eq!(Deadline::after_about(7, far), Deadline::after_nanos(7, far));
    }

    #[test]
    fn what_is_left_of_an_exact_end_is_exact() {
        let (now, end) = (Duration::from_nanos(5), Deadline::after_nanos(5, 1));
        assert_eq!(end.left(now), Some(Duration::from_millis(1)));
        assert_eq!(
            end.left(now + Duration::from_nanos(1)),
            Some(Duration::from_nanos(999_999))
        );
        assert_eq!(Deadline::NEVER.left(now), None);
    }

    #[test]
    fn the_longest_span_of_redis_is_no_never() {
        let end = Deadline::after(YEAR, Duration::from_millis(i64::MAX.unsigned_abs()));
        assert!(!end.is_never() && end < Deadline::NEVER);
        assert!(!end.is_past(YEAR * 1_000_000));
    }
}
