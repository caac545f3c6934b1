//! A cache whose verbs go through the async cache or through the blocking cache.

use std::{any::TypeId, collections::HashMap, future::Future, pin::pin, sync::mpsc, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{
    paired::{EitherBuilder, Paired, settings},
    threads::{elsewhere, in_place},
};
use crate::{AnyBackend, CacheError, ComputeError, Json, KvBackend, Outage, Serializer, Timeout, blocking};

/// A cache whose verbs below go through the blocking cache, on other threads, if there is one.
pub(crate) type Cache<B = AnyBackend, S = Json> = Paired<crate::Cache<B, S>, blocking::Cache<B, S>>;

pub(crate) type CacheBuilder<B = AnyBackend, S = Json> =
    EitherBuilder<crate::CacheBuilder<B, S>, blocking::CacheBuilder<B, S>>;

impl<B: KvBackend, S: Serializer> CacheBuilder<B, S> {
    settings! {
        key_prefix(key_prefix: impl Into<String>);
        version(version: i64);
        default_timeout(default_timeout: impl Into<Option<Duration>>);
        name(name: impl Into<String>);
        max_wait(max_wait: Duration);
        on_outage(outage: Outage);
        key_function(function: impl Fn(&str, i64, &str) -> String + Send + Sync + 'static);
    }

    pub(crate) fn serializer<S2: Serializer>(self, serializer: S2) -> CacheBuilder<B, S2> {
        match self {
            Self::Async(builder) => EitherBuilder::Async(builder.serializer(serializer)),
            Self::Blocking(builder) => EitherBuilder::Blocking(builder.serializer(serializer)),
        }
    }

    pub(crate) fn build(self) -> Result<Cache<B, S>, CacheError> {
        match self {
            Self::Async(builder) => builder.build().map(Paired::of_async),
            Self::Blocking(builder) => builder.build().map(Paired::of_blocking),
        }
    }
}

/// Returns the JSON of a value, which can be sent to another thread. Returns `None` if the value
/// has no JSON form or the cache uses another format.
fn raw<S: Serializer, T: Serialize + ?Sized>(value: &T) -> Option<Box<RawValue>> {
    if TypeId::of::<S>() != TypeId::of::<Json>() {
        return None;
    }
    let json = Json.serialize(value).ok()?;
    RawValue::from_string(String::from_utf8(json.to_vec()).ok()?).ok()
}

/// Defines verbs whose arguments can be sent to another thread.
macro_rules! sent {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        pub(crate) async fn $name(&self, key: &str, $($argument: $type),*) -> Result<$output, CacheError> {
            let Some(cache) = self.blocking.clone() else {
                return self.rest.$name(key, $($argument),*).await;
            };
            let key = key.to_owned();
            elsewhere(move || cache.$name(&key, $($argument),*)).await
        }
    )*};
}

fn owned(keys: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    keys.into_iter().map(|key| key.as_ref().to_owned()).collect()
}

impl<B: KvBackend, S: Serializer> Cache<B, S> {
    sent! {
        delete() -> bool;
        has_key() -> bool;
        incr(delta: i64) -> i64;
        decr(delta: i64) -> i64;
        incr_version(delta: i64) -> i64;
        decr_version(delta: i64) -> i64;
    }

    pub(crate) fn with_version(&self, version: i64) -> Self {
        match &self.blocking {
            Some(blocking) => Self::of_blocking(blocking.with_version(version)),
            None => Self::of_async(self.rest.with_version(version)),
        }
    }

    pub(crate) async fn get<T: DeserializeOwned + Send + 'static>(&self, key: &str) -> Result<Option<T>, CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.get(key).await;
        };
        let key = key.to_owned();
        elsewhere(move || cache.get(&key)).await
    }

    pub(crate) async fn get_or<T: DeserializeOwned + Send + 'static>(
        &self,
        key: &str,
        default: T,
    ) -> Result<T, CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.get_or(key, default).await;
        };
        let key = key.to_owned();
        elsewhere(move || cache.get_or(&key, default)).await
    }

    pub(crate) async fn set<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<(), CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.set(key, value, timeout).await;
        };
        let timeout = timeout.into();
        match raw::<S, T>(value) {
            Some(raw) => {
                let key = key.to_owned();
                elsewhere(move || cache.set(&key, &raw, timeout)).await
            }
            None => in_place(|| cache.set(key, value, timeout)),
        }
    }

    pub(crate) async fn add<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<bool, CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.add(key, value, timeout).await;
        };
        let timeout = timeout.into();
        match raw::<S, T>(value) {
            Some(raw) => {
                let key = key.to_owned();
                elsewhere(move || cache.add(&key, &raw, timeout)).await
            }
            None => in_place(|| cache.add(key, value, timeout)),
        }
    }

    pub(crate) async fn touch(&self, key: &str, timeout: impl Into<Timeout> + Send) -> Result<bool, CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.touch(key, timeout).await;
        };
        let (key, timeout) = (key.to_owned(), timeout.into());
        elsewhere(move || cache.touch(&key, timeout)).await
    }

    pub(crate) async fn get_many<T: DeserializeOwned + Send + 'static>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, T>, CacheError> {
        let keys = owned(keys);
        match self.blocking.clone() {
            Some(cache) => elsewhere(move || cache.get_many(keys)).await,
            None => self.rest.get_many(keys).await,
        }
    }

    pub(crate) async fn set_many<T: Serialize + Send>(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        let timeout = timeout.into();
        let entries: Vec<(String, T)> = entries
            .into_iter()
            .map(|(key, value)| (key.as_ref().to_owned(), value))
            .collect();
        match &self.blocking {
            Some(cache) => in_place(|| cache.set_many(entries, timeout)),
            None => self.rest.set_many(entries, timeout).await,
        }
    }

    pub(crate) async fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Result<u64, CacheError> {
        let keys = owned(keys);
        match self.blocking.clone() {
            Some(cache) => elsewhere(move || cache.delete_many(keys)).await,
            None => self.rest.delete_many(keys).await,
        }
    }

    pub(crate) async fn get_or_set<T: Serialize + DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: &str,
        default: T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<T, CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.get_or_set(key, default, timeout).await;
        };
        let (key, timeout) = (key.to_owned(), timeout.into());
        elsewhere(move || cache.get_or_set(&key, default, timeout)).await
    }

    pub(crate) async fn get_bytes(&self, key: &str) -> Result<Option<Bytes>, CacheError> {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.get_bytes(key).await;
        };
        let key = key.to_owned();
        elsewhere(move || cache.get_bytes(&key)).await
    }

    pub(crate) async fn set_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        let (key, value, timeout) = (key.to_owned(), value.into(), timeout.into());
        match self.blocking.clone() {
            Some(cache) => elsewhere(move || cache.set_bytes(&key, value, timeout)).await,
            None => self.rest.set_bytes(&key, value, timeout).await,
        }
    }

    pub(crate) async fn add_bytes(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        let (key, value, timeout) = (key.to_owned(), value.into(), timeout.into());
        match self.blocking.clone() {
            Some(cache) => elsewhere(move || cache.add_bytes(&key, value, timeout)).await,
            None => self.rest.add_bytes(&key, value, timeout).await,
        }
    }

    pub(crate) async fn get_or_set_bytes(
        &self,
        key: &str,
        default: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<Bytes, CacheError> {
        let (key, default, timeout) = (key.to_owned(), default.into(), timeout.into());
        match self.blocking.clone() {
            Some(cache) => elsewhere(move || cache.get_or_set_bytes(&key, default, timeout)).await,
            None => self.rest.get_or_set_bytes(&key, default, timeout).await,
        }
    }

    pub(crate) async fn clear(&self) -> Result<u64, CacheError> {
        match self.blocking.clone() {
            Some(cache) => elsewhere(move || cache.clear()).await,
            None => self.rest.clear().await,
        }
    }

    /// Computes like the async verb. The closure runs in this task, because it borrows; the thread
    /// that makes the blocking call waits for its result.
    pub(crate) async fn get_or_try_set_with<T, E, F, Fut>(
        &self,
        key: &str,
        timeout: impl Into<Timeout> + Send,
        compute: F,
    ) -> Result<T, ComputeError<E>>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
    {
        let Some(cache) = self.blocking.clone() else {
            return self.rest.get_or_try_set_with(key, timeout, compute).await;
        };
        let (key, timeout) = (key.to_owned(), timeout.into());
        let (ask, asked) = oneshot::channel();
        let (answer, answered) = mpsc::channel();
        let call = pin!(elsewhere(move || {
            cache.get_or_try_set_with(&key, timeout, move || {
                let _ = ask.send(());
                answered.recv().expect("the caller waits")
            })
        }));
        match select(call, asked).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right((asked, call)) => {
                if asked.is_ok() {
                    drop(answer.send(compute().await));
                }
                call.await
            }
        }
    }
}
