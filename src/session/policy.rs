//! The settings of a store that decide when its sessions end.

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

/// A renewal waits for a tenth of the idle timeout unless set, and for this long at most.
const LONGEST_DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// The excess that a record may live before that is mended. Stores round, and the
/// time of a call counts.
const TOLERANCE: Duration = Duration::from_secs(1);

pub(super) struct Policy {
    pub(super) cookie_age: Duration,
    pub(super) browser_session: bool,
    /// The time zone of expiry dates without an offset; none if dates have one.
    pub(super) zone: Option<TimeZone>,
    pub(super) idle_timeout: Option<Duration>,
    pub(super) absolute_timeout: Option<Duration>,
    pub(super) touch_interval: Option<Duration>,
    /// The number of sessions that a user may have.
    pub(super) sessions_per_user: Option<NonZeroUsize>,
    /// Whether a record that cannot be read is an error; it counts as missing otherwise.
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
    /// expiry, the idle timeout and the absolute one. Zero where its time has passed.
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

    /// Returns how long the login is valid from `now`; without an end if there is none.
    fn login_left(&self, login: Option<&LoginRecord>, now: SystemTime) -> Duration {
        let Some(login) = login else {
            return Duration::MAX;
        };
        let Some(lifetime) = login.remember().or(self.absolute_timeout) else {
            return Duration::MAX;
        };
        // A login in the future comes from a clock that is ahead; it is not to last longer for
        // that.
        let end = login.at().map(|at| at.min(now)).and_then(|at| at.checked_add(lifetime));
        end.map_or(Duration::ZERO, |end| end.duration_since(now).unwrap_or_default())
    }

    /// Returns whether the login has lasted for as long as it may, whatever the record's time to
    /// live says.
    pub(super) fn login_is_over(&self, data: &SessionData, now: SystemTime) -> bool {
        self.login_left(LoginRecord::of(data).as_ref(), now).is_zero()
    }

    /// Returns whether the time of a session begins anew when it is used, not only when it is
    /// saved.
    pub(super) fn renews(&self) -> bool {
        self.idle_timeout.is_some() || self.touch_interval.is_some()
    }

    /// Returns whether a record that lives for `left` is to live for `age`.
    pub(super) fn renewal_is_due(&self, left: Duration, age: Duration) -> bool {
        let default = || {
            let tenth = self.idle_timeout.map_or(LONGEST_DEFAULT_INTERVAL, |idle| idle / 10);
            tenth.min(LONGEST_DEFAULT_INTERVAL)
        };
        let interval = self.touch_interval.unwrap_or_else(default);
        self.renews() && (age.saturating_sub(left) >= interval.max(Duration::from_millis(1)) || left > age + TOLERANCE)
    }

    /// Returns when the time of a record that has `left` to live last began anew. Earlier than it
    /// did where the absolute timeout or a date cut the time short; none where nothing can be said.
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
