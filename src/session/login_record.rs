//! The record of a login in its session: its time, its duration and its label.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{SessionData, SessionError, SessionKey};

/// The name under which a session stores its [`LoginRecord`].
pub(super) const LOGIN: &str = "_codex_login";

/// The JSON under [`LOGIN`], which other programs may write too: `{"id":"…","at":1700000000000}`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct LoginRecord {
    /// The id of the login in the list of the user's sessions. It stays the same when the key
    /// changes.
    pub(super) id: String,
    /// The time of the login, in milliseconds since 1970.
    at: u64,
    /// The duration for which the login is remembered, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    remember: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
}

impl LoginRecord {
    pub(super) fn new(
        now: SystemTime,
        remember: Option<Duration>,
        label: Option<String>,
    ) -> Result<Self, SessionError> {
        let at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            // As hard to guess as a key, because an id can end a session.
            id: SessionKey::generate()?.as_str().to_owned(),
            at: u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            remember: remember.map(|remember| remember.as_secs()),
            label,
        })
    }

    /// Returns the record of a session, or `None` if it has no readable record.
    pub(super) fn of(data: &SessionData) -> Option<Self> {
        data.get_json(LOGIN)?;
        data.get(LOGIN).ok().flatten()
    }

    /// Returns the time of the login, or `None` if the clock cannot represent it.
    pub(super) fn at(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.at))
    }

    pub(super) fn remember(&self) -> Option<Duration> {
        self.remember.map(Duration::from_secs)
    }
}
