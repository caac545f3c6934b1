//! The memory backend behind a wrapper with one alteration.
//!
//! The faults in `backend.rs` are those of a store. These are the faults of clients and wrappers,
//! which alter a request, a comparison or an answer.

mod changes;
mod list;
mod scans;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{Harness, Time, VirtualTime};
use codex_traits::{
    Capabilities, Capability, Condition, Error, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
};

use Alteration as A;
use changes::up_to;
pub(crate) use list::Alteration;
#[allow(unused_imports, reason = "one test uses them")]
pub(crate) use list::{ALL, every_alteration};

/// A handle to a memory store.
#[derive(Clone)]
pub(crate) struct Altered {
    alteration: Option<Alteration>,
    inner: MemoryBackend,
    clock: ManualClock,
    /// Makes a comparison and a write one step in this wrapper too.
    one_step: Arc<tokio::sync::Mutex<()>>,
    /// The data of a second handle, or `None` for the first handle.
    second: Option<Second>,
    steps: Arc<steps::Steps>,
    /// The lock of this handle, which no clone shares.
    of_handle: Arc<tokio::sync::Mutex<()>>,
    cursors: Arc<std::sync::Mutex<scans::Cursors>>,
    /// Values that are shared by their length and ends.
    similar: Arc<std::sync::Mutex<BTreeMap<changes::Outline, Bytes>>>,
}

/// A value of more bytes is large.
const LARGE: usize = 65_536;

/// More than any caller needs.
const FOUR_HUNDRED_YEARS: Duration = Duration::from_secs(401 * 365 * 86_400);

#[derive(Clone)]
struct Second {
    opened: std::time::SystemTime,
    read: Arc<std::sync::Mutex<std::collections::BTreeMap<String, Option<Bytes>>>>,
}

/// Rounds up to whole seconds.
fn whole_seconds(left: Duration) -> Duration {
    Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

impl fmt::Debug for Altered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Altered")
    }
}

impl Altered {
    fn is(&self, alteration: Alteration) -> bool {
        self.alteration == Some(alteration)
    }

    /// Returns the altered expiry of a write with the verb or condition `way`.
    fn expiry(&self, way: &str, expiry: Expiry) -> Expiry {
        let Expiry::After(after) = expiry else {
            return expiry;
        };
        if after.is_zero() || after > Expiry::MAX {
            return expiry;
        }
        let whole = |unit: Duration| {
            let units = after.as_nanos() / unit.as_nanos();
            let millis = units.saturating_mul(unit.as_millis());
            Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).max(Duration::from_millis(1))
        };
        let (milli, second) = (Duration::from_millis(1), Duration::from_secs(1));
        let at_most = |millis: u64| after.min(Duration::from_millis(millis));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "that is the fault"
        )]
        let single = || Duration::from_millis(after.as_millis() as f32 as u64).max(milli);
        let after = match (self.alteration, way) {
            (Some(A::RoundsDown), _)
            | (Some(A::CasRoundsDown), "cas")
            | (Some(A::SetManyRoundsDown), "set_many")
            | (Some(A::ExpireRoundsDown), "expire")
            | (Some(A::IncrRoundsDown), "incr") => whole(milli),
            (Some(A::RoundsToNearest), _) => {
                let more = Duration::from_nanos(u64::from(after.subsec_nanos() % 1_000_000 >= 500_000) * 1_000_000);
                (whole(milli).min(after) + more).max(milli)
            }
            (Some(A::TenMilliseconds), _) => whole(milli * 10),
            (Some(A::LongTtlInSeconds), _) if after >= second * 3600 => whole(second),
            (Some(A::LongTtlInMinutes), _) if after >= second * 86_400 * 30 => whole(second * 60),
            (Some(A::TtlInThirtyTwoBits), _) => at_most(1 << 32),
            (Some(A::TtlInThirtyOneBits), _) => at_most(1 << 31),
            (Some(A::TtlInSinglePrecision), _) => single(),
            (Some(A::SetManyInSeconds), "set_many")
            | (Some(A::ExpireInSeconds), "expire")
            | (Some(A::IncrInSeconds), "incr")
            | (Some(A::NxInSeconds), "nx")
            | (Some(A::CasInSeconds), "cas") => whole(second),
            (Some(A::SecondTtlsAreDoubled), _) if self.second.is_some() => after * 2,
            _ => after,
        };
        Expiry::After(after)
    }

    /// Returns the altered expiry of a set, which can depend on the stored entry.
    async fn expiry_of_set(&self, way: &str, key: &str, value: &Bytes, expiry: Expiry) -> Result<Expiry> {
        const MINUTE: Expiry = Expiry::After(Duration::from_secs(60));
        let is_long = value.len() > 1024;
        let is_large = value.len() > LARGE;
        if let (Some(A::KeepAddsAMillisecond | A::KeepRoundsToSeconds), Expiry::Keep) = (self.alteration, expiry)
            && let Ttl::Remaining(left) = self.inner.ttl(key).await?
        {
            return Ok(Expiry::After(if self.is(A::KeepAddsAMillisecond) {
                left + Duration::from_millis(1)
            } else {
                whole_seconds(left)
            }));
        }
        if self.is(A::NxRefusesLongTtls)
            && way == "nx"
            && matches!(expiry, Expiry::After(after) if after > FOUR_HUNDRED_YEARS)
        {
            return Err(Error::expiry_too_long("set"));
        }
        let after = matches!(expiry, Expiry::After(after) if !after.is_zero() && after <= Expiry::MAX);
        Ok(match (self.alteration, way, expiry) {
            (Some(A::CasForgetsExpiry), "cas", _)
            | (Some(A::XxForgetsExpiry), "xx", _)
            | (Some(A::NxForgetsExpiry), "nx", _)
                if after =>
            {
                Expiry::Never
            }
            (Some(A::LongCasForgetsExpiry), "cas", _) if after && is_long => Expiry::Never,
            (Some(A::LargeCasForgetsExpiry), "cas", _)
            | (Some(A::LargeNxForgetsExpiry), "nx", _)
            | (Some(A::LargeXxForgetsExpiry), "xx", _)
                if after && is_large =>
            {
                Expiry::Never
            }
            (Some(A::CasOfSameValueDoesNothing), "cas", _) | (Some(A::XxOfSameValueDoesNothing), "xx", _)
                if (after || expiry == Expiry::Never) && self.inner.get(key).await?.as_ref() == Some(value) =>
            {
                Expiry::Keep
            }
            (Some(A::SetOfSameValueKeepsTtl), "set", Expiry::Never)
                if self.inner.get(key).await?.as_ref() == Some(value) =>
            {
                Expiry::Keep
            }
            (Some(A::LargeKeepDrops), _, Expiry::Keep)
                if self.inner.get(key).await?.is_some_and(|old| old.len() > LARGE) =>
            {
                Expiry::Never
            }
            (Some(A::CasKeepsOldTtl), "cas", Expiry::Never) | (Some(A::XxNeverKeepsOldTtl), "xx", Expiry::Never) => {
                Expiry::Keep
            }
            (Some(A::CasKeepDrops), "cas", Expiry::Keep) | (Some(A::XxKeepDrops), "xx", Expiry::Keep) => Expiry::Never,
            (Some(A::CasAlwaysKeeps), "cas", _) if after => Expiry::Keep,
            (Some(A::CasNeverLengthens), "cas", Expiry::After(new)) => match self.inner.ttl(key).await? {
                Ttl::Remaining(left) if left < new => Expiry::Keep,
                _ => expiry,
            },
            (Some(A::CasOnPersistentForgets), "cas", _) if after && self.inner.ttl(key).await? == Ttl::Persistent => {
                Expiry::Never
            }
            (Some(A::NxKeepExpires), "nx", Expiry::Keep) => MINUTE,
            (Some(A::EmptyKeepDrops), _, Expiry::Keep)
                if self.inner.get(key).await?.is_some_and(|old| old.is_empty()) =>
            {
                Expiry::Never
            }
            (Some(A::LongKeepDrops), _, Expiry::Keep)
                if self.inner.get(key).await?.is_some_and(|old| old.len() > 1024) =>
            {
                Expiry::Never
            }
            _ => self.expiry(way, expiry),
        })
    }

    /// Returns whether this handle wrongly considers the key expired.
    async fn is_early(&self, key: &str) -> Result<bool> {
        let Some(second) = &self.second else { return Ok(false) };
        let ahead = match self.alteration {
            Some(A::SecondIsAhead) => Duration::from_millis(5),
            Some(A::SecondCountsFromItsOpening) => {
                let since = self.clock.system_time().duration_since(second.opened);
                since.unwrap_or_default()
            }
            _ => return Ok(false),
        };
        Ok(matches!(self.inner.ttl(key).await?, Ttl::Remaining(left) if left <= ahead))
    }

    async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        if self.is_early(key).await? {
            return Ok(None);
        }
        let value = self.inner.get(key).await?;
        let Some(second) = &self.second else { return Ok(value) };
        let mut read = second.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match self.alteration {
            // Answers with a value that was read before.
            Some(A::SecondIsBehind) if value.is_none() => Ok(read.remove(key).flatten()),
            Some(A::SecondIsBehind) => {
                read.insert(key.to_owned(), value.clone());
                Ok(value)
            }
            Some(A::SecondReadsACache) => Ok(read.entry(key.to_owned()).or_insert(value).clone()),
            _ => Ok(value),
        }
    }

    async fn left(&self, key: &str) -> Result<Ttl> {
        if self.is_early(key).await? {
            return Ok(Ttl::Missing);
        }
        let ttl = self.inner.ttl(key).await?;
        Ok(match ttl {
            Ttl::Remaining(_) if self.second.is_some() && self.is(A::SecondHasNoTtl) => Ttl::Persistent,
            ttl => ttl,
        })
    }

    /// Removes keys from a list, or names a key twice.
    fn list<T>(&self, verb: &str, mut list: Vec<T>) -> Vec<T> {
        let count = list.len();
        let drop_last = match (self.alteration, verb) {
            (Some(A::DelForgetsTheLast), "del") => 8,
            (Some(A::DelForgetsTheLastOfThousand), "del") | (Some(A::SetManyForgetsTheLast), "set_many") => 1000,
            (Some(A::DelForgetsTheLastOfTenThousand), "del") => 9999,
            _ => usize::MAX,
        };
        let batch = match (self.alteration, verb) {
            (Some(A::DelForgetsAFullBatch), "del") => 256,
            (Some(A::SetManyForgetsAFullBatch), "set_many") => 1024,
            _ => usize::MAX,
        };
        if count > 0 && count.is_multiple_of(batch) {
            list.truncate(count - batch);
        }
        if count > drop_last {
            list.pop();
        }
        if count > 100 && verb == "del" && self.is(A::DelForgetsTheFirst) {
            list.remove(0);
        }
        let between = match (self.alteration, verb) {
            (Some(A::DelForgetsBetweenBatches), "del") => 1001,
            (Some(A::SetManyForgetsBetweenBatches), "set_many") => 501,
            _ => return list,
        };
        let mut at = 0;
        list.retain(|_| {
            at += 1;
            at % between != 0
        });
        list
    }
}

impl KvBackend for Altered {
    fn capabilities(&self) -> Capabilities {
        let declared = Capabilities::new().with(Capability::AtomicGetWithTtl);
        match self.alteration {
            Some(A::AtomicManyInBatches) => declared.with(Capability::AtomicMany),
            _ => declared,
        }
    }

    async fn health(&self) -> Result<()> {
        if self.is(A::HealthWrites) {
            let _ = self.inner.set("health", Bytes::new(), SetOptions::new()).await?;
        }
        self.inner.health().await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.wait_for_turn().await?;
        let value = self.read(&self.key("get", key)).await?;
        Ok(value.filter(|value| !self.is_missed(value)))
    }

    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        let key = self.key("get_with_ttl", key);
        if self.is_early(&key).await? {
            return Ok(None);
        }
        let mut got = self.inner.get_with_ttl(&key).await?;
        got = got.filter(|(value, _)| !self.is_missed(value));
        if let Some((value, ttl)) = &mut got {
            match (self.alteration, *ttl) {
                (Some(A::LargeGetWithTtlInTwoSteps), _) if value.len() > LARGE => {
                    tokio::task::yield_now().await;
                    *ttl = self.inner.ttl(&key).await?;
                }
                (Some(A::GetWithTtlRoundsToSeconds), Ttl::Remaining(left)) => {
                    *ttl = Ttl::Remaining(whole_seconds(left));
                }
                _ => {}
            }
        }
        Ok(got.map(|(value, ttl)| {
            let value = if self.is(A::GetWithTtlCuts) {
                up_to(&value, 65_536)
            } else {
                value
            };
            (value, ttl)
        }))
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let way = match &options.condition {
            Condition::Always => "set",
            Condition::IfAbsent => "nx",
            Condition::IfPresent => "xx",
            Condition::IfEquals(_) => "cas",
        };
        let key = &*self.key(way, key);
        if way == "cas" {
            self.take_turn(A::DroppedCasLocks).await?;
        } else {
            self.wait_for_turn().await?;
        }
        let value = self.value(way, value);
        let _lock = self.lock("set").await;
        self.remember(key, options.expiry);
        if let Some(outcome) = self.set_in_steps(key, &value, &options).await? {
            return Ok(outcome);
        }
        let _one_step = self.one_step.lock().await;
        let expiry = self.expiry_of_set(way, key, &value, options.expiry).await?;
        let condition = match options.condition {
            Condition::IfEquals(expected) => match self.inner.get(key).await? {
                Some(held) if self.equal("set", &held, &expected) => Condition::IfEquals(held),
                // The comparison must fail, but the expiry is still checked.
                Some(held) => Condition::IfEquals([&held[..], b"!"].concat().into()),
                None => Condition::IfEquals(expected),
            },
            Condition::IfAbsent if self.is(A::NxOverwritesLarge) => match self.inner.get(key).await? {
                Some(held) if held.len() > LARGE => Condition::Always,
                _ => Condition::IfAbsent,
            },
            condition => condition,
        };
        let Some(value) = self.unless_similar(key, value).await? else {
            let _ = self.inner.expire(key, expiry).await?;
            return Ok(SetOutcome::Written);
        };
        self.log_large(key, &value);
        self.leave_a_piece(key, &value).await?;
        let options = SetOptions::new().with_condition(condition).with_expiry(expiry);
        let outcome = self.inner.set(key, value, options).await?;
        if way == "cas" && !outcome.is_written() && self.is(A::LogsRefusals) {
            tracing::debug!("{key} holds another value");
        }
        Ok(outcome)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        self.take_turn(A::DroppedDelLocks).await?;
        let _lock = self.lock("del").await;
        let given = self.keys("del", keys);
        let list = self.list("del", given.iter().map(|key| &**key).collect());
        let count = self.inner.del(&list).await?;
        Ok(match self.alteration {
            Some(A::DelForgetsTheLastOfTenThousand) if keys.len() > 9999 => count + 1,
            Some(A::DelOfManyCountsNamed) if keys.len() > 100 => keys.len() as u64,
            Some(A::DelOfManyCountsTwice) if keys.len() > 1000 && count > 0 => keys.len() as u64,
            _ => count,
        })
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let key = &*self.key("del_if_equals", key);
        self.wait_for_turn().await?;
        let _lock = self.lock("del_if_equals").await;
        if let Some(removed) = self.del_if_equals_in_steps(key, expected).await? {
            return Ok(removed);
        }
        let _one_step = self.one_step.lock().await;
        match self.inner.get(key).await? {
            Some(held) if self.equal("del_if_equals", &held, expected) => self.inner.del_if_equals(key, &held).await,
            _ => Ok(false),
        }
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = &*self.key("expire", key);
        self.take_turn(A::DroppedExpireLocks).await?;
        let _lock = self.lock("expire").await;
        if let Some(found) = self.expire_in_steps(key, expiry).await? {
            return Ok(found);
        }
        if self.is(A::ExpireTooLongOfMissingIsFalse) && self.inner.ttl(key).await? == Ttl::Missing {
            return Ok(false);
        }
        if self.second.is_some() && self.is(A::SecondExpireIsLost) {
            return Ok(self.inner.ttl(key).await? != Ttl::Missing);
        }
        let is_long = || async { Ok(self.inner.get(key).await?.is_some_and(|value| value.len() > 1024)) };
        let expiry = match (self.alteration, expiry) {
            (Some(A::ExpireKeepPersists), Expiry::Keep) => Expiry::Never,
            (Some(A::ExpireOfLongPersists), Expiry::After(after)) if !after.is_zero() && is_long().await? => {
                Expiry::Never
            }
            (Some(A::SmallChangesAreSkipped), Expiry::After(after)) if !after.is_zero() => {
                match self.inner.ttl(key).await? {
                    Ttl::Remaining(left) if left.abs_diff(after) < Duration::from_secs(1) => Expiry::Keep,
                    _ => expiry,
                }
            }
            _ => self.expiry("expire", expiry),
        };
        self.inner.expire(key, expiry).await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        self.wait_for_turn().await?;
        self.left(&self.key("ttl", key)).await
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        self.take_turn(A::DroppedScanLocks).await?;
        self.altered_page(request).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        self.wait_for_turn().await?;
        let given = self.keys("get_many", keys);
        let list: Vec<&str> = given.iter().map(|key| &**key).collect();
        let mut values = if self.is(A::AtomicManyInBatches) {
            let mut values = Vec::with_capacity(list.len());
            for batch in list.chunks(100) {
                values.extend(self.inner.get_many(batch).await?);
                tokio::task::yield_now().await;
            }
            values
        } else {
            self.inner.get_many(&list).await?
        };
        if self.is(A::ManyRefreshesLate) {
            for key in &list {
                if matches!(self.inner.ttl(key).await?, Ttl::Remaining(left) if left < Duration::from_secs(1)) {
                    self.inner.expire(key, Expiry::After(Duration::from_secs(100))).await?;
                }
            }
        }
        for value in &mut values {
            *value = value.take().filter(|value| !self.is_missed(value));
        }
        if self.second.is_some() {
            for (key, value) in list.iter().zip(&mut values) {
                *value = self.read(key).await?;
            }
        }
        let count = values.len();
        match self.alteration {
            Some(A::GetManyCuts) => {
                for value in values.iter_mut().flatten() {
                    *value = up_to(value, 4096);
                }
            }
            Some(A::GetManyForgetsAFullBatch) if count > 0 && count.is_multiple_of(512) => {
                values[count - 512..].fill(None);
            }
            Some(A::GetManyPutsLargeLast) => {
                values.sort_by_key(|value| value.as_ref().is_some_and(|value| value.len() > LARGE));
            }
            Some(A::GetManyForgetsTheLast) if count > 100 => values[count - 1] = None,
            Some(A::GetManyForgetsTheLastOfThousand) if count > 1000 => values[count - 1] = None,
            Some(A::GetManyAnswersDuplicatesOnce) if count > 8 => {
                let mut seen = BTreeSet::new();
                for (key, value) in list.iter().zip(&mut values) {
                    if !seen.insert(*key) {
                        *value = None;
                    }
                }
            }
            Some(A::GetManySwapsNeighbours) if count > 1000 => values.swap(500, 501),
            _ => {}
        }
        Ok(values)
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        if self.is(A::SetManyNeedsARuntime) {
            let _ = tokio::runtime::Handle::current();
        }
        self.take_turn(A::DroppedSetManyLocks).await?;
        let _lock = self.lock("set_many").await;
        let keys: Vec<&str> = entries.iter().map(|(key, _)| *key).collect();
        let _locks = self.lock_in_order(&keys).await;
        let keys = self.keys("set_many", &keys);
        let values = entries.iter().map(|(_, value)| self.value("set_many", value.clone()));
        let mut entries: Vec<(&str, Bytes)> = keys.iter().map(|key| &**key).zip(values).collect();
        let count = entries.len();
        let keeps_first = match self.alteration {
            Some(A::LongSetManyKeepsFirst) => count > 100,
            Some(A::SetManyKeepsFirstOfThousand) => count > 1000,
            _ => false,
        };
        if keeps_first {
            let mut seen = BTreeSet::new();
            entries.retain(|(key, _)| seen.insert(*key));
        }
        if self.is(A::SetManyKeepsFirstNeighbour) {
            entries.dedup_by_key(|(key, _)| *key);
        }
        if count > 8 && self.is(A::SetManyMergesBackwards) {
            entries.reverse();
        }
        if self.is(A::SetManyWritesLargeLast) {
            entries.sort_by_key(|(_, value)| value.len() > LARGE);
        }
        let entries = self.list("set_many", entries);
        let expiry = match (self.alteration, expiry) {
            (Some(A::SetManyKeepDrops), Expiry::Keep) => Expiry::Never,
            (Some(A::SetManyRefusesLongTtls), Expiry::After(after)) if after > FOUR_HUNDRED_YEARS => {
                return Err(Error::expiry_too_long("set_many"));
            }
            _ => self.expiry("set_many", expiry),
        };
        if self.set_many_in_steps(&entries, expiry).await? {
            return Ok(());
        }
        for (key, value) in &entries {
            self.remember(key, expiry);
            self.log_large(key, value);
            self.leave_a_piece(key, value).await?;
        }
        let entries = self.similar_entries(entries);
        self.inner.set_many(&entries, expiry).await?;
        for (at, (key, value)) in entries.iter().enumerate() {
            let forgets = match self.alteration {
                Some(A::LargeSetManyForgetsExpiry) => value.len() > LARGE,
                Some(A::SetManyForgetsSomeExpiries) => at % 300 == 299,
                _ => false,
            };
            if forgets && matches!(expiry, Expiry::After(_)) {
                self.inner.expire(key, Expiry::Never).await?;
            }
        }
        let forgotten = match self.alteration {
            Some(A::LastOfManyForgetsExpiry) => entries.len().saturating_sub(1),
            Some(A::LateOfManyForgetsExpiry) => 1000,
            _ => usize::MAX,
        };
        for (key, _) in entries.iter().skip(forgotten) {
            self.inner.expire(key, Expiry::Never).await?;
        }
        Ok(())
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let key = &*self.key("incr", key);
        self.wait_for_turn().await?;
        let _lock = self.lock("incr").await;
        if let Some(sum) = self.incr_in_steps(key, delta, on_missing).await? {
            return Ok(sum);
        }
        let before = self.inner.get(key).await?;
        let on_missing = match (self.alteration, on_missing, &before) {
            (Some(A::IncrTakesInvalidExpiry), OnMissing::Create(_), Some(_)) => OnMissing::Refuse,
            (Some(A::IncrRefusesLongTtls), OnMissing::Create(Expiry::After(after)), _)
                if after > FOUR_HUNDRED_YEARS =>
            {
                return Err(Error::expiry_too_long("incr"));
            }
            _ => on_missing,
        };
        if let Some(number) = before.as_ref().and_then(|held| self.misread(held)) {
            let sum = number.checked_add(delta).ok_or_else(Error::integer_overflow)?;
            let keep = SetOptions::new().with_expiry(Expiry::Keep);
            let _ = self.inner.set(key, sum.to_string().into(), keep).await?;
            return Ok(Some(sum));
        }
        let asked = match on_missing {
            OnMissing::Create(expiry) => OnMissing::Create(self.expiry("incr", expiry)),
            OnMissing::Refuse => OnMissing::Refuse,
        };
        let sum = self.inner.incr(key, delta, asked).await?;
        let digits = sum.map(|sum| sum.to_string().len());
        let drops = match self.alteration {
            Some(A::IncrByTenDropsTtl) => before.as_ref().is_some_and(|old| Some(old.len()) != digits),
            Some(A::RefuseDropsTtl) => on_missing == OnMissing::Refuse && sum.is_some(),
            Some(A::CreateByZeroForgetsExpiry) => before.is_none() && delta == 0 && sum.is_some(),
            Some(A::CreateSetsExpiryOfNegative) => before.is_none() && sum.is_some_and(i64::is_negative),
            _ => false,
        };
        if drops {
            self.inner.expire(key, Expiry::Never).await?;
        }
        if self.is(A::IncrRoundsToSeconds)
            && let (Some(_), Ttl::Remaining(left)) = (&before, self.inner.ttl(key).await?)
        {
            self.inner.expire(key, Expiry::After(whole_seconds(left))).await?;
        }
        Ok(sum)
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        self.wait_for_turn().await?;
        self.inner.del_matching(pattern).await
    }
}

pub(crate) struct AlteredHarness {
    alteration: Option<Alteration>,
    clock: ManualClock,
}

impl AlteredHarness {
    pub(crate) fn new(alteration: Option<Alteration>) -> Self {
        Self {
            alteration,
            clock: ManualClock::new(),
        }
    }
}

impl Harness for AlteredHarness {
    type Backend = Altered;

    async fn fresh(&self) -> Altered {
        Altered {
            alteration: self.alteration,
            inner: MemoryBackend::with_clock(self.clock.clone()),
            clock: self.clock.clone(),
            one_step: Arc::default(),
            second: None,
            steps: Arc::default(),
            of_handle: Arc::default(),
            cursors: Arc::default(),
            similar: Arc::default(),
        }
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    fn reopen(&self, backend: &Altered) -> Option<Altered> {
        let second = Second {
            opened: self.clock.system_time(),
            read: Arc::default(),
        };
        Some(Altered {
            second: Some(second),
            of_handle: Arc::default(),
            ..backend.clone()
        })
    }
}
