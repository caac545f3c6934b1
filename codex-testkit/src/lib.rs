//! Placeholder.

pub mod require;

#[cfg(feature = "redis")]
pub mod redis;
