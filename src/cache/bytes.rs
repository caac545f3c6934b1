//! Raw bytes, stored unchanged.

use std::future::Future;

use bytes::Bytes;
use codex_traits::KvBackend;

use super::{Cache, CacheError, Serializer, Timeout, timeout::is_over};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the stored bytes of `key`, whatever their format, or `None` if the key is missing.
    ///
    /// ```
    /// use codex_kv::{Cache, Timeout, memory::MemoryBackend};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), codex_kv::CacheError> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// cache.set_bytes("thumbnail", vec![0; 300], Timeout::Default).await?;
    /// assert_eq!(cache.get_bytes("thumbnail").await?.as_deref(), Some(&[0; 300][..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails.
    pub async fn get_bytes(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        self.look_up(&self.stored_key(key)).await
    }

    /// Stores `value` unchanged, bypassing the cache's format, with the given timeout. A timeout of
    /// zero removes the key.
    ///
    /// [`get`](Self::get) can read the value if it is in the cache's format.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails or does not support a timeout of this length.
    pub fn set_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> impl Future<Output = Result<(), CacheError>> + Send {
        let (key, value, expiry) = (self.stored_key(key), value.into(), self.expiry(timeout));
        async move { self.counted(self.put(&key, value, expiry).await) }
    }

    /// Stores `value` unchanged if the key is missing, in one atomic step, and returns whether it
    /// did. In all other respects it works like [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// The same errors as [`set_bytes`](Self::set_bytes).
    pub fn add_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> impl Future<Output = Result<bool, CacheError>> + Send {
        let (key, value, expiry) = (self.stored_key(key), value.into(), self.expiry(timeout));
        async move { self.counted(self.add_bytes_of(&key, value, expiry).await) }
    }

    /// Returns the bytes of `key`. If the key is missing, stores `default` unchanged and returns
    /// it. If another writer stores bytes first, returns those bytes.
    ///
    /// # Errors
    ///
    /// The same errors as [`set_bytes`](Self::set_bytes).
    pub fn get_or_set_bytes(
        &self,
        key: &str,
        default: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> impl Future<Output = Result<Bytes, CacheError>> + Send {
        let (key, default, expiry) = (self.stored_key(key), default.into(), self.expiry(timeout));
        async move {
            if let Some(stored) = self.look_up(&key).await? {
                return Ok(stored);
            }
            if is_over(expiry) {
                return Ok(default);
            }
            let there = self.add_or_see(&key, default.clone(), expiry).await;
            Ok(self.counted(there)?.unwrap_or(default))
        }
    }
}
