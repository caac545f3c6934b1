//! The settings of a store that its sessions have to know.

use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

pub(super) type Clock = dyn Fn() -> SystemTime + Send + Sync;

/// What decides when a session ends.
pub(super) struct Policy {
    pub(super) cookie_age: Duration,
    pub(super) browser_session: bool,
    /// Where expiry dates without an offset are read and written; none where they have one.
    pub(super) zone: Option<TimeZone>,
    /// Whether a record that cannot be read is an error; it counts as missing otherwise.
    pub(super) fail_on_unreadable: bool,
    pub(super) clock: Box<Clock>,
}

impl Policy {
    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }
}
