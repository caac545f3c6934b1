//! A reference model that computes the answers of a backend in the simplest way.

mod glob;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Condition, ErrorKind, Expiry, OnMissing, Pattern, SetOptions, SetOutcome, Ttl};

/// A reference model: a sorted map with expiry, on its own clock that only [`pass`](Self::pass)
/// advances.
///
/// It has the verbs of [`KvBackend`](codex_traits::KvBackend) as synchronous methods whose error is
/// an [`ErrorKind`]. It shares no code with any backend.
///
/// A backend refuses durations whose end does not fit its clock, so its limit depends on the
/// current time. The model refuses durations longer than `i64::MAX` milliseconds. Do not use it for
/// durations within a thousand years of that limit.
///
/// ```
/// use std::time::Duration;
/// use codex_testkit::Model;
/// use codex_traits::{SetOptions, SetOutcome};
///
/// let mut model = Model::new();
/// let second = Duration::from_secs(1);
/// let written = model.set("k", "v".into(), SetOptions::expires_after(second));
/// assert_eq!(written, Ok(SetOutcome::Written));
/// assert_eq!(model.get("k").as_deref(), Some(&b"v"[..]));
/// model.pass(second);
/// assert_eq!(model.get("k"), None);
/// ```
#[derive(Clone, Default)]
pub struct Model {
    /// The live entries. Expired entries are removed as time passes.
    entries: BTreeMap<String, Entry>,
    now: Duration,
}

#[derive(Clone)]
struct Entry {
    value: Bytes,
    deadline: Option<Duration>,
}

impl Model {
    /// Creates an empty model.
    pub fn new() -> Self {
        Self::default()
    }

    /// Advances the clock.
    pub fn pass(&mut self, duration: Duration) {
        self.now += duration;
        let now = self.now;
        self.entries
            .retain(|_, entry| entry.deadline.is_none_or(|deadline| deadline > now));
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether the model has no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.entries.get(key).map(|entry| entry.value.clone())
    }

    /// Writes `value` if the condition holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for an expiry that is zero or too long, whether or not the
    /// condition holds.
    pub fn set(&mut self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome, ErrorKind> {
        let deadline = self.deadline(key, options.expiry)?;
        let old = self.get(key);
        let holds = match options.condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
            Condition::IfEquals(expected) => old == Some(expected),
        };
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        self.entries.insert(key.to_owned(), Entry { value, deadline });
        Ok(SetOutcome::Written)
    }

    /// Removes `keys` and returns how many of them existed.
    pub fn del(&mut self, keys: &[&str]) -> u64 {
        let mut removed = 0;
        for key in keys {
            removed += u64::from(self.entries.remove(*key).is_some());
        }
        removed
    }

    /// Removes `key` if it holds `expected`, and returns whether it did.
    pub fn del_if_equals(&mut self, key: &str, expected: &[u8]) -> bool {
        self.get(key).is_some_and(|value| value == expected) && self.del(&[key]) == 1
    }

    /// Updates the expiry of `key` and returns whether the key exists.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for an expiry that is too long.
    pub fn expire(&mut self, key: &str, expiry: Expiry) -> Result<bool, ErrorKind> {
        if expiry == Expiry::After(Duration::ZERO) {
            return Ok(self.del(&[key]) == 1);
        }
        let deadline = self.deadline(key, expiry)?;
        let Some(entry) = self.entries.get_mut(key) else {
            return Ok(false);
        };
        entry.deadline = deadline;
        Ok(true)
    }

    /// Returns the remaining time to live of `key`.
    pub fn ttl(&self, key: &str) -> Ttl {
        match self.entries.get(key) {
            None => Ttl::Missing,
            Some(Entry { deadline: None, .. }) => Ttl::Persistent,
            Some(Entry {
                deadline: Some(deadline),
                ..
            }) => Ttl::Remaining(deadline.saturating_sub(self.now)),
        }
    }

    /// Returns the value of `key` and its remaining time to live.
    pub fn get_with_ttl(&self, key: &str) -> Option<(Bytes, Ttl)> {
        self.get(key).map(|value| (value, self.ttl(key)))
    }

    /// Returns the values of `keys`, in the order of `keys`.
    pub fn get_many(&self, keys: &[&str]) -> Vec<Option<Bytes>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Writes all `entries` in order.
    ///
    /// # Errors
    ///
    /// The same as for [`set`](Self::set). In that case nothing is written.
    pub fn set_many(&mut self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<(), ErrorKind> {
        millis(expiry)?;
        for (key, value) in entries {
            let _ = self.set(key, value.clone(), SetOptions::new().with_expiry(expiry))?;
        }
        Ok(())
    }

    /// Adds `delta` to the integer that `key` holds, and returns the sum.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for an expiry that `set` would refuse. Otherwise
    /// [`ErrorKind::Data`] if the value is not a canonical integer, or the sum does not fit.
    pub fn incr(&mut self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>, ErrorKind> {
        let created = match on_missing {
            OnMissing::Create(expiry) => Some(self.deadline(key, expiry)?),
            OnMissing::Refuse => None,
        };
        let (old, deadline) = match (self.entries.get(key), created) {
            (Some(entry), _) => (integer(&entry.value).ok_or(ErrorKind::Data)?, entry.deadline),
            (None, Some(deadline)) => (0, deadline),
            (None, None) => return Ok(None),
        };
        let sum = old.checked_add(delta).ok_or(ErrorKind::Data)?;
        let value = Bytes::from(sum.to_string());
        self.entries.insert(key.to_owned(), Entry { value, deadline });
        Ok(Some(sum))
    }

    /// Returns the keys that match.
    pub fn keys(&self, pattern: &Pattern) -> BTreeSet<String> {
        let matches = |key: &&String| glob::matches(pattern.as_bytes(), key.as_bytes());
        self.entries.keys().filter(matches).cloned().collect()
    }

    /// Removes the keys that match, and returns their number.
    pub fn del_matching(&mut self, pattern: &Pattern) -> u64 {
        let keys = self.keys(pattern);
        self.del(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Returns the time at which `key` expires if it is written with `expiry`.
    fn deadline(&self, key: &str, expiry: Expiry) -> Result<Option<Duration>, ErrorKind> {
        let after = millis(expiry)?.map(|after| self.now + after);
        Ok(match expiry {
            Expiry::Keep => self.entries.get(key).and_then(|entry| entry.deadline),
            Expiry::Never | Expiry::After(_) => after,
        })
    }
}

// Like a backend, the model shows no keys or values.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("keys", &self.entries.len())
            .field("now", &self.now)
            .finish()
    }
}

/// Returns whole milliseconds, rounded up: at least one, and at most the maximum of Redis.
fn millis(expiry: Expiry) -> Result<Option<Duration>, ErrorKind> {
    let Expiry::After(after) = expiry else {
        return Ok(None);
    };
    let millis = after.as_nanos().div_ceil(1_000_000);
    match i64::try_from(millis) {
        Ok(1..) => Ok(u64::try_from(millis).ok().map(Duration::from_millis)),
        _ => Err(ErrorKind::InvalidArgument),
    }
}

/// Returns the integer whose canonical text is exactly `text`.
fn integer(text: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_ends_at_its_time_and_not_before() {
        let mut model = Model::new();
        assert_eq!(
            model.set("k", "v".into(), SetOptions::expires_after(SECOND)),
            Ok(SetOutcome::Written)
        );
        model.pass(Duration::from_millis(999));
        assert_eq!(model.ttl("k"), Ttl::Remaining(Duration::from_millis(1)));
        model.pass(Duration::from_millis(1));
        assert_eq!((model.get("k"), model.ttl("k")), (None, Ttl::Missing));
        assert_eq!(model.del(&["k"]), 0);
    }

    #[test]
    fn an_expiry_of_zero_is_refused_and_under_a_millisecond_rounded_up() {
        let mut model = Model::new();
        let zero = SetOptions::if_present().with_expiry(Duration::ZERO);
        assert_eq!(model.set("k", "v".into(), zero), Err(ErrorKind::InvalidArgument));
        let options = SetOptions::expires_after(Duration::from_nanos(1));
        assert_eq!(model.set("k", "v".into(), options), Ok(SetOutcome::Written));
        assert_eq!(model.ttl("k"), Ttl::Remaining(Duration::from_millis(1)));
        assert_eq!(model.expire("k", Expiry::After(Duration::ZERO)), Ok(true));
        assert_eq!(
            model.expire("k", Expiry::After(Duration::MAX)),
            Err(ErrorKind::InvalidArgument)
        );
    }

    #[test]
    fn counting_keeps_the_ttl_and_refuses_what_is_no_integer() {
        let mut model = Model::new();
        let create = OnMissing::Create(Expiry::After(SECOND));
        assert_eq!(model.incr("k", 2, OnMissing::Refuse), Ok(None));
        assert_eq!(model.incr("k", 2, create), Ok(Some(2)));
        assert_eq!(model.incr("k", -3, OnMissing::Create(Expiry::Never)), Ok(Some(-1)));
        assert_eq!(model.ttl("k"), Ttl::Remaining(SECOND));
        assert_eq!(model.incr("k", i64::MIN, OnMissing::Refuse), Err(ErrorKind::Data));
        for text in ["", " 1", "1 ", "+1", "01", "-0", "1.0", "1e3", "0x10", "abc"] {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
