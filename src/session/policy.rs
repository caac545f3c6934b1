//! The settings of a store that determine when its sessions end.

use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

use jiff::tz::TimeZone;

use super::{
    SessionData,
    expiry::{EXPIRY_NAME, Kept},
    login_record::LoginRecord,
};

pub(super) type Clock = dyn Fn() -> SystemTime + Send + Sync;

/// The upper limit of the default touch interval, which is a tenth of the idle timeout.
const LONGEST_DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// The time by which a record may outlive its age before a renewal corrects it. Stores round times
/// to live, and the call itself takes time.
const TOLERANCE: Duration = Duration::from_secs(1);

pub(super) struct Policy {
    pub(super) cookie_age: Duration,
    pub(super) browser_session: bool,
    /// The time zone of expiry dates without an offset; `None` if dates have an offset.
    pub(super) zone: Option<TimeZone>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) absolute_timeout: Option<Duration>,
    pub(super) touch_interval: Option<Duration>,
    /// The maximum number of sessions of a user.
    pub(super) sessions_per_user: Option<NonZeroUsize>,
    /// Whether an unreadable record is an error. Otherwise it counts as missing.
    pub(super) fail_on_unreadable: bool,
    pub(super) clock: Box<Clock>,
}

impl Policy {
    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    pub(super) fn kept(&self, data: &SessionData) -> Kept {
        Kept::read(data.get_json(EXPIRY_NAME), self.zone.as_ref())
    }

    /// Returns how long the record lives if it is saved `now`: the earliest of the session's
    /// expiry, the idle timeout and the absolute timeout. Zero means that it has expired.
    pub(super) fn age(&self, data: &SessionData, now: SystemTime) -> Duration {
        let kept = self.kept(data).age(now, self.cookie_age, self.zone.as_ref());
        self.limited(kept, data, now)
    }

    /// Returns when the session ends if it is saved `now`.
    pub(super) fn end(&self, data: &SessionData, now: SystemTime) -> SystemTime {
        let kept = self.kept(data).date(now, self.cookie_age, self.zone.as_ref());
        match now.checked_add(self.limited(Duration::MAX, data, now)) {
            Some(limit) => kept.min(limit),
            None => kept,
        }
    }

    fn limited(&self, mut age: Duration, data: &SessionData, now: SystemTime) -> Duration {
        let login = LoginRecord::of(data);
        if login.as_ref().and_then(LoginRecord::remember).is_none() {
            age = age.min(self.idle_timeout.unwrap_or(Duration::MAX));
        }
        age.min(self.login_left(login.as_ref(), now))
    }

    /// Returns how long the login is valid from `now`; `Duration::MAX` if the login does not end.
    fn login_left(&self, login: Option<&LoginRecord>, now: SystemTime) -> Duration {
        let Some(login) = login else {
            return Duration::MAX;
        };
        let Some(lifetime) = login.remember().or(self.absolute_timeout) else {
            return Duration::MAX;
        };
        // A login in the future comes from a clock that is ahead, and must not make the login last
        // longer.
        let end = login.at().map(|at| at.min(now)).and_then(|at| at.checked_add(lifetime));
        end.map_or(Duration::ZERO, |end| end.duration_since(now).unwrap_or_default())
    }

    /// Returns whether the session has ended, regardless of the record's time to live: its login is
    /// over, or its own expiry date has passed.
    ///
    /// A date without an offset does not count. After a daylight saving change, the record may
    /// outlive it, as in Django.
    pub(super) fn is_over(&self, data: &SessionData, now: SystemTime) -> bool {
        let has_passed = matches!(self.kept(data), Kept::At(end) if end <= now);
        has_passed || self.login_left(LoginRecord::of(data).as_ref(), now).is_zero()
    }

    /// Returns whether using a session renews it, as saving it does.
    pub(super) fn renews(&self) -> bool {
        self.idle_timeout.is_some() || self.touch_interval.is_some()
    }

    /// Returns whether a record with `left` to live should be renewed to `age`.
    pub(super) fn renewal_is_due(&self, left: Duration, age: Duration) -> bool {
        let default = || {
            let tenth = self.idle_timeout.map_or(LONGEST_DEFAULT_INTERVAL, |idle| idle / 10);
            tenth.min(LONGEST_DEFAULT_INTERVAL)
        };
        let interval = self.touch_interval.unwrap_or_else(default);
        self.renews() && (age.saturating_sub(left) >= interval.max(Duration::from_millis(1)) || left > age + TOLERANCE)
    }

    /// Returns when a record with `left` to live was last renewed. The result is too early if the
    /// absolute timeout or a fixed date shortened the time to live. Returns `None` if the time
    /// cannot be determined.
    pub(super) fn renewed_at(&self, data: &SessionData, left: Duration, now: SystemTime) -> Option<SystemTime> {
        let idle = self.idle_timeout.filter(|_| {
            let login = LoginRecord::of(data);
            login.as_ref().and_then(LoginRecord::remember).is_none()
        });
        let whole = match self.kept(data) {
            Kept::At(_) | Kept::Local(_) => idle?,
            kept => {
                let kept = kept.age(now, self.cookie_age, self.zone.as_ref());
                kept.min(idle.unwrap_or(Duration::MAX))
            }
        };
        now.checked_sub(whole.saturating_sub(left))
    }
}
