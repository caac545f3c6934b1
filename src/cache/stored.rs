//! The building blocks of the verbs, on stored keys and bytes.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, KvBackendExt as _, SetOptions};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Cache, CacheError, Serializer,
    fills::Keys,
    key::StoredKey,
    marker::{self, Stored},
    stats::Event,
    timeout::is_over,
};
use crate::CodecError;

/// A backend's answer to a read.
type Answer = codex_traits::Result<Option<Bytes>>;

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    #[inline]
    pub(super) fn count(&self, event: Event) {
        self.shared.stats.count(event);
    }

    /// Counts the outcome as an error if it is one, and returns it.
    #[inline]
    pub(super) fn counted<T>(&self, outcome: Result<T, CacheError>) -> Result<T, CacheError> {
        if let Err(CacheError::Codec(_) | CacheError::Backend(_)) = outcome {
            self.count(Event::Error);
        }
        outcome
    }

    #[inline]
    pub(super) fn encode<T: Serialize + ?Sized>(&self, key: &StoredKey, value: &T) -> Result<Bytes, CacheError> {
        Ok(self.shared.serializer.serialize_for(key, value)?)
    }

    /// Returns the value in stored bytes, and counts an error.
    #[inline]
    pub(super) fn decode<T: DeserializeOwned>(&self, key: &StoredKey, stored: &[u8]) -> Result<T, CacheError> {
        // Not `map_err` and `counted`: each step would move the value once more.
        match self.shared.serializer.deserialize_for(key, stored) {
            Ok(value) => Ok(value),
            Err(error) => Err(self.unreadable(error)),
        }
    }

    #[cold]
    fn unreadable(&self, error: CodecError) -> CacheError {
        self.count(Event::Error);
        error.into()
    }

    /// Returns the bytes of `key`, and counts a hit or a miss.
    #[inline]
    pub(super) async fn look_up(&self, key: &StoredKey) -> Result<Option<Bytes>, CacheError> {
        let answer = self.shared.backend.get(key).await;
        self.found(key, answer)
    }

    /// Returns the value in the backend's answer, and counts a hit or a miss.
    pub(super) fn found(&self, key: &StoredKey, answer: Answer) -> Result<Option<Bytes>, CacheError> {
        let stored = match answer {
            Ok(stored) => stored.and_then(|stored| Stored::read(stored).into_value()),
            Err(error) => return self.instead_of(key, error.into()),
        };
        self.saw(key, stored.as_ref());
        self.count(if stored.is_some() { Event::Hit } else { Event::Miss });
        Ok(stored)
    }

    /// Returns the value in the backend's answer if it is a hit that needs nothing else, and counts
    /// the hit. For any other answer, returns `None`, and [`found`](Self::found) handles it.
    ///
    /// The value is borrowed, because each move of an answer takes as long as a tenth of a hit in
    /// memory.
    #[inline]
    pub(super) fn found_in_place<'a>(&self, answer: &'a Answer) -> Option<&'a Bytes> {
        let stored = answer.as_ref().ok()?.as_ref()?;
        if self.shared.outage.is_some() || !marker::is_plain(stored) {
            return None;
        }
        self.count(Event::Hit);
        Some(stored)
    }

    /// Returns the result of a read that failed in the backend: the error, unless the cache has an
    /// `on_outage` setting that covers it.
    #[cold]
    pub(super) fn instead_of(&self, key: &StoredKey, error: CacheError) -> Result<Option<Bytes>, CacheError> {
        self.count(Event::Error);
        match &self.shared.outage {
            Some(outage) if error.is_outage() => {
                self.count(Event::OutageRead);
                let last = outage.last(key);
                let answer = if last.is_some() {
                    "the value last seen"
                } else {
                    "a miss"
                };
                tracing::warn!(cache = self.shared.name, %error, answer, "the backend failed, and a read was answered without it");
                Ok(last)
            }
            _ => Err(error),
        }
    }

    /// Returns the result of the second read of a call that failed in the backend. The first read
    /// was counted and logged, so an outage is not counted again.
    #[cold]
    pub(super) fn instead_of_again(&self, key: &StoredKey, error: CacheError) -> Result<Option<Bytes>, CacheError> {
        match &self.shared.outage {
            Some(outage) if error.is_outage() => Ok(outage.last(key)),
            _ => self.instead_of(key, error),
        }
    }

    /// Returns the bytes of `key`, without a marker.
    #[inline]
    pub(super) async fn fetch(&self, key: &StoredKey) -> Result<Option<Bytes>, CacheError> {
        let stored = self.shared.backend.get(key).await?;
        Ok(stored.and_then(|stored| Stored::read(stored).into_value()))
    }

    /// Stores encoded bytes, or removes the key if the expiry is zero.
    pub(super) async fn put(&self, key: &StoredKey, value: Bytes, expiry: Expiry) -> Result<(), CacheError> {
        if is_over(expiry) {
            self.remove_stored(key).await?;
            return Ok(());
        }
        let _outdating = self.shared.fills.outdate(self.shared.max_wait, Keys::One(key)).await;
        let written = self.to_see(&value);
        // An unconditional write is never refused.
        let _ = self
            .shared
            .backend
            .set(key, marker::plain(value), SetOptions::new().with_expiry(expiry))
            .await?;
        self.saw(key, written.as_ref());
        Ok(())
    }

    pub(super) async fn remove_stored(&self, key: &StoredKey) -> Result<bool, CacheError> {
        self.saw(key, None);
        let _outdating = self.shared.fills.outdate(self.shared.max_wait, Keys::One(key)).await;
        Ok(self.shared.backend.del(&[key]).await? > 0)
    }

    /// Removes the key by an expiry of zero, for `touch`.
    pub(super) async fn remove_by_expiry(&self, key: &StoredKey) -> Result<bool, CacheError> {
        self.saw(key, None);
        let _outdating = self.shared.fills.outdate(self.shared.max_wait, Keys::One(key)).await;
        let expiry = Expiry::After(Duration::ZERO);
        Ok(self.shared.backend.expire(key, expiry).await?)
    }

    pub(super) async fn touch_stored(&self, key: &StoredKey, expiry: Expiry) -> Result<bool, CacheError> {
        if self.uses_leases() && self.is_placeholder(key).await? {
            return Ok(false);
        }
        Ok(self.shared.backend.expire(key, expiry).await?)
    }

    /// Stores the value if the key is missing (SET NX). With an expiry of zero, stores nothing.
    pub(super) async fn add_bytes_of(&self, key: &StoredKey, value: Bytes, expiry: Expiry) -> Result<bool, CacheError> {
        if is_over(expiry) {
            // The result is `false` in any case, but every verb must report a failed backend.
            self.shared.backend.exists(key).await?;
            return Ok(false);
        }
        let _outdating = self.shared.fills.outdate(self.shared.max_wait, Keys::One(key)).await;
        if self.uses_leases() {
            return Ok(self.add_or_see(key, value, expiry).await?.is_none());
        }
        let added = self.to_see(&value);
        let options = SetOptions::if_absent().with_expiry(expiry);
        let outcome = self.shared.backend.set(key, marker::plain(value), options).await?;
        if outcome.is_written() {
            self.saw(key, added.as_ref());
        }
        Ok(outcome.is_written())
    }

    /// Does the same as [`add_or_fetch`](Self::add_or_fetch), and remembers the value that the key
    /// has afterwards for an outage.
    pub(super) async fn add_or_see(
        &self,
        key: &StoredKey,
        value: Bytes,
        expiry: Expiry,
    ) -> Result<Option<Bytes>, CacheError> {
        let added = self.to_see(&value);
        let there = self.add_or_fetch(key, value, expiry).await?;
        self.saw(key, there.as_ref().or(added.as_ref()));
        Ok(there)
    }

    /// Stores the value if the key has none; otherwise returns the existing value. The expiry must
    /// not be zero.
    ///
    /// A placeholder does not count as a value. Replacing it voids the lease.
    pub(super) async fn add_or_fetch(
        &self,
        key: &StoredKey,
        value: Bytes,
        expiry: Expiry,
    ) -> Result<Option<Bytes>, CacheError> {
        let backend = &self.shared.backend;
        let value = marker::plain(value);
        loop {
            let options = SetOptions::if_absent().with_expiry(expiry);
            if backend.set(key, value.clone(), options).await?.is_written() {
                return Ok(None);
            }
            // Another iteration is needed only if another caller changed the key in between, so
            // some caller always makes progress.
            match backend.get(key).await?.map(Stored::read) {
                None => {}
                Some(Stored::Value(there) | Stored::Leased { value: there, .. }) => return Ok(Some(there)),
                Some(Stored::Placeholder { raw, .. }) => {
                    let options = SetOptions::new()
                        .with_condition(Condition::IfEquals(raw))
                        .with_expiry(expiry);
                    if backend.set(key, value.clone(), options).await?.is_written() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Removes a value that became outdated while it was being stored.
    pub(super) async fn take_back(&self, key: &StoredKey, value: &Bytes) {
        let stored = marker::plain(value.clone());
        if let Err(error) = self.shared.backend.del_if_equals(key, &stored).await {
            self.count(Event::Error);
            tracing::warn!(cache = self.shared.name, %error, "an outdated value could not be removed and may still be stored");
        }
    }

    pub(super) fn uses_leases(&self) -> bool {
        // Set before the first claim of this process. Until then, placeholders of other processes
        // count as values.
        self.shared.leases.load(Ordering::Relaxed)
    }

    async fn is_placeholder(&self, key: &StoredKey) -> Result<bool, CacheError> {
        let stored = self.shared.backend.get(key).await?.map(Stored::read);
        Ok(matches!(stored, Some(Stored::Placeholder { .. })))
    }

    #[inline]
    /// Returns a clone of a value that is about to be written, if the cache has an `on_outage`
    /// setting. Without it nothing is cloned, so that the backend can take over the buffer.
    fn to_see(&self, value: &Bytes) -> Option<Bytes> {
        self.shared.outage.as_ref().map(|_| value.clone())
    }

    pub(super) fn saw(&self, key: &StoredKey, value: Option<&Bytes>) {
        if let Some(outage) = &self.shared.outage {
            outage.saw(key, value);
        }
    }
}
