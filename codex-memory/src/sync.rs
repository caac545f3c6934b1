//! The locks. The test `interleavings` puts shuttle's here instead, which tries out their orders.

pub(crate) use std::sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
