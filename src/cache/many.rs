//! Operations on many keys in one round trip.

use std::{collections::HashMap, future::Future};

use bytes::Bytes;
use codex_traits::KvBackend;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Cache, CacheError, Serializer, Timeout,
    fills::Keys,
    key::StoredKey,
    marker::{self, Stored},
    stats::Event,
    timeout::is_over,
};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the values of the `keys` that exist, in one round trip.
    ///
    /// ```
    /// use codex_kv::{Cache, Timeout, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), codex_kv::CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// cache.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    ///
    /// let found = cache.get_many::<i64>(["a", "b", "c"]).await?;
    /// assert_eq!((found["a"], found["b"], found.get("c")), (1, 2, None));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if any of the stored values is not a `T`. There is no partial result.
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> impl Future<Output = Result<HashMap<String, T>, CacheError>> + Send {
        // Collected before the first await, so that neither the iterator nor its items need to be
        // `Send`.
        let keys: Vec<String> = keys.into_iter().map(|key| key.as_ref().to_owned()).collect();
        async move {
            let stored_keys = self.stored_keys(&keys);
            let (values, is_read) = match self.shared.backend.get_many(&borrowed(&stored_keys)).await {
                Ok(values) => (values, true),
                Err(error) => (self.instead_of_many(&stored_keys, &error.into())?, false),
            };
            let mut found = HashMap::with_capacity(keys.len());
            for ((key, stored_key), value) in keys.into_iter().zip(&stored_keys).zip(values) {
                let value = value.and_then(|value| Stored::read(value).into_value());
                // The other results are counted as outage reads.
                if is_read {
                    self.saw(stored_key, value.as_ref());
                    self.count(if value.is_some() { Event::Hit } else { Event::Miss });
                }
                if let Some(value) = value {
                    found.insert(key, self.decode(stored_key, &value)?);
                }
            }
            Ok(found)
        }
    }

    /// Returns the results for all keys of a read that failed in the backend: the error, unless the
    /// cache has an `on_outage` setting that covers it.
    #[cold]
    fn instead_of_many(&self, keys: &[StoredKey], error: &CacheError) -> Result<Vec<Option<Bytes>>, CacheError> {
        keys.iter().map(|key| self.instead_of(key, error.clone())).collect()
    }

    /// Stores all entries with the same timeout, in one round trip. If a key occurs twice, the last
    /// value wins. A timeout of zero removes the keys.
    ///
    /// This is not a transaction: other clients can observe some of the writes before others.
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the cache's format cannot represent any of the values; nothing is
    /// written then. If the backend fails, some entries may have been written.
    pub fn set_many<T: Serialize>(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        timeout: impl Into<Timeout>,
    ) -> impl Future<Output = Result<(), CacheError>> + Send {
        let expiry = self.expiry(timeout);
        let entries: Result<Vec<_>, CacheError> = entries
            .into_iter()
            .map(|(key, value)| {
                let key = self.stored_key(key.as_ref());
                let value = self.counted(self.encode(&key, &value))?;
                Ok((key, value))
            })
            .collect();
        async move {
            let entries = entries?;
            if is_over(expiry) {
                let keys: Vec<StoredKey> = entries.into_iter().map(|(key, _)| key).collect();
                return self.remove_many(&keys).await.map(drop);
            }
            let keys: Vec<&str> = entries.iter().map(|(key, _)| &**key).collect();
            let _outdating = self.shared.fills.outdate(self.shared.max_wait, Keys::Many(&keys)).await;
            let stored: Vec<_> = entries
                .iter()
                .map(|(key, value)| (&**key, marker::plain(value.clone())))
                .collect();
            let answer = self.shared.backend.set_many(&stored, expiry).await;
            self.counted(answer.map_err(CacheError::from))?;
            for (key, value) in &entries {
                self.saw(key, Some(value));
            }
            Ok(())
        }
    }

    /// Removes the keys in one round trip and returns how many existed.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails. Some of the keys may have been removed then.
    pub fn delete_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> impl Future<Output = Result<u64, CacheError>> + Send {
        let keys: Vec<StoredKey> = keys.into_iter().map(|key| self.stored_key(key.as_ref())).collect();
        async move { self.remove_many(&keys).await }
    }

    async fn remove_many(&self, keys: &[StoredKey]) -> Result<u64, CacheError> {
        let borrowed = borrowed(keys);
        let _outdating = self
            .shared
            .fills
            .outdate(self.shared.max_wait, Keys::Many(&borrowed))
            .await;
        for key in keys {
            self.saw(key, None);
        }
        let answer = self.shared.backend.del(&borrowed).await;
        self.counted(answer.map_err(CacheError::from))
    }

    fn stored_keys(&self, keys: &[String]) -> Vec<StoredKey> {
        keys.iter().map(|key| self.stored_key(key)).collect()
    }
}

fn borrowed(keys: &[StoredKey]) -> Vec<&str> {
    keys.iter().map(|key| &**key).collect()
}
