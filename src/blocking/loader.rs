//! Blocking loaders.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Handle, sync::oneshot};

use super::executor::wait;
use crate::{AnyBackend, CacheError, ComputeError, Json, KvBackend, Loaded, Serializer, cache::Computing};

/// The settings of a [`Loader`], the same as those of
/// [`codex_kv::LoaderBuilder`](crate::LoaderBuilder).
#[must_use]
pub struct LoaderBuilder<B = AnyBackend, S = Json>(crate::LoaderBuilder<B, S>);

macro_rules! settings {
    ($($name:ident($argument:ident: $type:ty), $what:literal;)*) => {$(
        #[doc = concat!("Sets ", $what, "; see [`LoaderBuilder::", stringify!($name), "`](crate::LoaderBuilder::", stringify!($name), ").")]
        pub fn $name(self, $argument: $type) -> Self {
            Self(self.0.$name($argument))
        }
    )*};
}

impl<B: KvBackend, S: Serializer> LoaderBuilder<B, S> {
    pub(super) fn new(builder: crate::LoaderBuilder<B, S>) -> Self {
        Self(builder)
    }

    settings! {
        fresh_for(fresh_for: impl Into<Option<Duration>>), "how long a value is fresh";
        stale_for(stale_for: Duration), "how long a stale value is returned while it is refreshed";
        lease(lease: Duration), "how long a process has the exclusive right to compute a key";
        jitter(jitter: f64), "the maximum fraction by which freshness is shortened at random";
        max_wait(max_wait: Duration), "how long a caller waits for another caller's computation";
        retry_after(retry_after: Duration), "the delay between a failed refresh and the next attempt";
    }

    /// Returns the loader, which calls `load` with a key to compute the key's value. The function
    /// runs on a thread where it may block. At most 512 such functions run at a time, tokio's
    /// default; further calls wait for one of them to finish. If a function requests another key
    /// from a loader, the function of that key gets its own thread and does not count.
    pub fn load<T, E, F>(self, load: F) -> Loader<T, E, B, S>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: Send + Sync + 'static,
        F: Fn(String) -> Result<T, E> + Send + Sync + 'static,
    {
        let load = Arc::new(load);
        Loader(self.0.load(move |key| {
            let load = Arc::clone(&load);
            on_a_thread(move || load(key))
        }))
    }
}

impl<B, S> fmt::Debug for LoaderBuilder<B, S>
where
    crate::LoaderBuilder<B, S>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LoaderBuilder").field(&self.0).finish()
    }
}

/// Runs `compute` on a thread that may block. A panic resumes in the caller.
pub(crate) async fn on_a_thread<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> T {
    let Some(computing) = Computing::current() else {
        return on_a_pooled_thread(compute).await;
    };
    let is_nested = computing.is_nested();
    // Passed on, so that a function that requests its own key gets an error on that thread too.
    let compute = move || computing.scope(compute);
    if is_nested {
        on_an_own_thread(compute).await
    } else {
        on_a_pooled_thread(compute).await
    }
}

async fn on_a_pooled_thread<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(compute).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is shutting down and will drop this future too.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Runs the function of a key that another function requested. All threads of the pool may be
/// waiting for such functions.
async fn on_an_own_thread<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    let runtime = Handle::current();
    let started = thread::Builder::new()
        .name("codex-kv-nested".to_owned())
        .spawn(move || {
            let _context = runtime.enter();
            // Fails if the computation's task was dropped.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(compute)));
        });
    match (started, receiver.await) {
        (Ok(_), Ok(Ok(value))) => value,
        (Ok(_), Ok(Err(panic))) => resume_unwind(panic),
        // Unwinds as tokio does if it cannot start a thread. The loader reports an aborted
        // computation.
        _ => resume_unwind(Box::new("no thread could be started for a nested computation")),
    }
}

/// A cache together with the function that computes its missing values:
/// [`codex_kv::Loader`](crate::Loader) without `async`.
///
/// ```
/// use std::{convert::Infallible, time::Duration};
///
/// use codex_kv::{blocking::Cache, memory::MemoryBackend};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build()?;
/// let lengths = cache
///     .loader("length")
///     .fresh_for(Duration::from_secs(60))
///     .stale_for(Duration::from_secs(600))
///     .load(|key| Ok::<_, Infallible>(key.len()));
/// assert_eq!(lengths.get("four")?.value, 4);
/// # Ok(())
/// # }
/// ```
pub struct Loader<T, E, B = AnyBackend, S = Json>(crate::Loader<T, E, B, S>);

impl<T, E, B, S> Loader<T, E, B, S>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    E: Send + Sync + 'static,
    B: KvBackend,
    S: Serializer,
{
    /// Returns the value of `key`; see [`Loader::get`](crate::Loader::get).
    ///
    /// # Errors
    ///
    /// The errors of the async method, and [`ComputeError::Cache`] on a thread of an async runtime.
    pub fn get(&self, key: &str) -> Result<Loaded<T>, ComputeError<E>> {
        wait::<_, CacheError>(async { Ok(self.0.get(key).await) })?
    }

    /// Returns the values of `keys`; see [`Loader::get_many`](crate::Loader::get_many).
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get).
    pub fn get_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, Loaded<T>>, ComputeError<E>> {
        let loaded = self.0.get_many(keys);
        wait::<_, CacheError>(async { Ok(loaded.await) })?
    }

    /// Computes the value of `key` again; see [`Loader::refresh`](crate::Loader::refresh).
    ///
    /// # Errors
    ///
    /// The same errors as [`get`](Self::get).
    pub fn refresh(&self, key: &str) -> Result<Loaded<T>, ComputeError<E>> {
        wait::<_, CacheError>(async { Ok(self.0.refresh(key).await) })?
    }

    /// Removes the value of `key`; see [`Loader::invalidate`](crate::Loader::invalidate).
    ///
    /// # Errors
    ///
    /// [`CacheError::Backend`] if the backend fails, and on a thread of an async runtime.
    pub fn invalidate(&self, key: &str) -> Result<bool, CacheError> {
        wait(self.0.invalidate(key))
    }

    /// Returns the name of the loader.
    pub fn name(&self) -> &str {
        self.0.name()
    }
}

impl<T, E, B, S> fmt::Debug for Loader<T, E, B, S>
where
    crate::Loader<T, E, B, S>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loader").field(&self.0).finish()
    }
}
