//! The in-process backend of codex-kv. It behaves like Redis, and needs no server and no runtime.
//!
//! [`MemoryBackend`] is the embedded default of a service, and replaces Redis in its tests. On a
//! [`ManualClock`], time advances only when a test advances it:
//!
//! ```
//! use std::time::Duration;
//!
//! use codex_memory::{ManualClock, MemoryBackend};
//! use codex_traits::{KvBackend, SetOptions, Ttl};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> codex_traits::Result<()> {
//! let clock = ManualClock::new();
//! let backend = MemoryBackend::with_clock(clock.clone());
//! let options = SetOptions::expires_after(Duration::from_secs(60));
//! assert!(backend.set("k", "v".into(), options).await?.is_written());
//!
//! clock.advance(Duration::from_secs(59));
//! assert_eq!(backend.ttl("k").await?, Ttl::Remaining(Duration::from_secs(1)));
//! clock.advance(Duration::from_secs(1));
//! assert_eq!(backend.get("k").await?, None);
//! # Ok(())
//! # }
//! ```

mod accounting;
mod backend;
mod builder;
mod cursor;
mod index;
mod ops;
mod reaper;
mod scan;
#[cfg(all(test, shuttle))]
mod schedules;
mod shard;
mod snapshot;
mod snapshot_file;
mod store;
mod sync;
mod time;

pub use accounting::limits::WhenFull;
pub use backend::MemoryBackend;
pub use builder::MemoryBuilder;
pub use time::clock::{Clock, ManualClock};

/// Runs the code of the README as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;

/// Runs the code of the guide as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../docs/memory.md")]
struct Guide;
