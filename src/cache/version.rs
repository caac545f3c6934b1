//! Moves of a value to another version.

use codex_traits::{Expiry, KvBackend, SetOptions, Ttl};

use super::{
    Cache, CacheError, Serializer,
    fills::Keys,
    marker::{self, Stored},
};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Moves the value of `key` up by `delta` versions, together with its remaining time to live,
    /// and returns the new version. A value that the new version already had is replaced.
    ///
    /// The move takes several steps. It writes the new version before it removes the old version,
    /// so the value is never lost. In between, and after a cancelled call, both versions exist. The
    /// old version is removed only if it still holds the moved value; a newer value is moved as
    /// well. If several callers move the same key at the same time, every caller that still saw the
    /// old version succeeds. The move may overwrite a concurrent write to the new version.
    ///
    /// # Errors
    ///
    /// [`CacheError::NotFound`] if the key is missing in this cache's version, and
    /// [`CacheError::InvalidArgument`] if the new version does not fit in 64 bits.
    pub async fn incr_version(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        self.counted(self.move_to(key, self.version.checked_add(delta)).await)
    }

    /// Moves the value of `key` down by `delta` versions; the inverse of
    /// [`incr_version`](Self::incr_version).
    ///
    /// # Errors
    ///
    /// The same errors as [`incr_version`](Self::incr_version).
    pub async fn decr_version(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        self.counted(self.move_to(key, self.version.checked_sub(delta)).await)
    }

    async fn move_to(&self, key: &str, version: Option<i64>) -> Result<i64, CacheError> {
        let version = version.ok_or_else(|| CacheError::invalid("a version must fit a signed 64-bit integer"))?;
        let from = self.stored_key(key);
        let to = self.with_version(version).stored_key(key);
        let backend = &self.shared.backend;
        if *from == *to {
            // The delta is zero, or the key function ignores the version. Moving the value would
            // write it and then remove it.
            return if self.has_key(key).await? {
                Ok(version)
            } else {
                Err(CacheError::NotFound)
            };
        }
        self.saw(&from, None);
        self.saw(&to, None);
        let keys = [&*from, &*to];
        let _outdating = self.shared.fills.outdate(self.shared.max_wait, Keys::Many(&keys)).await;
        let mut moved = false;
        loop {
            let found = backend
                .get(&from)
                .await?
                .map(|raw| (Stored::read(raw.clone()).into_value(), raw));
            let Some((Some(value), raw)) = found else {
                // If the value is gone after this call wrote the new version, another caller has
                // finished the same move.
                return if moved { Ok(version) } else { Err(CacheError::NotFound) };
            };
            let expiry = match backend.ttl(&from).await? {
                Ttl::Persistent => Expiry::Never,
                Ttl::Remaining(remaining) => Expiry::After(remaining),
                // The key was removed between the two calls; the next iteration reports it.
                Ttl::Missing => continue,
            };
            let rebound = self.shared.serializer.rebind(&from, &to, value)?;
            // An unconditional write is never refused.
            let options = SetOptions::new().with_expiry(expiry);
            let _ = backend.set(&to, marker::plain(rebound), options).await?;
            moved = true;
            if backend.del_if_equals(&from, &raw).await? {
                return Ok(version);
            }
        }
    }
}
