//! Moving a value to another version.

use codex_traits::{Expiry, KvBackend, SetOptions, Ttl};

use super::{
    Cache, CacheError, Serializer,
    fills::Keys,
    marker::{self, Stored},
};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Moves the value of `key`, with the time to live that it has left, `delta` versions up, and
    /// answers its new version. What was there is replaced.
    ///
    /// This is several steps. The new version is written before the old one is removed, so that the
    /// value is never lost; until then, and if the call is cut short, it is there twice. The old
    /// one is removed only while it holds what was moved: a newer value is moved after it. Of
    /// several callers at once, every one that still saw the old version succeeds. A write to the
    /// new version in the midst of it may be replaced.
    ///
    /// # Errors
    ///
    /// [`CacheError::NotFound`] where the key is missing in this cache's version, and
    /// [`CacheError::InvalidArgument`] where the new version does not fit 64 bits.
    pub async fn incr_version(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        self.counted(self.move_to(key, self.version.checked_add(delta)).await)
    }

    /// Moves the value of `key` `delta` versions down: [`incr_version`](Self::incr_version) the
    /// other way.
    ///
    /// # Errors
    ///
    /// As [`incr_version`](Self::incr_version).
    pub async fn decr_version(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        self.counted(self.move_to(key, self.version.checked_sub(delta)).await)
    }

    async fn move_to(&self, key: &str, version: Option<i64>) -> Result<i64, CacheError> {
        let version = version.ok_or_else(|| CacheError::invalid("a version must fit a signed 64-bit integer"))?;
        let from = self.stored_key(key);
        let to = self.with_version(version).stored_key(key);
        let backend = &self.shared.backend;
        if *from == *to {
            // A delta of zero, or a key function without a version. To move onto itself would be to
            // remove it.
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
                // Gone after it was written: another caller has finished the same move.
                return if moved { Ok(version) } else { Err(CacheError::NotFound) };
            };
            let expiry = match backend.ttl(&from).await? {
                Ttl::Persistent => Expiry::Never,
                Ttl::Remaining(remaining) => Expiry::After(remaining),
                // Gone between the two questions; the next round says so.
                Ttl::Missing => continue,
            };
            let rebound = self.shared.serializer.rebind(&from, &to, value)?;
            // Unconditional, so there is no refusal to look at.
            let options = SetOptions::new().with_expiry(expiry);
            let _ = backend.set(&to, marker::plain(rebound), options).await?;
            moved = true;
            if backend.del_if_equals(&from, &raw).await? {
                return Ok(version);
            }
        }
    }
}
