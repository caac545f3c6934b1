//! Caches and sessions without `async` (feature `blocking`).
//!
//! The types have the same methods as [`codex_kv::Cache`](crate::Cache) and
//! [`codex_kv::SessionStore`](crate::SessionStore). Every method blocks until it has finished:
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
//! A call runs on the calling thread and parks it while it waits. A background runtime of two
//! threads drives the connections. The first call in the process starts it, and it is never
//! stopped. Any number of threads can share a cache or a store. The backend's deadlines bound the
//! duration of a call.
//!
//! # Async programs
//!
//! A call inside [`tokio::task::spawn_blocking`] or `block_in_place` works. A call on a thread that
//! runs the tasks of a tokio runtime fails with an error of kind
//! [`InvalidArgument`](crate::ErrorKind::InvalidArgument) and does not block, because it would
//! stall every task of that thread. Other async runtimes are not recognised.
//!
//! A cache or store converts to its async counterpart and back through [`From`]. Both share
//! everything, so a caller of one also waits for a value that is being computed through the other.
//!
//! # Fork
//!
//! `fork` copies only the calling thread, so the background runtime has no threads in the child. A
//! call in the child that has to wait fails with an error of kind `InvalidArgument`. Make the first
//! call after the fork, for example in a `post_fork` hook. A `memory://` store is copied by the
//! fork, and the two copies are independent.

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
