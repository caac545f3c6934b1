//! The verbs of the backend, with the faults that affect single verbs.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Capability, Condition, Cursor, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result,
    ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl, parse_integer,
};
use tokio::task::yield_now;

use super::{Effect, FaultyBackend};
use crate::faulty_backends::faults::Fault;

impl KvBackend for FaultyBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .with(Capability::LargeValues)
            .with(Capability::ForeignTypes)
            .with(Capability::AtomicMany)
            .with(Capability::AtomicGetWithTtl)
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        if self.has(Fault::GetWithTtlInTwoSteps) {
            let Some(value) = self.get(key).await? else {
                return Ok(None);
            };
            yield_now().await;
            return Ok(Some((value, self.ttl(key).await?)));
        }
        let key = self.key(key);
        self.ask("get_with_ttl", Effect::Reads)?;
        let keyspace = self.live(&key);
        let Some(entry) = keyspace.entries.get(&key) else {
            return Ok(None);
        };
        let Some(value) = entry.value.clone() else {
            return Err(Error::new(
                ErrorKind::Data,
                "get_with_ttl",
                "the key holds another type",
            ));
        };
        let ttl = match entry.deadline {
            Some(deadline) if !self.has(Fault::GetWithTtlDropsTtl) => {
                Ttl::Remaining(Duration::from_millis(deadline.abs_diff(self.now())))
            }
            _ => Ttl::Persistent,
        };
        Ok(Some((value, ttl)))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let key = self.key(key);
        match self.ask("get", Effect::Reads) {
            Err(_) if self.has(Fault::OutageIsMiss) => return Ok(None),
            asked => asked?,
        }
        if self.has(Fault::ReadingRefreshes)
            && let Some(entry) = self.live(&key).entries.get_mut(&key)
            && entry.deadline.is_some()
        {
            entry.deadline = Some(self.now() + 100_000);
        }
        let value = self.read(&key)?;
        if self.has(Fault::ReadingMovesKeys) {
            self.keyspace().move_to_front(&key);
        }
        if self.has(Fault::AnswersMixedUp) {
            self.wrong().answers.push_back(value);
            yield_now().await;
            return Ok(self.wrong().answers.pop_front().flatten());
        }
        if self.has(Fault::StaleRead) {
            let mut wrong = self.wrong();
            wrong.reads += 1;
            if wrong.reads.is_multiple_of(3)
                && let Some(previous) = wrong.previous.get(&key)
            {
                return Ok(previous.clone());
            }
        }
        self.answer("get", value)
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let key = self.key(key);
        if let Err(error) = self.ask("set", Effect::Grows) {
            if self.has(Fault::NeverSent) && error.kind() == ErrorKind::Timeout {
                self.write(&mut self.live(&key), &key, value, None);
                return Err(error.not_executed());
            }
            return match (&options.condition, self.fault) {
                (Condition::IfAbsent, Some(Fault::OutageRefusesNx))
                | (Condition::IfPresent, Some(Fault::OutageRefusesXx))
                | (Condition::IfEquals(_), Some(Fault::OutageRefusesCas)) => Ok(SetOutcome::Refused),
                _ => Err(error),
            };
        }
        if self.has(Fault::DroppedCallPoisons) {
            if std::mem::replace(&mut self.wrong().is_busy, true) {
                return Err(Error::new(ErrorKind::Connection, "set", "another call is under way"));
            }
            yield_now().await;
            self.wrong().is_busy = false;
        }
        match (&options.condition, self.fault) {
            (Condition::IfAbsent, Some(Fault::NxInTwoSteps)) | (Condition::IfEquals(_), Some(Fault::CasInTwoSteps)) => {
                return self.set_in_two_steps(&key, value, options).await;
            }
            _ => {}
        }
        let mut keyspace = if self.has(Fault::ExpiredStopsNx) {
            self.keyspace()
        } else {
            self.live(&key)
        };
        let old = keyspace.entries.get(&key);
        let old_deadline = old.and_then(|entry| entry.deadline);
        let mut deadline = self.deadline(options.expiry, old_deadline, "set")?;
        let keeps = match options.condition {
            Condition::Always => self.has(Fault::SetKeepsTtl),
            Condition::IfPresent => self.has(Fault::XxKeepsTtl),
            _ => false,
        };
        if keeps && options.expiry == Expiry::Never {
            deadline = old_deadline;
        }
        let (holds, refreshes) = match &options.condition {
            Condition::Always => (true, false),
            Condition::IfAbsent if self.has(Fault::NxReplacesForeign) => {
                (old.is_none_or(|entry| entry.value.is_none()), false)
            }
            Condition::IfAbsent => (old.is_none(), self.has(Fault::RefusedNxRefreshes)),
            Condition::IfPresent => (old.is_some() || self.has(Fault::XxCreates), false),
            Condition::IfEquals(expected) => (self.equals(old, expected), self.has(Fault::RefusedCasRefreshes)),
        };
        if !holds {
            if refreshes && let Some(entry) = keyspace.entries.get_mut(&key) {
                entry.deadline = deadline;
            }
            return Ok(SetOutcome::Refused);
        }
        self.write(&mut keyspace, &key, value, deadline);
        drop(keyspace);
        match self.answer("set", SetOutcome::Written) {
            // The second attempt compares with the value that the first one wrote.
            Err(_) if self.has(Fault::RetriesCas) && matches!(options.condition, Condition::IfEquals(_)) => {
                Ok(SetOutcome::Refused)
            }
            answer => answer,
        }
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.ask("del", Effect::Changes)?;
        if keys.is_empty() && self.has(Fault::DelOfNothingFails) {
            return Err(Error::new(ErrorKind::Server, "del", "wrong number of arguments"));
        }
        let most = if self.has(Fault::DelIsCapped) {
            5_000
        } else {
            usize::MAX
        };
        let keys: Vec<Vec<u8>> = keys.iter().take(most).map(|key| self.key(key)).collect();
        if self.has(Fault::DelCountsDuplicates) {
            let there = keys
                .iter()
                .filter(|key| self.live(key).entries.contains_key(*key))
                .count();
            for key in &keys {
                self.remove(key);
            }
            return Ok(there as u64);
        }
        if keys.len() > 100 && self.has(Fault::LongDelCountsExpired) {
            let mut keyspace = self.keyspace();
            return Ok(keys.iter().filter(|key| keyspace.remove(key).is_some()).count() as u64);
        }
        let remove = || keys.iter().filter(|key| self.remove(key)).count() as u64;
        match self.answer("del", remove()) {
            Err(_) if self.has(Fault::RetriesDel) => Ok(remove()),
            answer => answer,
        }
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let key = self.key(key);
        self.ask("del_if_equals", Effect::Changes)?;
        let equal = self.equals(self.live(&key).entries.get(&key), expected);
        if self.has(Fault::DelIfEqualsInTwoSteps) {
            yield_now().await;
            return Ok(equal && self.remove(&key));
        }
        let mut keyspace = self.live(&key);
        let equal = keyspace
            .entries
            .get(&key)
            .is_some_and(|entry| match entry.value.as_deref() {
                None => self.has(Fault::DelRemovesForeign) && expected.is_empty(),
                held => held == Some(expected),
            });
        let removed = equal && keyspace.remove(&key).is_some();
        match self.answer("del_if_equals", removed) {
            Err(_) if self.has(Fault::RetriesDelIfEquals) => Ok(false),
            answer => answer,
        }
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = self.key(key);
        self.ask("expire", Effect::Changes)?;
        if expiry == Expiry::After(Duration::ZERO) && !self.has(Fault::ExpireZeroPersists) {
            return match self.answer("expire", self.remove(&key)) {
                Err(_) if self.has(Fault::RetriesExpireZero) => Ok(false),
                answer => answer,
            };
        }
        let mut keyspace = self.live(&key);
        let old = keyspace.entries.get_mut(&key);
        let old_deadline = old.as_ref().and_then(|entry| entry.deadline);
        let deadline = match expiry {
            Expiry::After(Duration::ZERO) => None,
            expiry => self.deadline(expiry, old_deadline, "expire")?,
        };
        let Some(entry) = old else {
            return Ok(self.has(Fault::ExpireMissingIsTrue));
        };
        if expiry == Expiry::Never {
            match self.fault {
                Some(Fault::PersistentIsMissing) if old_deadline.is_none() => return Ok(false),
                Some(Fault::PersistKeepsDeadline) => {
                    self.wrong().hidden.insert(key);
                    return Ok(true);
                }
                _ => {}
            }
        }
        entry.deadline = deadline;
        Ok(true)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let key = self.key(key);
        self.ask("ttl", Effect::Reads)?;
        let keyspace = self.live(&key);
        Ok(match keyspace.entries.get(&key).map(|entry| entry.deadline) {
            None if self.has(Fault::TtlOfMissingIsPersistent) => Ttl::Persistent,
            None => Ttl::Missing,
            Some(None) => Ttl::Persistent,
            Some(Some(_)) if self.wrong().hidden.contains(&key) => Ttl::Persistent,
            Some(Some(deadline)) => Ttl::Remaining(Duration::from_millis(deadline.abs_diff(self.now()))),
        })
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.ask("scan", Effect::Reads)?;
        let hint = match self.fault {
            Some(Fault::ZeroHintTaken) => request.count_hint.max(1),
            Some(Fault::WholeKeyspace) => request.checked_count_hint().map(|_| usize::MAX)?,
            _ => request.checked_count_hint()?,
        };
        self.page(request.pattern, &request.cursor, hint)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.ask("get_many", Effect::Reads)?;
        let mut keys: Vec<Vec<u8>> = keys.iter().map(|key| self.key(key)).collect();
        match self.fault {
            Some(Fault::ManyOfNothingFails) if keys.is_empty() => {
                return Err(Error::new(ErrorKind::Server, "get_many", "wrong number of arguments"));
            }
            Some(Fault::ManySorts) => keys.sort(),
            Some(Fault::ManyDropsDuplicates) => {
                let mut seen = BTreeSet::new();
                keys.retain(|key| seen.insert(key.clone()));
            }
            Some(Fault::ManyIsCapped) => keys.truncate(1_000),
            Some(Fault::WrapperDropsOverride) => {
                let mut values = Vec::new();
                for key in &keys {
                    values.push(self.read(key).unwrap_or_default());
                    yield_now().await;
                }
                return Ok(values);
            }
            Some(Fault::ManyFailsOnForeign) => return keys.iter().map(|key| self.read(key)).collect(),
            _ => {}
        }
        let shows_expired = keys.len() > 100 && self.has(Fault::LongGetManyShowsExpired);
        for key in keys.iter().filter(|_| !shows_expired) {
            drop(self.live(key));
        }
        let keyspace = self.keyspace();
        let mut values: Vec<Option<Bytes>> = keys
            .iter()
            .map(|key| {
                keyspace
                    .entries
                    .get(key)
                    .filter(|entry| shows_expired || !self.has_ended(entry))?
                    .value
                    .clone()
            })
            .collect();
        match self.fault {
            Some(Fault::ManyDropsMisses) => values.retain(Option::is_some),
            Some(Fault::ManyIsStale) => {
                let mut wrong = self.wrong();
                for (key, value) in keys.into_iter().zip(&mut values) {
                    value.clone_from(wrong.cached.entry(key).or_insert_with(|| value.clone()));
                }
            }
            _ => {}
        }
        Ok(values)
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        self.ask("set_many", Effect::Grows)?;
        self.deadline(expiry, None, "set_many")?;
        if self.has(Fault::KeepsAKeyOfItsOwn) {
            self.write(&mut self.keyspace(), b"backend:last-write", Bytes::new(), None);
        }
        let mut seen = BTreeSet::new();
        for (key, value) in entries {
            let key = self.key(key);
            if self.has(Fault::SetManyKeepsFirst) && !seen.insert(key.clone()) {
                continue;
            }
            let mut keyspace = self.live(&key);
            let old = keyspace.entries.get(&key).and_then(|entry| entry.deadline);
            let deadline = match self.fault {
                Some(Fault::SetManyDropsExpiry) => None,
                _ => self.deadline(expiry, old, "set_many")?,
            };
            self.write(&mut keyspace, &key, value.clone(), deadline);
        }
        Ok(())
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let key = self.key(key);
        self.ask("incr", Effect::Grows)?;
        match self.fault {
            Some(Fault::IncrLosesUpdates) => {
                let old = self.read(&key)?.and_then(|value| parse_integer(&value)).unwrap_or(0);
                yield_now().await;
                self.write(&mut self.live(&key), &key, (old + delta).to_string().into(), None);
                return Ok(Some(old + delta));
            }
            Some(Fault::RefuseInTwoSteps) if on_missing == OnMissing::Refuse => {
                if !self.live(&key).entries.contains_key(&key) {
                    return Ok(None);
                }
                yield_now().await;
                return self.count(&key, delta, OnMissing::Create(Expiry::Never));
            }
            _ => {}
        }
        let sum = self.count(&key, delta, on_missing)?;
        match self.answer("incr", sum) {
            Err(_) if self.has(Fault::RetriesIncr) => self.count(&key, delta, on_missing),
            answer => answer,
        }
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.ask("del_matching", Effect::Changes)?;
        let mut removed = 0;
        let mut cursor = Cursor::start();
        if self.has(Fault::DelMatchingTakesAll) {
            let keys: Vec<Vec<u8>> = self
                .keyspace()
                .entries
                .keys()
                .filter(|key| pattern.matches(key))
                .cloned()
                .collect();
            let counted = keys
                .iter()
                .filter(|key| self.remove(key) && std::str::from_utf8(key).is_ok())
                .count();
            return Ok(counted as u64);
        }
        if self.has(Fault::DelMatchingOvercounts) {
            let keyspace = self.keyspace();
            let ended = keyspace
                .entries
                .iter()
                .filter(|(key, entry)| pattern.matches(key) && self.has_ended(entry));
            removed += ended.count() as u64;
        }
        loop {
            let page = self.page(pattern, &cursor, 500)?;
            if page.keys.is_empty() && self.has(Fault::StopsOnEmptyPage) {
                return Ok(removed);
            }
            removed += page.keys.iter().filter(|key| self.remove(key.as_bytes())).count() as u64;
            let Some(next) = page.next else {
                return Ok(removed);
            };
            cursor = next;
        }
    }
}
