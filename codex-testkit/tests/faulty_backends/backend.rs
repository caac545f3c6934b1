//! A backend that is correct apart from its fault. Its verbs are in `verbs`.

mod verbs;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use codex_testkit::OutageKind;
use codex_traits::{
    Condition, Cursor, Error, ErrorKind, Expiry, OnMissing, Pattern, Result, ScanPage, SetOptions, SetOutcome,
    parse_integer,
};
use tokio::task::yield_now;

use super::{
    faults::Fault,
    globs,
    keyspace::{Clock, Entry, Keyspace, SINCE_1970, Service, lock},
};

/// State that only faults need.
#[derive(Default)]
struct Wrong {
    ghosts: BTreeMap<Vec<u8>, i64>,
    timers: BTreeMap<Vec<u8>, Vec<i64>>,
    hidden: BTreeSet<Vec<u8>>,
    cached: BTreeMap<Vec<u8>, Option<Bytes>>,
    previous: BTreeMap<Vec<u8>, Option<Bytes>>,
    snapshots: Vec<Vec<Vec<u8>>>,
    answers: VecDeque<Option<Bytes>>,
    reads: u64,
    has_failed: bool,
    is_busy: bool,
}

#[derive(Default)]
pub(crate) struct FaultyBackend {
    fault: Option<Fault>,
    keyspace: Arc<Mutex<Keyspace>>,
    clock: Clock,
    service: Service,
    wrong: Arc<Mutex<Wrong>>,
}

impl Clone for FaultyBackend {
    fn clone(&self) -> Self {
        let keyspace = if self.has(Fault::CloneCopies) {
            Arc::new(Mutex::new(self.keyspace().clone()))
        } else {
            self.keyspace.clone()
        };
        Self {
            fault: self.fault,
            keyspace,
            clock: self.clock.clone(),
            service: self.service.clone(),
            wrong: self.wrong.clone(),
        }
    }
}

impl fmt::Debug for FaultyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyBackend")
    }
}

/// The effect of a verb on the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Reads,
    Changes,
    Grows,
}

impl FaultyBackend {
    pub(crate) fn new(fault: Option<Fault>, clock: Clock, service: Service) -> Self {
        Self {
            fault,
            clock,
            service,
            ..Self::default()
        }
    }

    pub(crate) fn on_the_store_of(mut self, other: &Self) -> Self {
        self.keyspace = other.keyspace.clone();
        self
    }

    pub(crate) fn keyspace(&self) -> MutexGuard<'_, Keyspace> {
        lock(&self.keyspace)
    }

    fn wrong(&self) -> MutexGuard<'_, Wrong> {
        lock(&self.wrong)
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn key(&self, key: &str) -> Vec<u8> {
        if self.has(Fault::KeysFolded) {
            key.to_lowercase().into()
        } else {
            key.into()
        }
    }

    fn now(&self) -> i64 {
        match self.fault {
            Some(Fault::WallClock) => self.clock.wall(),
            Some(Fault::ClockWraps) => self.clock.now() % (1 << 32),
            _ => self.clock.now(),
        }
    }

    fn has_ended(&self, entry: &Entry) -> bool {
        let now = match self.fault {
            Some(Fault::EndsEarly) => self.now() + 5,
            Some(Fault::EndsLate) => self.now() - 100,
            Some(Fault::OnlySweeperRemoves) => self.now() / 60_000 * 60_000,
            _ => self.now(),
        };
        entry.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Returns the keyspace, after removing `key` if it has expired.
    fn live(&self, key: &[u8]) -> MutexGuard<'_, Keyspace> {
        let mut keyspace = self.keyspace();
        let mut ended = keyspace.entries.get(key).is_some_and(|entry| self.has_ended(entry));
        let has_timers = matches!(
            self.fault,
            Some(Fault::OldTimerRemoves | Fault::TimerWraps | Fault::CounterEndsWithOldTimer)
        );
        if has_timers && let Some(timers) = self.wrong().timers.get_mut(key) {
            let before = timers.len();
            timers.retain(|deadline| *deadline > self.now());
            ended |= timers.len() < before;
        }
        if ended {
            if self.has(Fault::LogsExpiredKeys) {
                tracing::debug!("{} has expired", String::from_utf8_lossy(key));
            }
            keyspace.remove(key);
        }
        keyspace
    }

    /// Fails unless the store is in service for a verb with this effect.
    fn ask(&self, operation: &'static str, effect: Effect) -> Result<()> {
        if self.has(Fault::NeedsARuntime) {
            let _ = tokio::runtime::Handle::current();
        }
        let failed = |kind, message| Err(Error::new(kind, operation, message));
        if self.wrong().has_failed {
            return failed(ErrorKind::Connection, "the connection broke");
        }
        let refused = |message| Err(Error::new(ErrorKind::Server, operation, message).not_executed());
        let asked = match self.service.outage() {
            Some(OutageKind::Refused) => {
                Err(Error::new(ErrorKind::Connection, operation, "connection refused").not_executed())
            }
            Some(OutageKind::Stalled) if self.has(Fault::StallIsConnection) => {
                failed(ErrorKind::Connection, "no answer")
            }
            Some(OutageKind::Stalled) => failed(ErrorKind::Timeout, "no answer in time"),
            Some(OutageKind::NoAuth) => refused("the store demands credentials"),
            Some(OutageKind::ReadOnly) if effect != Effect::Reads => refused("the store is read-only"),
            Some(OutageKind::OutOfMemory) if effect == Effect::Grows => refused("the store is full"),
            _ => Ok(()),
        };
        self.wrong().has_failed |= asked.is_err() && self.has(Fault::NeverHeals);
        asked
    }

    /// Returns `answer`, unless this answer is lost.
    fn answer<T>(&self, operation: &'static str, answer: T) -> Result<T> {
        if self.service.loses_an_answer() {
            return Err(Error::new(ErrorKind::Connection, operation, "the connection broke"));
        }
        Ok(answer)
    }

    /// Returns the deadline of `expiry`.
    fn deadline(&self, expiry: Expiry, old: Option<i64>, operation: &'static str) -> Result<Option<i64>> {
        let wraps = match operation {
            "expire" => self.has(Fault::ExpireHugeWraps),
            _ => self.has(Fault::HugeWraps),
        };
        let millis = match expiry {
            Expiry::After(Duration::ZERO) if self.has(Fault::ZeroIsForever) => return Ok(None),
            Expiry::After(after) if self.has(Fault::UnderAMillisecondIsForever) && after.as_millis() == 0 => {
                expiry.to_millis(operation)?;
                return Ok(None);
            }
            #[expect(clippy::cast_possible_truncation, reason = "that is the fault")]
            Expiry::After(after) if wraps => Some(after.as_millis() as i64),
            _ => expiry.to_millis(operation)?,
        };
        let Some(mut millis) = millis else {
            let keeps = expiry == Expiry::Keep && !self.has(Fault::KeepDropsTtl);
            return Ok(if keeps { old } else { None });
        };
        if self.has(Fault::WholeSeconds) {
            millis = millis / 1000 * 1000;
        }
        let since_1970 = SINCE_1970 + self.now();
        let deadline = if wraps {
            millis.wrapping_add(since_1970)
        } else {
            millis
                .checked_add(since_1970)
                .ok_or_else(|| Error::expiry_too_long(operation))?
        };
        let deadline = deadline.saturating_sub(SINCE_1970);
        let never_shortens = match operation {
            "expire" => self.has(Fault::ExpireOnlyLengthens),
            _ => self.has(Fault::NeverShortens),
        };
        Ok(Some(match old {
            Some(old) if never_shortens => old.max(deadline),
            _ => deadline,
        }))
    }

    fn write(&self, keyspace: &mut Keyspace, key: &[u8], value: Bytes, deadline: Option<i64>) {
        let old = keyspace.entries.get(key).and_then(|entry| entry.value.clone());
        let mut value = value;
        if self.has(Fault::ShortSetKeepsTail)
            && let Some(old) = &old
            && old.len() > value.len()
        {
            value = [&value[..], &old[value.len()..]].concat().into();
        }
        if self.has(Fault::LossyText) {
            value = String::from_utf8_lossy(&value).into_owned().into();
        }
        if self.has(Fault::LargeIsCut) {
            value.truncate(16 << 20);
        }
        let mut deadline = deadline;
        let mut wrong = self.wrong();
        if self.has(Fault::GhostTtl) && deadline.is_none() {
            deadline = wrong.ghosts.remove(key);
        }
        if self.has(Fault::OldTimerRemoves) {
            wrong.timers.entry(key.to_owned()).or_default().extend(deadline);
        }
        if self.has(Fault::TimerWraps) {
            let left = deadline.map_or(0, |deadline| deadline - self.now());
            let timer = (left > 1 << 32).then_some(self.now() + left % (1 << 32));
            wrong.timers.insert(key.to_owned(), timer.into_iter().collect());
        }
        if self.has(Fault::StaleRead) {
            wrong.previous.insert(key.to_owned(), old);
        }
        wrong.hidden.remove(key);
        drop(wrong);
        keyspace.insert(key, Some(value), deadline);
    }

    fn equals(&self, entry: Option<&Entry>, expected: &[u8]) -> bool {
        let Some(entry) = entry else {
            return expected.is_empty() && self.has(Fault::MissingEqualsEmpty);
        };
        let value = entry.value.as_deref();
        if value.is_none() && self.has(Fault::CasReplacesForeign) {
            return expected.is_empty();
        }
        if self.has(Fault::EqualAsNumbers) {
            let number = |text: &[u8]| String::from_utf8_lossy(text).parse::<i64>().ok();
            if let (Some(held), Some(expected)) = (value.and_then(number), number(expected)) {
                return held == expected;
            }
        }
        value == Some(expected)
    }

    /// Checks the condition first and writes afterwards.
    async fn set_in_two_steps(&self, key: &[u8], value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let holds = match &options.condition {
            Condition::IfAbsent => !self.live(key).entries.contains_key(key),
            Condition::IfEquals(expected) => self.equals(self.live(key).entries.get(key), expected),
            _ => true,
        };
        yield_now().await;
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        let deadline = self.deadline(options.expiry, None, "set")?;
        self.write(&mut self.live(key), key, value, deadline);
        Ok(SetOutcome::Written)
    }

    fn remove(&self, key: &[u8]) -> bool {
        let removed = if self.has(Fault::DelCountsExpired) {
            self.keyspace().remove(key)
        } else {
            self.live(key).remove(key)
        };
        if let Some(deadline) = removed.as_ref().and_then(|entry| entry.deadline) {
            self.wrong().ghosts.insert(key.to_owned(), deadline);
        }
        removed.is_some()
    }

    fn read(&self, key: &[u8]) -> Result<Option<Bytes>> {
        match self.live(key).entries.get(key) {
            None if self.has(Fault::MissingIsEmpty) => Ok(Some(Bytes::new())),
            None => Ok(None),
            Some(Entry { value: Some(value), .. }) if value.is_empty() && self.has(Fault::EmptyIsMiss) => Ok(None),
            Some(Entry { value: Some(value), .. }) => Ok(Some(value.clone())),
            Some(Entry { value: None, .. }) if self.has(Fault::ForeignIsMiss) => Ok(None),
            Some(Entry { value: None, .. }) => Err(Error::new(ErrorKind::Data, "get", "the key holds another type")),
        }
    }

    fn counter(&self, value: &[u8]) -> Result<i64> {
        let taken = if self.has(Fault::IncrTakesPlus) {
            String::from_utf8_lossy(value).trim().parse().ok()
        } else {
            parse_integer(value)
        };
        taken.ok_or_else(|| {
            if self.has(Fault::ErrorShowsValue) {
                Error::new(ErrorKind::Data, "incr", String::from_utf8_lossy(value).into_owned())
            } else {
                Error::not_an_integer()
            }
        })
    }

    fn sum(&self, old: i64, delta: i64) -> Result<i64> {
        match self.fault {
            Some(Fault::IncrWraps) => Ok(old.wrapping_add(delta)),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                reason = "that is the fault"
            )]
            Some(Fault::IncrInFloatingPoint) => Ok((old as f64 + delta as f64) as i64),
            _ => old.checked_add(delta).ok_or_else(Error::integer_overflow),
        }
    }

    fn count(&self, key: &[u8], delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let create = match on_missing {
            OnMissing::Create(expiry) => Some(self.deadline(expiry, None, "incr")?),
            OnMissing::Refuse if self.has(Fault::RefuseCreates) => Some(None),
            OnMissing::Refuse => None,
        };
        let mut keyspace = self.live(key);
        let there = keyspace.entries.get(key);
        let there = there.filter(|entry| entry.value.is_some() || !self.has(Fault::IncrReplacesForeign));
        let (sum, deadline) = match (there, create) {
            (None, None) => return Ok(None),
            (None, Some(deadline)) if self.has(Fault::CounterEndsWithOldTimer) => {
                let mut wrong = self.wrong();
                let old = wrong.ghosts.get(key).copied();
                wrong.timers.insert(key.to_owned(), old.into_iter().collect());
                (delta, deadline)
            }
            (None, Some(deadline)) => (delta, deadline),
            (Some(entry), create) => {
                let value = entry.value.as_deref().unwrap_or(b"a list");
                let sum = self.sum(self.counter(value)?, delta)?;
                let deadline = match (self.fault, create) {
                    (Some(Fault::IncrDropsTtl), _) => None,
                    (Some(Fault::CreateSetsTtlAgain), Some(Some(deadline))) => Some(deadline),
                    _ => entry.deadline,
                };
                (sum, deadline)
            }
        };
        let text = if self.has(Fault::IncrPads) && sum > 0 {
            format!("0{sum}")
        } else {
            sum.to_string()
        };
        self.write(&mut keyspace, key, text.into(), deadline);
        Ok(Some(sum))
    }

    /// Returns a page, after examining at most `hint` keys from the cursor on.
    fn page(&self, pattern: &Pattern, cursor: &Cursor, hint: usize) -> Result<ScanPage> {
        let keyspace = self.keyspace();
        let grown = keyspace.next_position;
        let (from, start) = match cursor.as_str() {
            "" => (0, grown),
            "loop" => {
                return Ok(ScanPage::new(Vec::new(), Some(cursor.clone())));
            }
            text => match text
                .split_once('-')
                .map(|(from, start)| (from.parse::<u64>(), start.parse::<u64>()))
            {
                Some((Ok(from), Ok(start))) => (from, start),
                _ if self.has(Fault::CursorPanics) => panic!("a cursor is two numbers"),
                _ if self.has(Fault::CursorLoops) => {
                    let next = Some(Cursor::new("loop")?);
                    return Ok(ScanPage::new(Vec::new(), next));
                }
                _ => return Err(Error::unreadable_cursor()),
            },
        };
        if self.has(Fault::CursorIsAPage) {
            return self.numbered_page(&keyspace, pattern, from, hint);
        }
        let order = if self.has(Fault::ScanByIndex) {
            let sorted = keyspace.entries.keys().cloned().enumerate();
            Cow::Owned(sorted.map(|(at, key)| (at as u64, key)).collect())
        } else {
            Cow::Borrowed(&keyspace.order)
        };
        let mut rest = order.range(from..);
        let skips = self.has(Fault::ScanSkipsAfterRemoval);
        if skips && !cursor.is_start() {
            rest.next();
        }
        let mut last = from;
        let keys = rest
            .by_ref()
            .take(hint)
            .map(|(position, key)| {
                last = *position;
                key
            })
            .filter(|key| globs::matches(self.fault, pattern, key))
            .filter(|key| self.has(Fault::ScanShowsExpired) || !self.has_ended(&keyspace.entries[*key]))
            .filter_map(|key| {
                if self.has(Fault::LossyKeys) {
                    Some(String::from_utf8_lossy(key).into_owned())
                } else {
                    String::from_utf8(key.clone()).ok()
                }
            })
            .collect();
        let mut next = rest.next().map(|(position, _)| if skips { last } else { *position });
        match self.fault {
            Some(Fault::ScanEndsOnGrowth) if grown > start => next = None,
            Some(Fault::ScanFollowsGrowth) if grown > start => next = next.or(Some(grown)),
            Some(Fault::EmptyHasCursor) if order.is_empty() && cursor.is_start() => next = Some(0),
            Some(Fault::ScanLeaks) if next.is_some() => {
                self.wrong().snapshots.push(order.values().cloned().collect());
            }
            _ => {}
        }
        let next = next
            .map(|position| Cursor::new(format!("{position}-{start}")))
            .transpose()?;
        Ok(ScanPage::new(keys, next))
    }

    /// Returns the page with this number, which is wrong if the hint changes.
    fn numbered_page(&self, keyspace: &Keyspace, pattern: &Pattern, number: u64, hint: usize) -> Result<ScanPage> {
        let from = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(hint);
        let mut rest = keyspace.order.values().skip(from);
        let keys = rest
            .by_ref()
            .take(hint)
            .filter(|key| pattern.matches(key) && !self.has_ended(&keyspace.entries[*key]))
            .filter_map(|key| String::from_utf8(key.clone()).ok())
            .collect();
        let next = rest.next().map(|_| Cursor::new(format!("{}-0", number + 1)));
        Ok(ScanPage::new(keys, next.transpose()?))
    }
}
