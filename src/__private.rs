//! Functions that the expansion of `#[cached]` calls. Not part of the public API.

#![allow(missing_docs, reason = "it is hidden")]

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use codex_traits::KvBackend;
use futures_util::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};

use crate::{Cache, CacheError, CodecError, ComputeError, Json, Loader, Serializer, blocking};

/// Returns a separate handle, so that the body can still move the variables in the `cache`
/// expression.
pub fn cache<B: KvBackend, S: Serializer>(cache: &Cache<B, S>) -> Cache<B, S> {
    cache.clone()
}

pub fn blocking_cache<B: KvBackend, S: Serializer>(cache: &blocking::Cache<B, S>) -> blocking::Cache<B, S> {
    cache.clone()
}

/// Returns `{name}:{arguments}`, where the arguments are a JSON list.
///
/// # Errors
///
/// Fails if JSON cannot represent an argument.
pub fn key<T: Serialize>(name: &str, arguments: &T) -> Result<String, CacheError> {
    let json = Json.serialize(arguments)?;
    // The arguments of a function without arguments are `()`, which JSON writes as `null`.
    let json = if &*json == b"null" { b"[]" } else { &*json };
    let mut key = format!("{name}:").into_bytes();
    key.extend_from_slice(json);
    String::from_utf8(key).map_err(|_| CodecError::encode::<T>("its JSON is not UTF-8").into())
}

/// Returns the arguments that a key was built from.
///
/// # Errors
///
/// Fails if an argument cannot be read back.
pub fn arguments<T: DeserializeOwned>(name: &str, key: &str) -> Result<T, CacheError> {
    let json = key.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
    let json = json.ok_or_else(|| CodecError::decode::<T>("the key is not this function's"))?;
    let json = if json == "[]" { "null" } else { json };
    Ok(Json.deserialize(json.as_bytes())?)
}

/// Tells the compiler the output type of an `async` block, so that it can infer the target type of
/// `?`.
pub fn typed<T, F: Future<Output = T>>(future: F) -> F {
    future
}

/// Converts the shared outcome of a computation to the function's own result.
///
/// # Errors
///
/// Fails if the body or the cache failed.
pub fn settle<T, E: Clone>(
    outcome: Result<T, ComputeError<E>>,
    map_error: impl FnOnce(CacheError) -> E,
) -> Result<T, E> {
    outcome.map_err(|error| match error {
        ComputeError::Compute(error) => Arc::unwrap_or_clone(error),
        ComputeError::Cache(error) => map_error(Arc::unwrap_or_clone(error)),
        ComputeError::Aborted => map_error(CacheError::Aborted),
    })
}

/// Runs a body that may block, for a loader.
pub fn on_a_thread<T: Send + 'static>(
    compute: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    blocking::on_a_thread(compute)
}

/// Waits for a loader's value.
///
/// # Errors
///
/// The same errors as [`Loader::get`]. Also fails on a thread of an async runtime.
pub fn wait<T, E>(loaded: impl Future<Output = Result<T, ComputeError<E>>>) -> Result<T, ComputeError<E>> {
    blocking::wait::<_, CacheError>(async { Ok(loaded.await) })?
}

/// The value and error types of a `Result`. A macro cannot see them behind a type alias.
pub trait Fallible {
    type Value;
    type Error;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;
}

/// A loader whose cache type is erased, because a macro cannot name it.
trait AnyLoader<T, E>: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<T, ComputeError<E>>>;
}

impl<T, E, B, S> AnyLoader<T, E> for Loader<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<T, ComputeError<E>>> {
        Loader::get(self, key).map_ok(|loaded| loaded.value).boxed()
    }
}

/// The loader of a function, which is created once.
#[expect(missing_debug_implementations, reason = "it is never seen")]
pub struct LoaderCell<R: Fallible>(OnceLock<Box<dyn AnyLoader<R::Value, R::Error>>>);

impl<R: Fallible> LoaderCell<R> {
    #[expect(clippy::new_without_default, reason = "it is a static")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    pub fn get_or_init<B, S>(&self, make: impl FnOnce() -> Loader<R::Value, R::Error, B, S>) -> LoaderRef<'_, R>
    where
        R::Value: Serialize + DeserializeOwned + Send + Sync + 'static,
        R::Error: Send + Sync + 'static,
        B: KvBackend,
        S: Serializer,
    {
        LoaderRef(&**self.0.get_or_init(|| Box::new(make())))
    }
}

/// The loader of a [`LoaderCell`].
#[expect(missing_debug_implementations, reason = "it is never seen")]
pub struct LoaderRef<'a, R: Fallible>(&'a dyn AnyLoader<R::Value, R::Error>);

impl<'a, R: Fallible> LoaderRef<'a, R> {
    pub fn get(&self, key: &'a str) -> BoxFuture<'a, Result<R::Value, ComputeError<R::Error>>> {
        self.0.get(key)
    }
}
