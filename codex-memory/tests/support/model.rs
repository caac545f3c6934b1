//! What a store should answer, said as plainly as can be.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use codex_traits::{Condition, ErrorKind, Expiry, OnMissing, Pattern, Ttl};

use crate::ops::{Answer, Op};

/// A sorted map and the time that it is.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) now: Duration,
    entries: BTreeMap<&'static str, (Bytes, Option<Duration>)>,
}

impl Model {
    fn forget_expired(&mut self) {
        let now = self.now;
        self.entries.retain(|_, (_, end)| end.is_none_or(|end| end > now));
    }

    pub(crate) fn len(&mut self) -> usize {
        self.forget_expired();
        self.entries.len()
    }

    fn end(&self, key: &str, expiry: Expiry) -> Option<Duration> {
        match expiry {
            Expiry::Never => None,
            Expiry::After(span) => Some(self.now + span),
            Expiry::Keep => self.entries.get(key).and_then(|entry| entry.1),
        }
    }

    fn get(&self, key: &str) -> Option<Bytes> {
        self.entries.get(key).map(|entry| entry.0.clone())
    }

    fn matching(&self, glob: &str) -> Vec<&'static str> {
        let pattern = Pattern::glob(glob);
        self.entries
            .keys()
            .copied()
            .filter(|key| pattern.matches(key))
            .collect()
    }

    fn remove(&mut self, keys: &[&'static str]) -> Answer {
        Answer::Count(keys.iter().filter(|key| self.entries.remove(**key).is_some()).count() as u64)
    }

    pub(crate) fn answer(&mut self, op: Op) -> Answer {
        self.forget_expired();
        match op {
            Op::Get(key) => Answer::Value(self.get(key)),
            Op::GetMany(keys) => Answer::Values(keys.iter().map(|key| self.get(key)).collect()),
            Op::Set(key, value, options) => {
                let old = self.get(key);
                let holds = match options.condition {
                    Condition::Always => true,
                    Condition::IfAbsent => old.is_none(),
                    Condition::IfPresent => old.is_some(),
                    Condition::IfEquals(expected) => old == Some(expected),
                };
                if holds {
                    self.entries.insert(key, (value, self.end(key, options.expiry)));
                }
                Answer::Flag(holds)
            }
            Op::SetMany(entries, expiry) => {
                for (key, value) in entries {
                    self.entries.insert(key, (value, self.end(key, expiry)));
                }
                Answer::Flag(true)
            }
            Op::Del(keys) => self.remove(&keys),
            Op::DelIfEquals(key, value) => {
                let equal = self.get(key) == Some(value);
                Answer::Flag(equal && self.entries.remove(key).is_some())
            }
            Op::Expire(key, expiry) => {
                let end = self.end(key, expiry);
                Answer::Flag(self.entries.get_mut(key).map(|entry| entry.1 = end).is_some())
            }
            Op::Ttl(key) => Answer::Ttl(match self.entries.get(key) {
                None => Ttl::Missing,
                Some((_, None)) => Ttl::Persistent,
                Some((_, Some(end))) => Ttl::Remaining(end.saturating_sub(self.now)),
            }),
            Op::Incr(key, delta, on_missing) => self.incr(key, delta, on_missing),
            Op::Scan(glob) => Answer::Keys(self.matching(glob).into_iter().map(str::to_owned).collect()),
            Op::DelMatching(glob) => self.remove(&self.matching(glob)),
        }
    }

    fn incr(&mut self, key: &'static str, delta: i64, on_missing: OnMissing) -> Answer {
        let (old, end) = match (self.get(key), on_missing) {
            (None, OnMissing::Refuse) => return Answer::Sum(None),
            (None, OnMissing::Create(expiry)) => (Some(0), self.end(key, expiry)),
            (Some(text), _) => (codex_traits::parse_integer(&text), self.end(key, Expiry::Keep)),
        };
        let Some(sum) = old.and_then(|old| old.checked_add(delta)) else {
            return Answer::Failed(ErrorKind::Data);
        };
        self.entries.insert(key, (sum.to_string().into(), end));
        Answer::Sum(Some(sum))
    }
}
