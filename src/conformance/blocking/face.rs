//! A blocking cache with the async signatures that the clauses call.

use std::{any::TypeId, collections::HashMap, future::Future, ops::Deref, pin::pin, sync::mpsc, time::Duration};

use futures_util::future::{Either, select};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

pub(super) use super::sessions::{SessionStore, SessionStoreBuilder, asynchronous};
use super::threads::{elsewhere, in_place};
use crate::{AnyBackend, CacheError, ComputeError, Json, KvBackend, Outage, Serializer, Timeout, blocking};

/// The verbs of the blocking cache run on other threads. All other calls go to the async cache,
/// with which it shares everything.
#[derive(Debug)]
pub(crate) struct Cache<B = AnyBackend, S = Json> {
    blocking: blocking::Cache<B, S>,
    rest: crate::Cache<B, S>,
}

impl<B, S> Clone for Cache<B, S> {
    fn clone(&self) -> Self {
        self.blocking.clone().into()
    }
}

impl<B, S> From<blocking::Cache<B, S>> for Cache<B, S> {
    fn from(blocking: blocking::Cache<B, S>) -> Self {
        Self {
            rest: blocking.clone().into(),
            blocking,
        }
    }
}

impl<B, S> Deref for Cache<B, S> {
    type Target = crate::Cache<B, S>;

    fn deref(&self) -> &Self::Target {
        &self.rest
    }
}

impl<B: KvBackend> Cache<B> {
    pub(crate) fn builder(backend: B) -> CacheBuilder<B> {
        CacheBuilder(blocking::Cache::builder(backend))
    }
}

pub(crate) struct CacheBuilder<B = AnyBackend, S = Json>(blocking::CacheBuilder<B, S>);

macro_rules! settings {
    ($($name:ident($argument:ident: $type:ty);)*) => {$(
        pub(crate) fn $name(self, $argument: $type) -> Self {
            Self(self.0.$name($argument))
        }
    )*};
}

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
        CacheBuilder(self.0.serializer(serializer))
    }

    pub(crate) fn build(self) -> Result<Cache<B, S>, CacheError> {
        self.0.build().map(Cache::from)
    }
}

/// Returns the JSON of a value, which can be sent to another thread, or `None` if JSON cannot
/// represent it or the cache has another format.
fn raw<S: Serializer, T: Serialize + ?Sized>(value: &T) -> Option<Box<RawValue>> {
    if TypeId::of::<S>() != TypeId::of::<Json>() {
        return None;
    }
    let json = Json.serialize(value).ok()?;
    RawValue::from_string(String::from_utf8(json.to_vec()).ok()?).ok()
}

/// Verbs whose arguments can be sent to another thread.
macro_rules! sent {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {$(
        pub(crate) async fn $name(&self, key: &str, $($argument: $type),*) -> Result<$output, CacheError> {
            let (cache, key) = (self.blocking.clone(), key.to_owned());
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
        self.blocking.with_version(version).into()
    }

    pub(crate) async fn get<T: DeserializeOwned + Send + 'static>(&self, key: &str) -> Result<Option<T>, CacheError> {
        let (cache, key) = (self.blocking.clone(), key.to_owned());
        elsewhere(move || cache.get(&key)).await
    }

    pub(crate) async fn get_or<T: DeserializeOwned + Send + 'static>(
        &self,
        key: &str,
        default: T,
    ) -> Result<T, CacheError> {
        let (cache, key) = (self.blocking.clone(), key.to_owned());
        elsewhere(move || cache.get_or(&key, default)).await
    }

    pub(crate) async fn set<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<(), CacheError> {
        let (cache, timeout) = (self.blocking.clone(), timeout.into());
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
        let (cache, timeout) = (self.blocking.clone(), timeout.into());
        match raw::<S, T>(value) {
            Some(raw) => {
                let key = key.to_owned();
                elsewhere(move || cache.add(&key, &raw, timeout)).await
            }
            None => in_place(|| cache.add(key, value, timeout)),
        }
    }

    pub(crate) async fn touch(&self, key: &str, timeout: impl Into<Timeout> + Send) -> Result<bool, CacheError> {
        let (cache, key, timeout) = (self.blocking.clone(), key.to_owned(), timeout.into());
        elsewhere(move || cache.touch(&key, timeout)).await
    }

    pub(crate) async fn get_many<T: DeserializeOwned + Send + 'static>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, T>, CacheError> {
        let (cache, keys) = (self.blocking.clone(), owned(keys));
        elsewhere(move || cache.get_many(keys)).await
    }

    #[expect(clippy::unused_async, reason = "the clauses await it, as they await the async type")]
    pub(crate) async fn set_many<T: Serialize + Send>(
        &self,
        entries: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        let (cache, timeout) = (self.blocking.clone(), timeout.into());
        let entries: Vec<(String, T)> = entries
            .into_iter()
            .map(|(key, value)| (key.as_ref().to_owned(), value))
            .collect();
        in_place(|| cache.set_many(entries, timeout))
    }

    pub(crate) async fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Result<u64, CacheError> {
        let (cache, keys) = (self.blocking.clone(), owned(keys));
        elsewhere(move || cache.delete_many(keys)).await
    }

    pub(crate) async fn get_or_set<T: Serialize + DeserializeOwned + Send + Sync + 'static>(
        &self,
        key: &str,
        default: T,
        timeout: impl Into<Timeout> + Send,
    ) -> Result<T, CacheError> {
        let (cache, key, timeout) = (self.blocking.clone(), key.to_owned(), timeout.into());
        elsewhere(move || cache.get_or_set(&key, default, timeout)).await
    }

    pub(crate) async fn clear(&self) -> Result<u64, CacheError> {
        let cache = self.blocking.clone();
        elsewhere(move || cache.clear()).await
    }

    /// Computes like the async verb. The closure runs here, because it borrows. The thread that
    /// makes the blocking call waits for it.
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
        let (cache, key, timeout) = (self.blocking.clone(), key.to_owned(), timeout.into());
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
