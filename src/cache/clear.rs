//! Removal of a cache's values from a store that other programs share.

use codex_traits::{KvBackend, Pattern, ScanPage, ScanRequest, parse_integer};
use futures_util::future::try_join;

use super::{Cache, CacheError, Serializer, fills::Keys};

/// The length of a key that key functions are tried with, in bytes. Memcached takes keys of up to
/// 250 bytes, and functions that are written for it hash longer keys.
const LONG_KEY: usize = 1000;

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Removes every value of this `key_prefix`, in every version, and returns their number.
    ///
    /// It removes exactly the keys `{key_prefix}:{integer}:…`. Sessions (`{key_prefix}:session:…`)
    /// and caches with other prefixes are not affected, with one exception: the keys of a cache
    /// with the prefix `shop:1` look like keys of the cache `shop`. The store is never flushed. It
    /// is scanned page by page and serves other clients in between. Values that are stored during
    /// the scan may remain.
    ///
    /// For a [`group`](Self::group), only the values of its current generation are removed.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] if the prefix is empty, if the keys of a
    /// [`key_function`](crate::CacheBuilder::key_function) do not begin with
    /// `{key_prefix}:{version}:`, or if this is a group and the function changes more than the
    /// start of a key, for example by hashing it. In these cases the cache cannot recognise its own
    /// keys, and removes nothing. The function is tried with a short and a long key. If the backend
    /// fails or the future is dropped, some values may have been removed.
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
        // All keys of a group begin with the stored key of the empty key.
        let scope = self.scope.as_ref().map(|_| self.make_key(""));
        if self.shared.key_function.is_some() {
            if !self.all_begin_with(&self.lead) {
                return Err(CacheError::invalid(
                    "a cache with a key function can be cleared only if its keys begin with `{key_prefix}:{version}:`",
                ));
            }
            if scope.as_deref().is_some_and(|start| !self.all_begin_with(start)) {
                return Err(CacheError::invalid(
                    "a group can be cleared only if its cache's key function changes no more than the start of a key: call `invalidate` instead",
                ));
            }
        }
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
        let affected = self.keys_from(scope.as_deref());
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
            // returned twice is counted only by the call that removes it.
            let request = ScanRequest::new(&pattern).with_cursor(next);
            let (count, next_page) = try_join(self.remove(&keys), self.scan(request)).await?;
            removed += count;
            page = next_page;
        }
    }

    /// Returns whether the stored keys of a short and of a long key begin with `start`. Key
    /// functions commonly hash either all keys or only long keys.
    fn all_begin_with(&self, start: &str) -> bool {
        let long = "k".repeat(LONG_KEY);
        ["key", &long].iter().all(|key| self.make_key(key).starts_with(start))
    }

    /// Returns the keys that begin with `start`. With a key function, these are all keys: a fill
    /// that is refused without need costs one computation.
    pub(super) fn keys_from<'a>(&self, start: Option<&'a str>) -> Keys<'a> {
        match start {
            Some(start) if self.shared.key_function.is_none() => Keys::Prefix(start),
            _ => Keys::All,
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

/// Returns the glob that comes closest to "an integer and a colon", so that the store sends few
/// other keys. [`is_own`] makes the final decision.
fn pattern(prefix: &str) -> Pattern {
    let mut glob = Pattern::prefix(prefix).as_bytes().to_vec();
    glob.pop(); // the star after the escaped prefix
    glob.extend_from_slice(b"[-0-9]*:*");
    Pattern::glob(glob)
}

fn is_own(prefix: &str, key: &str) -> bool {
    let version = key.strip_prefix(prefix).and_then(|rest| rest.split_once(':'));
    version.is_some_and(|(version, _)| parse_integer(version.as_bytes()).is_some())
}
