//! Emptying a cache without touching what others keep in the same store.

use codex_traits::{KvBackend, Pattern, ScanPage, ScanRequest, parse_integer};
use futures_util::future::try_join;

use super::{Cache, CacheError, Serializer, fills::Keys};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Removes every value of this `key_prefix`, of every version, and counts them.
    ///
    /// Removed is `{key_prefix}:{integer}:…` and nothing else: sessions as `{key_prefix}:session:…`
    /// stay, and the caches of all other prefixes. (One exception lies in the keys themselves: the
    /// cache with the prefix `shop:1` writes what the cache `shop` could have written.) The store
    /// is walked page by page and others are served in between; the whole of it is never flushed.
    /// Values that are stored meanwhile may stay.
    ///
    /// For a [`group`](Self::group), only the values of its present generation are removed.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] with an empty prefix, or a
    /// [`key_function`](crate::CacheBuilder::key_function) whose keys do not begin with
    /// `{key_prefix}:{version}:`, because then a cache cannot tell its own keys from others';
    /// nothing is removed. Where the backend fails or the future is dropped, some values may be
    /// removed.
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
        // All keys of a group begin as that of the empty text does.
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
            // Side by side, so that a page costs one round trip instead of two. A scan owes nothing
            // to keys that go meanwhile, and a key that comes again is counted by the one call that
            // removed it.
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

/// Returns as much of "an integer and a colon" as a glob can say, so that the store sends little
/// else; [`is_own`] has the last word.
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
