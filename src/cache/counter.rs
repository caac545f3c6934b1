//! Counters.

use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, OnMissing, SetOptions};

use super::{Cache, CacheError, Serializer, key::StoredKey, marker::Stored};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Adds `delta` to the stored integer in one atomic step and returns the sum. The time to live
    /// does not change.
    ///
    /// ```
    /// use codex_kv::{Cache, CacheError, Timeout, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// assert!(matches!(cache.incr("visits", 1).await, Err(CacheError::NotFound)));
    ///
    /// cache.add("visits", &0, Timeout::Default).await?;
    /// assert_eq!(cache.incr("visits", 2).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CacheError::NotFound`] if the key is missing, so that `incr` never creates a counter
    /// without a time to live. [`CacheError::Backend`] of kind
    /// [`Data`](codex_traits::ErrorKind::Data) if the stored value is not a 64-bit integer (a bool
    /// is not an integer) or the sum does not fit. The value does not change then.
    pub async fn incr(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        let key = self.stored_key(key);
        self.saw(&key, None);
        self.counted(self.add_delta(&key, delta).await)
    }

    async fn add_delta(&self, key: &StoredKey, delta: i64) -> Result<i64, CacheError> {
        let backend = &self.shared.backend;
        loop {
            let error = match backend.incr(key, delta, OnMissing::Refuse).await {
                Ok(sum) => return sum.ok_or(CacheError::NotFound),
                Err(error) => error,
            };
            if error.kind() != ErrorKind::Data {
                return Err(error.into());
            }
            // An integer that is followed by the marker of a lease is not plain decimal text. The
            // sum is newer than the value that the lease's holder computes, so the lease is voided.
            match backend.get(key).await?.map(Stored::read) {
                Some(Stored::Placeholder { .. }) => return Err(CacheError::NotFound),
                Some(Stored::Leased { value, raw, .. }) => {
                    let unmarked = SetOptions::new()
                        .with_condition(Condition::IfEquals(raw))
                        .with_expiry(Expiry::Keep);
                    // A refusal means that another writer changed the key first. The next iteration
                    // sees its value.
                    let _ = backend.set(key, value, unmarked).await?;
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// Subtracts `delta` from the stored integer; the inverse of [`incr`](Self::incr).
    ///
    /// # Errors
    ///
    /// The same errors as [`incr`](Self::incr), and [`CacheError::InvalidArgument`] for `i64::MIN`,
    /// whose negation does not fit.
    pub async fn decr(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        let delta = delta
            .checked_neg()
            .ok_or_else(|| CacheError::invalid("`decr` takes any delta but i64::MIN"))?;
        self.incr(key, delta).await
    }
}
