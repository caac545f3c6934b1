//! Tests for near caches: histories of concurrent calls, and a checker for the answers.
//!
//! A near cache answers reads from the memory of the process, and the store pushes changes to it.
//! It is not linearizable: an answer may lag behind the store by the time that a push takes. A
//! checker for linearizability would therefore reject it. [`check`] knows the exact bounds. It
//! takes the calls that several near caches and clients without a near cache made on one key, and
//! returns the first answer that no order of the writes explains.
//!
//! [`record_history`] records such histories on any [`KvBackend`](codex_traits::KvBackend):
//!
//! ```
//! use codex_memory::MemoryBackend;
//! use codex_testkit::near::{Bounds, HistoryShape, record_history};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // Handles to the store stand in for two near caches and for a client without one, so that no
//! // stale answer is allowed.
//! let store = MemoryBackend::new();
//! let handles = [store.clone(), store.clone()];
//! let history = record_history(&handles, &store, &HistoryShape::new(7)).await.unwrap();
//! history.check(&Bounds::fresh()).unwrap();
//! # }
//! ```

mod call;
mod checker;
mod clauses;
mod harness;
mod list;
mod order;
mod record;
mod violation;

pub use call::{Call, Client, Moment, Shown, What};
pub use checker::{Bounds, check};
pub use harness::{Disturbance, NearHarness};
#[doc(hidden)]
pub use list::test_near_clause;
pub use list::{NEAR_CLAUSES, NearFailure, check_near_clause};
pub use record::{History, HistoryShape, record_history};
pub use violation::{Rule, Violation};
