//! A near cache: reads of a store, cached in process memory while the store reports changes to the
//! cached keys.
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
