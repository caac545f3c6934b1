//! The blocking cache.

use std::{collections::HashMap, future, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{CacheBuilder, Group, LoaderBuilder, executor::wait};
use crate::{AnyBackend, CacheError, CacheStats, ComputeError, Json, KvBackend, Serializer, Timeout};

/// Typed values on a [`KvBackend`], without `async`. Each verb corresponds to the method of
/// [`codex_kv::Cache`](crate::Cache) with the same name.
///
/// ```
/// use codex_kv::{Timeout, blocking::Cache, memory::MemoryBackend};
///
/// # fn main() -> Result<(), codex_kv::CacheError> {
/// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
/// cache.set("hits", &0, Timeout::Default)?;
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| cache.incr("hits", 1));
///     }
/// });
/// assert_eq!(cache.get::<i64>("hits")?, Some(4));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Every verb returns the errors of its async counterpart. On a thread of an async runtime, it
/// returns [`CacheError::Backend`] of kind [`InvalidArgument`](crate::ErrorKind::InvalidArgument);
/// see the [module](super).
#[derive(Debug)]
pub struct Cache<B = AnyBackend, S = Json>(crate::Cache<B, S>);

impl<B: KvBackend> Cache<B> {
    /// Returns the builder of a cache on `backend`.
    pub fn builder(backend: B) -> CacheBuilder<B> {
        CacheBuilder::new(crate::Cache::builder(backend))
    }
}

impl<B, S> From<crate::Cache<B, S>> for Cache<B, S> {
    fn from(cache: crate::Cache<B, S>) -> Self {
        Self(cache)
    }
}

impl<B, S> From<Cache<B, S>> for crate::Cache<B, S> {
    fn from(cache: Cache<B, S>) -> Self {
        cache.0
    }
}

// Implemented by hand because `derive` would require `B: Clone` and `S: Clone`.
impl<B, S> Clone for Cache<B, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    /// Returns the value of `key`; see [`Cache::get`](crate::Cache::get).
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the stored value is not a `T`, and the errors of [every
    /// verb](Self#errors).
    #[inline]
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CacheError> {
        wait(self.0.get(key))
    }

    /// Returns the value of `key`, or `default`; see [`Cache::get_or`](crate::Cache::get_or).
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get).
    pub fn get_or<T: DeserializeOwned + Send>(&self, key: &str, default: T) -> Result<T, CacheError> {
        wait(self.0.get_or(key, default))
    }

    /// Stores `value`; see [`Cache::set`](crate::Cache::set).
    ///
    /// # Errors
    ///
    /// [`CacheError::Codec`] if the cache's format cannot represent the value, and the errors of
    /// [every verb](Self#errors).
    pub fn set<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<(), CacheError> {
        wait(self.0.set(key, value, timeout))
    }

    /// Stores `value` if the key is missing, and returns whether it did; see
    /// [`Cache::add`](crate::Cache::add).
    ///
    /// # Errors
    ///
    /// The same errors as [`set`](Self::set).
    pub fn add<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<bool, CacheError> {
        wait(self.0.add(key, value, timeout))
    }

    /// Removes `key` and returns whether it existed; see [`Cache::delete`](crate::Cache::delete).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn delete(&self, key: &str) -> Result<bool, CacheError> {
        wait(self.0.delete(key))
    }

    /// Returns whether `key` exists; see [`Cache::has_key`](crate::Cache::has_key).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn has_key(&self, key: &str) -> Result<bool, CacheError> {
        wait(self.0.has_key(key))
    }

    /// Gives `key` a new timeout and returns whether the key existed; see
    /// [`Cache::touch`](crate::Cache::touch).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn touch(&self, key: &str, timeout: impl Into<Timeout> + Send) -> Result<bool, CacheError> {
        wait(self.0.touch(key, timeout))
    }

    /// Returns the values of the keys that exist, in one round trip; see
    /// [`Cache::get_many`](crate::Cache::get_many).
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get).
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, T>, CacheError> {
        wait(self.0.get_many(keys))
    }

    /// Stores all entries, in one round trip; see [`Cache::set_many`](crate::Cache::set_many).
    ///
    /// # Errors
    ///
    /// The same errors as [`set`](Self::set).
    pub fn set_many<T: Serialize>(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        wait(self.0.set_many(entries, timeout))
    }

    /// Removes the keys in one round trip and returns how many existed; see
    /// [`Cache::delete_many`](crate::Cache::delete_many).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Result<u64, CacheError> {
        wait(self.0.delete_many(keys))
    }

    /// Returns the bytes of `key`; see [`Cache::get_bytes`](crate::Cache::get_bytes).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn get_bytes(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        wait(self.0.get_bytes(key))
    }

    /// Stores bytes unchanged; see [`Cache::set_bytes`](crate::Cache::set_bytes).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn set_bytes(&self, key: &str, value: impl Into<Bytes>, timeout: impl Into<Timeout>) -> Result<(), CacheError> {
        wait(self.0.set_bytes(key, value, timeout))
    }

    /// Stores bytes if the key is missing, and returns whether it did; see
    /// [`Cache::add_bytes`](crate::Cache::add_bytes).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn add_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        wait(self.0.add_bytes(key, value, timeout))
    }

    /// Returns the bytes of `key`, or stores `default` and returns it; see
    /// [`Cache::get_or_set_bytes`](crate::Cache::get_or_set_bytes).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn get_or_set_bytes(
        &self,
        key: &str,
        default: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<Bytes, CacheError> {
        wait(self.0.get_or_set_bytes(key, default, timeout))
    }

    /// Returns the group of this name; see [`Cache::group`](crate::Cache::group).
    ///
    /// # Errors
    ///
    /// The errors of [every verb](Self#errors).
    pub fn group(&self, name: &str) -> Result<Group<B, S>, CacheError> {
        wait(self.0.group(name)).map(Group::new)
    }

    /// Returns a group for values that belong to several groups; see
    /// [`Cache::groups`](crate::Cache::groups).
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] if `names` is empty, and the errors of [every
    /// verb](Self#errors).
    pub fn groups(&self, names: &[impl AsRef<str> + Sync]) -> Result<Group<B, S>, CacheError> {
        wait(self.0.groups(names)).map(Group::new)
    }

    /// Returns the builder of a loader; see [`Cache::loader`](crate::Cache::loader).
    pub fn loader(&self, name: impl Into<String>) -> LoaderBuilder<B, S> {
        LoaderBuilder::new(self.0.loader(name))
    }

    /// Adds to an integer and returns the sum; see [`Cache::incr`](crate::Cache::incr).
    ///
    /// # Errors
    ///
    /// [`CacheError::NotFound`] if the key is missing, and the errors of [every verb](Self#errors).
    pub fn incr(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        wait(self.0.incr(key, delta))
    }

    /// Subtracts from an integer and returns the difference; see
    /// [`Cache::decr`](crate::Cache::decr).
    ///
    /// # Errors
    ///
    /// The same errors as [`incr`](Self::incr).
    pub fn decr(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        wait(self.0.decr(key, delta))
    }

    /// Returns the value of `key`, or stores `default` and returns it; see
    /// [`Cache::get_or_set`](crate::Cache::get_or_set).
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get) and [`set`](Self::set).
    pub fn get_or_set<T: Serialize + DeserializeOwned + Send + Sync>(
        &self,
        key: &str,
        default: T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<T, CacheError> {
        wait(self.0.get_or_set(key, default, timeout))
    }

    /// Returns the value of `key`, or computes and stores it; see
    /// [`Cache::get_or_try_set_with`](crate::Cache::get_or_try_set_with).
    ///
    /// If several threads request a missing key at the same time, one of them runs its closure, on
    /// its own thread. The closure may use this cache with other keys.
    ///
    /// ```
    /// use std::{convert::Infallible, time::Duration};
    ///
    /// use codex_kv::{blocking::Cache, memory::MemoryBackend};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
    /// let compute = || Ok::<_, Infallible>("slow to compute".to_owned());
    /// let report: String = cache.get_or_try_set_with("report", Duration::from_secs(60), compute)?;
    /// assert_eq!(cache.get("report")?, Some(report));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ComputeError::Compute`] if the closure fails, and [`ComputeError::Cache`] if the cache
    /// fails.
    pub fn get_or_try_set_with<T, E, F>(
        &self,
        key: &str,
        timeout: impl Into<Timeout> + Send,
        compute: F,
    ) -> Result<T, ComputeError<E>>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
        E: Send + Sync + 'static,
        F: FnOnce() -> Result<T, E> + Send,
    {
        let compute = || future::ready(compute());
        let computed = async { Ok(self.0.get_or_try_set_with(key, timeout, compute).await) };
        wait::<_, CacheError>(computed)?
    }

    /// Moves a value to a higher version; see [`Cache::incr_version`](crate::Cache::incr_version).
    ///
    /// # Errors
    ///
    /// [`CacheError::NotFound`] if the key is missing, and the errors of [every verb](Self#errors).
    pub fn incr_version(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        wait(self.0.incr_version(key, delta))
    }

    /// Moves a value to a lower version; see [`Cache::decr_version`](crate::Cache::decr_version).
    ///
    /// # Errors
    ///
    /// The same errors as [`incr_version`](Self::incr_version).
    pub fn decr_version(&self, key: &str, delta: i64) -> Result<i64, CacheError> {
        wait(self.0.decr_version(key, delta))
    }

    /// Removes every value of this key prefix and returns their number; see
    /// [`Cache::clear`](crate::Cache::clear).
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidArgument`] if the key prefix is empty, and the errors of [every
    /// verb](Self#errors).
    pub fn clear(&self) -> Result<u64, CacheError> {
        wait(self.0.clear())
    }

    /// Returns the stored key of `key`.
    pub fn make_key(&self, key: &str) -> String {
        self.0.make_key(key)
    }

    /// Returns the same cache at another version.
    #[must_use]
    pub fn with_version(&self, version: i64) -> Self {
        Self(self.0.with_version(version))
    }

    /// Returns the counts of this cache; see [`Cache::stats`](crate::Cache::stats).
    pub fn stats(&self) -> CacheStats {
        self.0.stats()
    }

    /// Returns the name of the cache in logs and metrics.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Returns the version that this cache reads and writes.
    pub fn version(&self) -> i64 {
        self.0.version()
    }

    /// Returns the prefix of all stored keys.
    pub fn key_prefix(&self) -> &str {
        self.0.key_prefix()
    }

    /// Returns the duration of [`Timeout::Default`]. `None` means forever.
    pub fn default_timeout(&self) -> Option<Duration> {
        self.0.default_timeout()
    }

    /// Returns the backend.
    pub fn backend(&self) -> &B {
        self.0.backend()
    }
}
