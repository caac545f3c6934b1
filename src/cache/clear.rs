//! Removal of a cache's values from a store that other programs share.

use codex_traits::{KvBackend, Pattern, ScanPage, ScanRequest, parse_integer};
use futures_util::future::try_join;

use super::{Cache, CacheError, Serializer, fills::Keys};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Removes every value of this `key_prefix`, in every version, and returns their number.
    ///
    /// It removes exactly the keys `{key_prefix}:{integer}:…`. Sessions (`{key_prefix}:session:…`)
    /// and the caches of all other prefixes stay. There is one exception: the keys of a cache with
    /// the prefix `shop:1` look like keys of the cache `shop`. The store is scanned page by page
    /// and serves other clients in between; it is never flushed as a whole. Values that are stored
    /// during the scan may stay.
    ///
    /// For a [`group`](Self::group), only the values of its current generation are removed.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] if the prefix is empty, or if the keys of a
    /// [`key_function`](crate::CacheBuilder::key_function) do not begin with
    /// `{key_prefix}:{version}:`. The cache cannot recognise its own keys then, and removes
    /// nothing. If the backend fails or the future is dropped, some values may have been removed.
    pub async fn clear(&self) -> Result<u64, CacheError> {
        self.counted(self.clear_stored().await)
    }

    async fn clear_stored(&self) -> Result<u64, CacheError> {
        let prefix = format!("{}:", self.shared.key_prefix);
        if self.shared.key_prefix.is_empty() {
            return Err(CacheError::invalid(
                "a cache needs a key prefix to be cleared: without one it cannot tell its own keys from others'",
            ));
        }
        if self.shared.key_function.is_some() && !self.make_key("key").starts_with(&*self.lead) {
            return Err(CacheError::invalid(
                "a cache can be cleared where its key function's keys begin with `{key_prefix}:{version}:`",
            ));
        }
        // All keys of a group begin with the stored key of the empty key.
        let scope = self.scope.as_ref().map(|_| self.make_key(""));
        let pattern = match &scope {
            Some(start) => Pattern::prefix(start),
            None => pattern(&prefix),
        };
        let is_own = |key: &str| match &scope {
            Some(start) => key.starts_with(&**start),
            None => is_own(&prefix, key),
        };
        if let Some(outage) = &self.shared.outage {
            outage.forget_all();
        }
        let affected = scope.as_deref().map_or(Keys::All, Keys::Prefix);
        let _outdating = self.shared.fills.outdate(self.shared.max_wait, affected).await;
        let mut page = self.scan(ScanRequest::new(&pattern)).await?;
        let mut removed = 0;
        loop {
            let keys: Vec<&str> = page.keys.iter().map(String::as_str).filter(|key| is_own(key)).collect();
            let Some(next) = page.next else {
                return Ok(removed + self.remove(&keys).await?);
            };
            // The two calls run concurrently, so that a page costs one round trip instead of two. A
            // scan guarantees nothing about keys that are removed meanwhile, and a key that is
            // returned twice is counted only by the call that removed it.
            let request = ScanRequest::new(&pattern).with_cursor(next);
            let (count, next_page) = try_join(self.remove(&keys), self.scan(request)).await?;
            removed += count;
            page = next_page;
        }
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage, CacheError> {
        Ok(self.shared.backend.scan(request).await?)
    }

    async fn remove(&self, keys: &[&str]) -> Result<u64, CacheError> {
        if keys.is_empty() {
            return Ok(0);
        }
        Ok(self.shared.backend.del(keys).await?)
    }
}

/// Returns the closest glob for "an integer and a colon", so that the store sends few other keys.
/// [`is_own`] makes the final decision.
fn pattern(prefix: &str) -> Pattern {
    let mut glob = Pattern::prefix(prefix).as_bytes().to_vec();
    glob.pop(); // the star behind the escaped prefix
    glob.extend_from_slice(b"[-0-9]*:*");
    Pattern::glob(glob)
}

fn is_own(prefix: &str, key: &str) -> bool {
    let version = key.strip_prefix(prefix).and_then(|rest| rest.split_once(':'));
    version.is_some_and(|(version, _)| parse_integer(version.as_bytes()).is_some())
}
