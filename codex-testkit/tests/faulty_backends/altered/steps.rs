//! Alterations that divide a call into several steps, or lock too little.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Result, SetOptions, SetOutcome, Ttl};
use tokio::{
    sync::{Mutex, MutexGuard, OwnedMutexGuard},
    task::yield_now,
};

use super::{Alteration as A, Altered, LARGE};

/// The locks of a store, and what only these alterations remember.
#[derive(Default)]
pub(super) struct Steps {
    store: Mutex<()>,
    keys: std::sync::Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
    is_busy: std::sync::Mutex<bool>,
    /// The keys that have had a time to live.
    timed: std::sync::Mutex<BTreeSet<String>>,
}

fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Altered {
    /// Fails if a dropped call has left the store locked.
    pub(super) async fn wait_for_turn(&self) -> Result<()> {
        const PATIENCE: usize = 10_000;
        for _ in 0..PATIENCE {
            if !*locked(&self.steps.is_busy) {
                return Ok(());
            }
            yield_now().await;
        }
        Err(Error::new(ErrorKind::Timeout, "lock", "the store is locked"))
    }

    /// Locks the store for a step, in a way that a dropped call does not undo.
    pub(super) async fn take_turn(&self, alteration: A) -> Result<()> {
        self.wait_for_turn().await?;
        if self.is(alteration) {
            *locked(&self.steps.is_busy) = true;
            yield_now().await;
            *locked(&self.steps.is_busy) = false;
        }
        Ok(())
    }

    /// Takes the lock of conditional writes, if the alteration has one and `verb` does not ignore
    /// it.
    pub(super) async fn lock(&self, verb: &str) -> Option<MutexGuard<'_, ()>> {
        match (self.alteration, verb) {
            (Some(A::SetManyIgnoresTheLock), "set_many") | (Some(A::ExpireIgnoresTheLock), "expire") => None,
            (Some(A::SetManyIgnoresTheLock | A::ExpireIgnoresTheLock), _) => Some(self.steps.store.lock().await),
            (Some(A::LockIsOfTheHandle), _) => Some(self.of_handle.lock().await),
            _ => None,
        }
    }

    fn locks_in_steps(&self) -> bool {
        matches!(
            self.alteration,
            Some(A::SetManyIgnoresTheLock | A::ExpireIgnoresTheLock | A::LockIsOfTheHandle)
        )
    }

    /// Locks `keys` in the given order.
    pub(super) async fn lock_in_order(&self, keys: &[&str]) -> Vec<OwnedMutexGuard<()>> {
        let mut guards: BTreeMap<&str, OwnedMutexGuard<()>> = BTreeMap::new();
        if self.is(A::SetManyLocksInOrder) {
            for key in keys {
                if !guards.contains_key(key) {
                    let lock = locked(&self.steps.keys).entry((*key).to_owned()).or_default().clone();
                    guards.insert(key, lock.lock_owned().await);
                    yield_now().await;
                }
            }
        }
        guards.into_values().collect()
    }

    async fn holds(&self, key: &str, condition: &Condition) -> Result<bool> {
        let held = self.inner.get(key).await?;
        Ok(match condition {
            Condition::Always => true,
            Condition::IfAbsent => held.is_none(),
            Condition::IfPresent => held.is_some(),
            Condition::IfEquals(expected) => held.as_ref() == Some(expected),
        })
    }

    /// Returns whether the key had a time to live and is missing now.
    async fn has_expired(&self, key: &str) -> Result<bool> {
        let was_timed = locked(&self.steps.timed).contains(key);
        Ok(was_timed && self.inner.get(key).await?.is_none())
    }

    /// Remembers a key that gets a time to live.
    pub(super) fn remember(&self, key: &str, expiry: Expiry) {
        if matches!(
            self.alteration,
            Some(A::NxTakesOverInTwoSteps | A::IncrRestartsInTwoSteps)
        ) && matches!(expiry, Expiry::After(_))
        {
            locked(&self.steps.timed).insert(key.to_owned());
        }
    }

    /// Performs the set in several steps if that is the alteration.
    pub(super) async fn set_in_steps(
        &self,
        key: &str,
        value: &Bytes,
        options: &SetOptions,
    ) -> Result<Option<SetOutcome>> {
        let SetOptions { condition, expiry, .. } = options;
        let always = || options.clone().with_condition(Condition::Always);
        let is_conditional = *condition != Condition::Always;
        let checks_first = match self.alteration {
            _ if !is_conditional => false,
            Some(A::XxInTwoSteps) => *condition == Condition::IfPresent,
            Some(A::NxTakesOverInTwoSteps) => *condition == Condition::IfAbsent && self.has_expired(key).await?,
            _ => self.locks_in_steps(),
        };
        if checks_first {
            expiry.to_millis("set")?;
            let holds = self.holds(key, condition).await?;
            yield_now().await;
            if !holds {
                return Ok(Some(SetOutcome::Refused));
            }
            return self.inner.set(key, value.clone(), always()).await.map(Some);
        }
        match (self.alteration, condition, expiry) {
            (Some(A::SetThenExpire), Condition::Always, Expiry::After(_))
            | (Some(A::NxThenExpire), Condition::IfAbsent, Expiry::After(_)) => {
                expiry.to_millis("set")?;
                let without = options.clone().with_expiry(Expiry::Never);
                let outcome = self.inner.set(key, value.clone(), without).await?;
                if outcome.is_written() {
                    yield_now().await;
                    self.inner.expire(key, *expiry).await?;
                }
                Ok(Some(outcome))
            }
            (Some(A::KeepInTwoSteps), Condition::Always, Expiry::Keep) => {
                let expiry = match self.inner.ttl(key).await? {
                    Ttl::Remaining(left) => Expiry::After(left),
                    _ => Expiry::Never,
                };
                yield_now().await;
                let options = options.clone().with_expiry(expiry);
                self.inner.set(key, value.clone(), options).await.map(Some)
            }
            (Some(A::LargeIsWrittenInHalves), Condition::Always, _) if value.len() > LARGE => {
                if let Some(old) = self.inner.get(key).await?.filter(|old| old.len() == value.len()) {
                    let middle = value.len() / 2;
                    let half = [&value[..middle], &old[middle..]].concat();
                    let _ = self.inner.set(key, half.into(), options.clone()).await?;
                    yield_now().await;
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn del_if_equals_in_steps(&self, key: &str, expected: &[u8]) -> Result<Option<bool>> {
        if !self.locks_in_steps() {
            return Ok(None);
        }
        let equal = self.inner.get(key).await?.as_deref() == Some(expected);
        yield_now().await;
        Ok(Some(equal && self.inner.del(&[key]).await? == 1))
    }

    pub(super) async fn expire_in_steps(&self, key: &str, expiry: Expiry) -> Result<Option<bool>> {
        if !self.is(A::ExpireInTwoSteps) || expiry == Expiry::After(Duration::ZERO) {
            return Ok(None);
        }
        expiry.to_millis("expire")?;
        let Some(held) = self.inner.get(key).await? else {
            return Ok(Some(false));
        };
        yield_now().await;
        let options = SetOptions::new().with_expiry(expiry);
        self.inner.set(key, held, options).await.map(|_| Some(true))
    }

    pub(super) async fn incr_in_steps(
        &self,
        key: &str,
        delta: i64,
        on_missing: OnMissing,
    ) -> Result<Option<Option<i64>>> {
        match (self.alteration, on_missing) {
            (Some(A::IncrThenExpire), OnMissing::Create(expiry @ Expiry::After(_))) => {
                expiry.to_millis("incr")?;
                let is_new = self.inner.ttl(key).await? == Ttl::Missing;
                let sum = self.inner.incr(key, delta, OnMissing::Create(Expiry::Never)).await?;
                if is_new {
                    yield_now().await;
                    self.inner.expire(key, expiry).await?;
                }
                Ok(Some(sum))
            }
            (Some(A::IncrTtlInTwoSteps), _) => {
                let before = self.inner.ttl(key).await?;
                let sum = self.inner.incr(key, delta, on_missing).await?;
                yield_now().await;
                match before {
                    Ttl::Missing => {}
                    Ttl::Persistent => drop(self.inner.expire(key, Expiry::Never).await?),
                    Ttl::Remaining(left) => drop(self.inner.expire(key, Expiry::After(left)).await?),
                }
                Ok(Some(sum))
            }
            (Some(A::IncrRestartsInTwoSteps), OnMissing::Create(expiry)) if self.has_expired(key).await? => {
                yield_now().await;
                let options = SetOptions::new().with_expiry(expiry);
                let _ = self.inner.set(key, delta.to_string().into(), options).await?;
                Ok(Some(Some(delta)))
            }
            _ => Ok(None),
        }
    }

    /// Sets the times to live of `set_many` in a second step, if that is the alteration. Returns
    /// whether it did the work.
    pub(super) async fn set_many_in_steps(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<bool> {
        if !self.is(A::SetManyThenExpire) || !matches!(expiry, Expiry::After(_)) {
            return Ok(false);
        }
        expiry.to_millis("set_many")?;
        self.inner.set_many(entries, Expiry::Never).await?;
        yield_now().await;
        for (key, _) in entries {
            self.inner.expire(key, expiry).await?;
        }
        Ok(true)
    }
}
