//! One shard of a store: its entries, their eviction order, and removed entries not yet dropped.

pub(crate) mod garbage;
pub(crate) mod s3_fifo;
#[allow(clippy::module_inception, reason = "the file is named after the type that it holds")]
pub(crate) mod shard;
