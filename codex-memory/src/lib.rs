//! In-process backend of codex-kv: behaves as Redis does, with no server and no runtime.
//!
//! [`MemoryBackend`] is the embedded default of a service and its double in tests. Under a
//! [`ManualClock`] time moves only when a test says so:
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

mod backend;
mod block;
mod builder;
mod clock;
mod deadline;
mod entry;
mod key;
mod limits;
mod position;
mod queues;
mod range;
mod reclaim;
mod scan;
mod shard;
mod snapshot;
mod store;
mod swept;
mod sync;
mod system;
mod table;
mod value;
mod verbs;

pub use backend::MemoryBackend;
pub use builder::MemoryBuilder;
pub use clock::{Clock, ManualClock};
pub use limits::WhenFull;

/// Runs the code of the first page as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
