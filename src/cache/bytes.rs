//! Bytes that are stored as they are.

use std::future::Future;

use bytes::Bytes;
use codex_traits::KvBackend;

use super::{Cache, CacheError, Serializer, Timeout, timeout::is_over};

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the bytes of `key`, whatever format they have, or `None` if there are none.
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

    /// Stores `value` as it is, without the cache's format, and gives it the timeout. With a
    /// timeout of zero, removes what is there.
    ///
    /// [`get`](Self::get) reads it if it is a value in the cache's format.
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails or the timeout is too long to be held.
    pub fn set_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> impl Future<Output = Result<(), CacheError>> + Send {
        let (key, value, expiry) = (self.stored_key(key), value.into(), self.expiry(timeout));
        async move { self.counted(self.put(&key, value, expiry).await) }
    }

    /// Stores `value` as it is if nothing is stored, in one atomic step, and returns whether it
    /// did; otherwise as [`add`](Self::add).
    ///
    /// # Errors
    ///
    /// As [`set_bytes`](Self::set_bytes).
    pub fn add_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> impl Future<Output = Result<bool, CacheError>> + Send {
        let (key, value, expiry) = (self.stored_key(key), value.into(), self.expiry(timeout));
        async move { self.counted(self.add_bytes_of(&key, value, expiry).await) }
    }

    /// Returns the bytes of `key`; if there are none, stores `default` as it is and returns it. If
    /// another writer is faster, its bytes are returned.
    ///
    /// # Errors
    ///
    /// As [`set_bytes`](Self::set_bytes).
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
            let there = self.add_or_fetch(&key, default.clone(), expiry).await;
            Ok(self.counted(there)?.unwrap_or(default))
        }
    }
}
