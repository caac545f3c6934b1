//! Caches and sessions without `async` (feature `blocking`).
//!
//! The types have the verbs of [`codex_kv::Cache`](crate::Cache) and
//! [`codex_kv::SessionStore`](crate::SessionStore), and every verb returns when it is done:
//!
//! ```
//! use std::time::Duration;
//!
//! use codex_kv::blocking::{self, Cache};
//!
//! # fn main() -> Result<(), codex_kv::CacheError> {
//! let backend = blocking::connect("memory://")?;
//! let cache = Cache::builder(backend).key_prefix("shop").build()?;
//! cache.set("user:42", "Ada", Duration::from_secs(300))?;
//! assert_eq!(cache.get::<String>("user:42")?.as_deref(), Some("Ada"));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//!
//! A call runs on the thread that makes it, and parks the thread while it waits. Connections are
//! driven by one background runtime of two threads, which the first call of the process starts and
//! nothing stops. A cache and a store can be shared by any number of threads. A call ends by
//! itself: the backend's own deadlines hold.
//!
//! # Async programs
//!
//! A call inside [`tokio::task::spawn_blocking`] or `block_in_place` works. A call on a thread that
//! runs the tasks of a tokio runtime is an error of kind
//! [`InvalidArgument`](crate::ErrorKind::InvalidArgument), because it would stall every task of
//! that thread. It never blocks. Other async runtimes are not recognised.
//!
//! A cache or store converts into its async counterpart and back by [`From`]. Both share
//! everything, so a value that is computed through one of them is waited for through the other one
//! too.
//!
//! # Fork
//!
//! `fork` copies only the calling thread, so the background runtime has no threads in the child. A
//! call in the child that has to wait is an error of kind `InvalidArgument`. Make the first call
//! after the fork, as a `post_fork` hook does. A `memory://` store is copied by a fork, and its
//! copies are two stores.

mod cache;
mod cache_builder;
mod executor;
mod group;
mod loader;
mod session;
mod session_builder;

pub use cache::Cache;
pub use cache_builder::CacheBuilder;
#[cfg(feature = "macros")]
pub(crate) use executor::wait;
pub use group::Group;
#[cfg(feature = "macros")]
pub(crate) use loader::on_a_thread;
pub use loader::{Loader, LoaderBuilder};
pub use session::SessionStore;
pub use session_builder::SessionStoreBuilder;

use crate::{AnyBackend, Result};

/// Connects to the backend that `url` names, as [`codex_kv::connect`](crate::connect) does.
///
/// # Errors
///
/// The errors of [`codex_kv::connect`](crate::connect), and
/// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) on a thread of an async
/// runtime.
pub fn connect(url: &str) -> Result<AnyBackend> {
    executor::wait(crate::connect(url))
}
