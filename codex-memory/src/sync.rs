//! The locks and counters of the store. With `cfg(shuttle)` they are those of shuttle, which
//! explores the interleavings of threads.

#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
