//! Many keys in one round trip.

use std::{collections::HashMap, future::Future};

use codex_traits::KvBackend;
use serde::{Serialize, de::DeserializeOwned};

use super::{Cache, CacheError, Serializer, Timeout, key::StoredKey, timeout::is_over};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// The values of those `keys` that are there, in one round trip.
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
    /// [`CacheError::Codec`] where one of the stored values is no `T`: there is no partial answer.
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> impl Future<Output = Result<HashMap<String, T>, CacheError>> + Send {
        // Taken before the first await, so that neither the iterator nor its items need to be `Send`.
        let keys: Vec<String> = keys.into_iter().map(|key| key.as_ref().to_owned()).collect();
        async move {
            let stored_keys = self.stored_keys(&keys);
            let values = self.shared.backend.get_many(&borrowed(&stored_keys)).await?;
            let hits = keys.into_iter().zip(values);
            hits.zip(&stored_keys)
                .filter_map(|((key, value), stored)| Some(self.decode(stored, &value?).map(|value| (key, value))))
                .collect()
        }
    }

    /// Stores all entries with the one timeout, in one round trip. Of a key given twice, the last value stays. With a timeout of zero, removes
    /// what is there.
    ///
    /// The keys are written one by one, as far as others can see: this is no transaction.
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] where one of the values has no form in the cache's format; nothing is written then. Where the backend
    /// fails, some may be written.
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
                let value = self.encode(&key, &value)?;
                Ok((key, value))
            })
            .collect();
        async move {
            let entries = entries?;
            if is_over(expiry) {
                let keys: Vec<&str> = entries.iter().map(|(key, _)| &**key).collect();
                self.shared.backend.del(&keys).await?;
            } else {
                let entries: Vec<_> = entries.iter().map(|(key, value)| (&**key, value.clone())).collect();
                self.shared.backend.set_many(&entries, expiry).await?;
            }
            Ok(())
        }
    }

    /// Removes the keys in one round trip, and counts those that were there.
    ///
    /// # Errors
    ///
    /// Where the backend fails; some of the keys may be removed then.
    pub fn delete_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> impl Future<Output = Result<u64, CacheError>> + Send {
        let keys: Vec<StoredKey> = keys.into_iter().map(|key| self.stored_key(key.as_ref())).collect();
        async move { Ok(self.shared.backend.del(&borrowed(&keys)).await?) }
    }

    fn stored_keys(&self, keys: &[String]) -> Vec<StoredKey> {
        keys.iter().map(|key| self.stored_key(key)).collect()
    }
}

fn borrowed(keys: &[StoredKey]) -> Vec<&str> {
    keys.iter().map(|key| &**key).collect()
}
