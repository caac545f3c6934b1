//! A near cache: answers of the store in the memory of the process, for as long as the store would
//! report a change.
//!
//! `docs/near-cache.md` in the repository explains when to use it, and `docs/contract/near.md`
//! lists its guarantees.

mod backend;
mod buckets;
mod builder;
mod clock;
mod entry;
mod fetch;
mod memory;
#[cfg(feature = "metrics")]
mod metrics;
mod nodes;
mod renew;
mod state;
mod stats;
mod write;

pub use backend::NearBackend;
pub use builder::NearBuilder;
pub use stats::NearStats;
