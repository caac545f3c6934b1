//! The system's allocator, with a count of the requested bytes.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

pub(crate) struct Counting;

/// Off while speed is measured, because an atomic addition for each allocation would penalise
/// stores that allocate more.
static ON: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicI64 = AtomicI64::new(0);
static TAKEN: AtomicI64 = AtomicI64::new(0);

/// Returns the bytes that glibc takes for a block: 8 bytes of overhead, rounded up to 16, at least
/// 32.
fn taken(size: usize) -> i64 {
    (size + 8).next_multiple_of(16).max(32) as i64
}

fn count(size: usize, sign: i64) {
    if ON.load(Relaxed) {
        ASKED.fetch_add(sign * size as i64, Relaxed);
        TAKEN.fetch_add(sign * taken(size), Relaxed);
    }
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

pub(crate) fn start() {
    ON.store(true, Relaxed);
}

pub(crate) fn stop() {
    ON.store(false, Relaxed);
}

/// Returns the bytes that were requested and not yet freed.
pub(crate) fn asked() -> i64 {
    ASKED.load(Relaxed)
}

/// Returns the same bytes, with the overhead of glibc.
pub(crate) fn taken_in_all() -> i64 {
    TAKEN.load(Relaxed)
}
